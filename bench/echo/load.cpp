// SPDX-License-Identifier: BSL-1.0
// echo-load PORT PID CONNECTIONS OUTSTANDING MILLISECONDS [REQUESTS]
//
// Sends 64-byte messages over all connections, keeping OUTSTANDING of them under way on each, and reports the CPU time
// that the server (PID, all its threads) spent per message that came back. Raw epoll, on a core of its own. With
// REQUESTS it stops after that many instead: for counting system calls and instructions.
#include "socket.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <sys/epoll.h>
#include <vector>

namespace {

using bench::number;

constexpr std::size_t message_size = 64;

class load {
public:
    load(number port, number connections, number outstanding)
        : burst_(static_cast<std::size_t>(outstanding) * message_size, 'x'), poller_{::epoll_create1(EPOLL_CLOEXEC)}
    {
        bench::raise_descriptor_limit();
        const auto address = bench::loopback(port);
        for (number i = 0; i < connections; ++i) {
            const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
            bench::must(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "connect");
            bench::no_delay(socket);
            epoll_event event{.events = EPOLLIN, .data = {.u64 = connections_.size()}};
            bench::must(::epoll_ctl(poller_, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl");
            connections_.push_back({.socket = socket});
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
        while (received < most && bench::time_of(CLOCK_MONOTONIC) < deadline) {
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
        int socket;
        std::size_t bytes = 0; ///< of the message that has come in part
        number sent_at = 0;
        number count = 0;
    };

    void send(connection& to, std::size_t size)
    {
        if (to.count % 16 == 0)
            to.sent_at = bench::time_of(CLOCK_MONOTONIC);
        bench::must(::send(to.socket, burst_.data(), size, 0) == static_cast<ssize_t>(size), "send");
    }

    number receive(connection& from)
    {
        char data[64 * 1024];
        const auto size = ::recv(from.socket, data, sizeof data, MSG_DONTWAIT);
        if (size < 0 && errno == EAGAIN)
            return 0;
        if (size == 0)
            errno = ECONNRESET;
        bench::must(size > 0, "the server hung up");
        from.bytes += static_cast<std::size_t>(size);
        const auto whole = from.bytes / message_size;
        from.bytes %= message_size;
        if (whole == 0)
            return 0;
        if (from.count % 16 == 0)
            times.push_back(bench::time_of(CLOCK_MONOTONIC) - from.sent_at);
        ++from.count;
        send(from, whole * message_size);
        return static_cast<number>(whole);
    }

    std::string burst_;
    int poller_;
    std::vector<connection> connections_;
};

number percentile(const std::vector<number>& sorted, std::size_t percent)
{
    return sorted[(sorted.size() - 1) * percent / 100];
}

} // namespace

int main(int argc, char** argv)
{
    const auto port = bench::argument(argc, argv, 1, 0);
    const auto server = static_cast<pid_t>(bench::argument(argc, argv, 2, 0));
    const auto connections = bench::argument(argc, argv, 3, 100);
    const auto outstanding = bench::argument(argc, argv, 4, 1);
    const auto milliseconds = bench::argument(argc, argv, 5, 1000);
    const auto requests = bench::argument(argc, argv, 6, 0);

    load work{port, connections, outstanding};
    work.start();
    if (requests > 0) {
        work.run_until(bench::time_of(CLOCK_MONOTONIC) + 600'000'000'000, requests);
        return 0;
    }
    clockid_t server_clock{};
    bench::must(::clock_getcpuclockid(server, &server_clock) == 0, "clock_getcpuclockid");
    constexpr auto no_limit = std::numeric_limits<number>::max();
    work.run_until(bench::time_of(CLOCK_MONOTONIC) + 100'000'000, no_limit); // to warm up
    work.times.clear();

    const auto begin = bench::time_of(CLOCK_MONOTONIC);
    const auto cpu_begin = bench::time_of(server_clock);
    const auto count = work.run_until(begin + milliseconds * 1'000'000, no_limit);
    const auto cpu = bench::time_of(server_clock) - cpu_begin;
    const auto wall = bench::time_of(CLOCK_MONOTONIC) - begin;
    std::sort(work.times.begin(), work.times.end());
    const std::initializer_list<bench::field> totals{{"operations", count}, {"cpu_ns", cpu}, {"wall_ns", wall}};
    if (work.times.empty())
        bench::print(totals); // too slow or too short for a sample
    else
        bench::print(totals,
                     {{"latency_p50_ns", percentile(work.times, 50)}, {"latency_p99_ns", percentile(work.times, 99)}});
}
