// SPDX-License-Identifier: BSL-1.0
#pragma once
// What every load generator does: connects, and asks for the server's CPU time.
#include "socket.hpp"

#include <algorithm>
#include <sys/resource.h>
#include <sys/types.h>

namespace bench {

inline constexpr std::size_t message_size = 64;

/// How many of `wanted` both our descriptor limit and the server's allow.
inline number possible_connections(pid_t server, number wanted)
{
    constexpr number others = 64; // standard streams, pollers, what a library has open
    for (const pid_t process : {pid_t{0}, server}) {
        rlimit limit{};
        must(::prlimit(process, RLIMIT_NOFILE, nullptr, &limit) == 0, "prlimit");
        wanted = std::min(wanted, static_cast<number>(limit.rlim_cur) - others);
    }
    return wanted;
}

/// From an address of its own for each few thousand, so that ports do not run out. On loopback, a connection is there
/// when connect returns.
inline int connect_to(number port, number index)
{
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(socket >= 0, "socket");
    const int on = 1;
    ::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    auto from = loopback(0);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(index / 64 % 200));
    must(::bind(socket, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0, "bind");
    const auto address = loopback(port);
    must(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "connect");
    return socket;
}

/// CPU time of another process, all its threads, and wall time.
class server_stopwatch {
public:
    explicit server_stopwatch(pid_t server)
    {
        must(::clock_getcpuclockid(server, &clock_) == 0, "clock_getcpuclockid");
        wall_ = -time_of(CLOCK_MONOTONIC);
        cpu_ = -time_of(clock_);
    }
    void stop()
    {
        cpu_ += time_of(clock_);
        wall_ += time_of(CLOCK_MONOTONIC);
    }
    void print_totals(number operations, std::initializer_list<field> more = {}) const
    {
        print({{"operations", operations}, {"cpu_ns", cpu_}, {"wall_ns", wall_}}, more);
    }

private:
    clockid_t clock_{};
    number cpu_;
    number wall_;
};

} // namespace bench
