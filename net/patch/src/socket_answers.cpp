// SPDX-License-Identifier: BSL-1.0
#include "socket_answers.hpp"

#include "descriptor_kind.hpp"
#include "libc.hpp"
#include "program_flags.hpp"

#include <coir/hub_local.hpp>
#include <coir/net/arrival.hpp>
#include <coir/net/hub_timer.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <new>
#include <utility>
#include <vector>

namespace coir {

std::uint64_t socket_answers[remembered_kinds];
constinit std::atomic<std::uint64_t> socket_epoch{1};

namespace {

// The number of the process, from 1, in which somebody is going to check the answer: in a forked child, who was going
// to may not be there.
std::uint32_t being_checked[remembered_kinds];
constinit std::atomic<std::uint32_t> process_number{1};

[[gnu::constructor]] void watch_forks() noexcept
{
    ::pthread_atfork(nullptr, nullptr, [] { process_number.fetch_add(1, std::memory_order_relaxed); });
}

bool is_numbered(int socket) noexcept
{
    return static_cast<unsigned>(socket) < remembered_kinds;
}

bool empties_by_short_reads(int socket) noexcept
{
    int protocol = 0;
    socklen_t size = sizeof protocol;
    if (::getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != IPPROTO_TCP)
        return false;
    char upper[16]{}; // the kernel's name for TLS and the like
    size = sizeof upper;
    return ::getsockopt(socket, IPPROTO_TCP, TCP_ULP, upper, &size) != 0 || size == 0 || !*upper;
}

bool waits_without_limit(int socket) noexcept
{
    timeval limit{};
    socklen_t size = sizeof limit;
    const int flags = program_flags(socket);
    return flags >= 0 && !(flags & O_NONBLOCK) && ::getsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, &size) == 0 &&
           !limit.tv_sec && !limit.tv_usec;
}

/// A hub's answers that have not been checked since a fiber began to wait with one.
class pending_checks final : public hub_object {
public:
    ~pending_checks() override
    {
        for (const auto& each : waits_)
            settle(each.socket);
    }

    void add(int socket)
    {
        waits_.push_back({socket, net::arrivals(socket)});
        timer_.start(interval);
    }

private:
    static constexpr std::chrono::milliseconds interval{20};

    struct wait {
        int socket;
        std::uint64_t arrivals;
    };

    void check()
    {
        std::erase_if(waits_, [](wait& each) {
            // Who has been given something since does not wait for long; look again next time.
            const auto now = net::arrivals(each.socket);
            if (now != std::exchange(each.arrivals, now))
                return false;
            settle(each.socket);
            return true;
        });
        if (waits_.empty())
            return;
        try {
            timer_.start(interval);
        } catch (const std::bad_alloc&) { // nobody would look at them any more
            for (const auto& each : waits_)
                settle(each.socket);
            waits_.clear();
        }
    }

    static void settle(int socket) noexcept
    {
        std::atomic_ref{being_checked[socket]}.store(0, std::memory_order_relaxed);
        auto answer = answer_of(socket).load(std::memory_order_relaxed);
        if (answer >> 2 != socket_epoch.load(std::memory_order_relaxed) || waits_without_limit(socket))
            return;
        if (answer_of(socket).compare_exchange_strong(answer, wrong_answer, std::memory_order_relaxed))
            net::wake_waiters(socket);
    }

    std::vector<wait> waits_;
    net::hub_timer timer_{[this] { check(); }};
};

const hub_local<pending_checks>& checks()
{
    static const hub_local<pending_checks> all;
    return all;
}

} // namespace

void forget_socket_answers() noexcept
{
    socket_epoch.fetch_add(1, std::memory_order_release);
}

void forget_socket_answers(unsigned first, unsigned last) noexcept
{
    for (std::size_t number = first; number <= std::min<std::size_t>(last, remembered_kinds - 1); ++number)
        if (answer_of(static_cast<int>(number)).load(std::memory_order_relaxed) != no_answer)
            answer_of(static_cast<int>(number)).store(no_answer, std::memory_order_relaxed);
}

std::uint64_t asking_socket() noexcept
{
    return socket_epoch.load(std::memory_order_acquire);
}

void remember_socket(int socket, std::uint64_t asked) noexcept
{
    if (!is_numbered(socket))
        return;
    const int before = errno;
    answer_of(socket).store(asked << 2 | (empties_by_short_reads(socket) ? answer_tcp : 0), std::memory_order_relaxed);
    errno = before;
}

void remember_accepted(int listener, int connection, bool nonblocking) noexcept
{
    if (!is_numbered(listener) || !is_numbered(connection))
        return;
    const auto answer = answer_of(listener).load(std::memory_order_relaxed);
    if (answer >> 2 != socket_epoch.load(std::memory_order_acquire))
        return;
    if (!(answer & answer_listens)) {
        auto before = answer;
        answer_of(listener).compare_exchange_strong(before, answer | answer_listens, std::memory_order_relaxed);
    }
    if (!nonblocking)
        answer_of(connection).store(answer & ~answer_listens, std::memory_order_relaxed);
}

bool check_socket_later(int socket) noexcept
{
    const auto here = process_number.load(std::memory_order_relaxed);
    if (std::atomic_ref{being_checked[socket]}.load(std::memory_order_relaxed) == here ||
        std::atomic_ref{being_checked[socket]}.exchange(here, std::memory_order_relaxed) == here) [[likely]]
        return true;
    try {
        checks().get().add(socket);
        return true;
    } catch (const std::exception&) { // no memory, no descriptor
    }
    std::atomic_ref{being_checked[socket]}.store(0, std::memory_order_relaxed);
    return false;
}

} // namespace coir
