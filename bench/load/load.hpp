// SPDX-License-Identifier: BSL-1.0
#pragma once
// Sends 64-byte messages over all connections, keeping some of them under way on each, and reports the CPU time that
// the server (all its threads) spent per message that came back. Raw epoll, on a core of its own.
//
// PORT PID CONNECTIONS OUTSTANDING MILLISECONDS [REQUESTS]: with REQUESTS it stops after that many instead, for
// counting system calls and instructions. A Transport is made from a connected socket, and sends and receives as
// send(2) and recv(2) do, without waiting.
#include "connecting.hpp"
#include "socket.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <sys/epoll.h>
#include <vector>

namespace bench {

template <class Transport> class load {
public:
    load(number port, number connections, number outstanding)
        : burst_(static_cast<std::size_t>(outstanding) * message_size, 'x'), poller_{::epoll_create1(EPOLL_CLOEXEC)}
    {
        connections_.reserve(static_cast<std::size_t>(connections));
        for (number i = 0; i < connections; ++i) {
            const int socket = connect_to(port, i);
            no_delay(socket);
            epoll_event event{.events = EPOLLIN, .data = {.u64 = connections_.size()}};
            must(::epoll_ctl(poller_, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl");
            connections_.push_back({.transport = Transport{socket}});
        }
    }

    void start()
    {
        for (auto& connection : connections_)
            send(connection, burst_.size());
    }

    /// Until `deadline` or `most` messages; returns how many came back.
    number run_until(number deadline, number most)
    {
        number received = 0;
        while (received < most && time_of(CLOCK_MONOTONIC) < deadline) {
            epoll_event events[512];
            const int count = ::epoll_wait(poller_, events, 512, 100);
            for (int i = 0; i < count; ++i)
                received += receive(connections_[events[i].data.u64]);
        }
        return received;
    }

    /// Round-trip times, of one message in 16.
    std::vector<number> times;

private:
    struct connection {
        Transport transport;
        std::size_t bytes = 0; ///< of the message that has come in part
        number sent_at = 0;
        number count = 0;
    };

    void send(connection& to, std::size_t size)
    {
        if (to.count % 16 == 0)
            to.sent_at = time_of(CLOCK_MONOTONIC);
        must(to.transport.send(burst_.data(), size) == static_cast<ssize_t>(size), "send");
    }

    number receive(connection& from)
    {
        char data[64 * 1024];
        const auto size = from.transport.receive(data, sizeof data);
        if (size < 0 && errno == EAGAIN)
            return 0;
        if (size == 0)
            errno = ECONNRESET;
        must(size > 0, "the server hung up");
        from.bytes += static_cast<std::size_t>(size);
        const auto whole = from.bytes / message_size;
        from.bytes %= message_size;
        if (whole == 0)
            return 0;
        must(std::all_of(data, data + size, [](char byte) { return byte == 'x'; }), "an echo that differs");
        if (from.count % 16 == 0)
            times.push_back(time_of(CLOCK_MONOTONIC) - from.sent_at);
        ++from.count;
        send(from, whole * message_size);
        return static_cast<number>(whole);
    }

    std::string burst_;
    int poller_;
    std::vector<connection> connections_;
};

inline number percentile(const std::vector<number>& sorted, std::size_t percent)
{
    return sorted[(sorted.size() - 1) * percent / 100];
}

/// What `main` does.
template <class Transport> int run_load(int argc, char** argv)
{
    const auto port = argument(argc, argv, 1, 0);
    const auto server = static_cast<pid_t>(argument(argc, argv, 2, 0));
    raise_descriptor_limit();
    const auto connections = possible_connections(server, argument(argc, argv, 3, 100));
    const auto outstanding = argument(argc, argv, 4, 1);
    const auto milliseconds = argument(argc, argv, 5, 1000);
    const auto requests = argument(argc, argv, 6, 0);

    load<Transport> work{port, connections, outstanding};
    work.start();
    if (requests > 0) {
        print({{"operations", work.run_until(time_of(CLOCK_MONOTONIC) + 600'000'000'000, requests)}});
        return 0;
    }
    constexpr auto no_limit = std::numeric_limits<number>::max();
    work.run_until(time_of(CLOCK_MONOTONIC) + 100'000'000, no_limit); // to warm up
    work.times.clear();

    server_stopwatch watch{server};
    const auto count = work.run_until(time_of(CLOCK_MONOTONIC) + milliseconds * 1'000'000, no_limit);
    watch.stop();
    std::sort(work.times.begin(), work.times.end());
    if (work.times.empty()) // too slow or too short for a sample
        watch.print_totals(count, {{"connections", connections}});
    else
        watch.print_totals(count, {{"connections", connections},
                                   {"latency_p50_ns", percentile(work.times, 50)},
                                   {"latency_p99_ns", percentile(work.times, 99)}});
    return 0;
}

} // namespace bench
