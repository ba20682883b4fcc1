// SPDX-License-Identifier: BSL-1.0
// The reference: libcurl's own event interface on one epoll.
#include "easy.hpp"

#include <sys/epoll.h>
#include <vector>

namespace {

int poller = -1;
long timeout_ms = -1;

int on_socket(CURL*, curl_socket_t socket, int what, void*, void*)
{
    epoll_event event{.events = 0, .data = {.fd = socket}};
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    if (what == CURL_POLL_REMOVE)
        return ::epoll_ctl(poller, EPOLL_CTL_DEL, socket, nullptr), 0;
    if (::epoll_ctl(poller, EPOLL_CTL_MOD, socket, &event) != 0)
        ::epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event);
    return 0;
}

int on_timer(CURLM*, long milliseconds, void*)
{
    timeout_ms = milliseconds;
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    const auto url = bench::url_of(bench::argument(argc, argv, 1, 0));
    const auto requests = bench::argument(argc, argv, 2, 1000);
    bench::raise_descriptor_limit();
    ::curl_global_init(CURL_GLOBAL_DEFAULT);
    bench::stopwatch watch;
    poller = ::epoll_create1(EPOLL_CLOEXEC);
    CURLM* const multi = ::curl_multi_init();
    ::curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    ::curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    std::vector<bench::number> bytes(static_cast<std::size_t>(requests));
    for (auto& count : bytes)
        ::curl_multi_add_handle(multi, bench::prepare(url, count));

    int running = 0;
    bench::number failures = 0;
    bench::number left = requests;
    while (left > 0) {
        epoll_event events[512];
        const int count = ::epoll_wait(poller, events, 512, static_cast<int>(timeout_ms));
        if (count == 0)
            ::curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        for (int i = 0; i < count; ++i) {
            const auto ready = events[i].events;
            const int what = (ready & EPOLLIN ? CURL_CSELECT_IN : 0) | (ready & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                             (ready & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
            ::curl_multi_socket_action(multi, events[i].data.fd, what, &running);
        }
        int queued = 0;
        while (const CURLMsg* message = ::curl_multi_info_read(multi, &queued)) {
            CURL* const handle = message->easy_handle;
            failures += message->data.result != CURLE_OK;
            ::curl_multi_remove_handle(multi, handle);
            ::curl_easy_cleanup(handle);
            --left;
        }
    }
    for (const auto count : bytes)
        failures += count != 13;
    ::curl_multi_cleanup(multi);
    bench::report(watch, requests, failures);
}
