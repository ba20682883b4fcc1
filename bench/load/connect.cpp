// SPDX-License-Identifier: BSL-1.0
// load-connect PORT PID CONNECTIONS MILLISECONDS [REQUESTS]
//
// Connects, sends a message, waits for its echo, closes, and begins again, CONNECTIONS at a time. An operation is a
// connection that has been closed. The end is in order: a FIN from here, and the server's when it has read that.
#include "connecting.hpp"

#include <limits>
#include <sys/epoll.h>
#include <vector>

namespace {

using bench::number;

class connections {
public:
    connections(number port, number count)
        : port_{port}, poller_{::epoll_create1(EPOLL_CLOEXEC)}, open_(static_cast<std::size_t>(count))
    {
        for (std::size_t i = 0; i < open_.size(); ++i)
            begin(i);
    }

    number run_until(number deadline, number most)
    {
        number closed = 0;
        while (closed < most && bench::time_of(CLOCK_MONOTONIC) < deadline) {
            epoll_event events[512];
            const int count = ::epoll_wait(poller_, events, 512, 100);
            for (int i = 0; i < count; ++i)
                closed += receive(events[i].data.u64);
        }
        return closed;
    }

private:
    struct connection {
        int socket = -1;
        std::size_t bytes = 0;
    };

    void begin(std::size_t index)
    {
        const int socket = bench::connect_to(port_, begun_++);
        const char message[bench::message_size] = "hello";
        bench::must(::send(socket, message, sizeof message, 0) == ssize_t{sizeof message}, "send");
        epoll_event event{.events = EPOLLIN, .data = {.u64 = index}};
        bench::must(::epoll_ctl(poller_, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl");
        open_[index] = {.socket = socket};
    }

    number receive(std::size_t index)
    {
        auto& [socket, bytes] = open_[index];
        char data[bench::message_size];
        const auto size = ::recv(socket, data, sizeof data, MSG_DONTWAIT);
        bench::must(size > 0, "the server hung up");
        bytes += static_cast<std::size_t>(size);
        if (bytes < bench::message_size)
            return 0;
        ::close(socket);
        begin(index);
        return 1;
    }

    number port_;
    number begun_ = 0;
    int poller_;
    std::vector<connection> open_;
};

} // namespace

int main(int argc, char** argv)
{
    const auto port = bench::argument(argc, argv, 1, 0);
    const auto server = static_cast<pid_t>(bench::argument(argc, argv, 2, 0));
    const auto milliseconds = bench::argument(argc, argv, 4, 1000);
    const auto requests = bench::argument(argc, argv, 5, 0);
    bench::raise_descriptor_limit();
    connections work{port, bench::argument(argc, argv, 3, 100)};
    if (requests > 0) {
        bench::print({{"operations", work.run_until(bench::time_of(CLOCK_MONOTONIC) + 600'000'000'000, requests)}});
        return 0;
    }
    constexpr auto no_limit = std::numeric_limits<number>::max();
    work.run_until(bench::time_of(CLOCK_MONOTONIC) + 100'000'000, no_limit); // to warm up
    bench::server_stopwatch watch{server};
    const auto count = work.run_until(bench::time_of(CLOCK_MONOTONIC) + milliseconds * 1'000'000, no_limit);
    watch.stop();
    watch.print_totals(count);
}
