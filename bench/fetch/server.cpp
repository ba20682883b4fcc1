// SPDX-License-Identifier: BSL-1.0
// fetch-server [MILLISECONDS]
//
// Answers every HTTP GET after that long, 50 by default, and one of /now at once. Raw epoll; as the delay is always the
// same, the oldest request is always the next to be answered.
#include "socket.hpp"

#include <deque>
#include <string_view>
#include <sys/epoll.h>
#include <vector>

int main(int argc, char** argv)
{
    constexpr std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\n"
                                        "hello, fiber\n";
    const auto delay = bench::argument(argc, argv, 1, 50) * 1'000'000;
    struct request {
        int socket;
        bench::number due;
    };
    std::deque<request> waiting;
    const auto reply = [&](int client) { // one that has gone is noticed by its next read
        static_cast<void>(::send(client, answer.data(), answer.size(), MSG_NOSIGNAL));
    };
    const int listener = bench::listen_on_loopback(SOCK_NONBLOCK);
    const int poller = ::epoll_create1(EPOLL_CLOEXEC);
    auto watch = [&](int descriptor) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
        bench::must(::epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
    };
    watch(listener);
    for (;;) {
        const auto now = bench::time_of(CLOCK_MONOTONIC);
        while (!waiting.empty() && waiting.front().due <= now) {
            reply(waiting.front().socket);
            waiting.pop_front();
        }
        int timeout_ms = -1;
        if (!waiting.empty())
            timeout_ms = static_cast<int>((waiting.front().due - now + 999'999) / 1'000'000);
        epoll_event events[512];
        const int count = ::epoll_wait(poller, events, 512, timeout_ms);
        const auto due = bench::time_of(CLOCK_MONOTONIC) + delay;
        for (int i = 0; i < count; ++i) {
            const int descriptor = events[i].data.fd;
            if (descriptor == listener) {
                for (int client; (client = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
                    bench::no_delay(client);
                    watch(client);
                }
                continue;
            }
            char data[4096]; // a request of ours fits in one segment
            const auto size = ::read(descriptor, data, sizeof data);
            if (size <= 0)
                ::close(descriptor);
            else if (std::string_view{data, static_cast<std::size_t>(size)}.starts_with("GET /now "))
                reply(descriptor);
            else
                waiting.push_back({descriptor, due});
        }
    }
}
