// SPDX-License-Identifier: BSL-1.0
#include "blocking.hpp"

#include "descriptor_kind.hpp"
#include "libc.hpp"
#include "program_flags.hpp"
#include "socket_answers.hpp"

#include <coir/net/arrival.hpp>
#include <coir/offload.hpp>

#include <fcntl.h>
#include <sys/time.h>

#include <algorithm>

namespace coir {

bool blocked_call::begin() noexcept
{
    begun_ = true;
    deadline_ = never;
    const bool may_be_known = known_ == may_block::ask && way_ == direction::read;
    answered_before_ =
        may_be_known && answer_for(descriptor_) >= socket_answer::waits && check_socket_later(descriptor_);
    if (answered_before_)
        return true;
    const auto asked = asking_socket();
    if (!ask())
        return false;
    if (may_be_known && deadline_ == never && kind_of(descriptor_) == descriptor_kind::socket)
        remember_socket(descriptor_, asked);
    return true;
}

bool blocked_call::ask() noexcept
{
    if (known_ == may_block::ask) {
        const int flags = program_flags(descriptor_);
        if (flags < 0)
            return false;
        if (flags & O_NONBLOCK) {
            errno = EAGAIN;
            return false;
        }
    }
    deadline_ = socket_deadline(descriptor_, way_);
    return true;
}

clock::time_point socket_deadline(int descriptor, direction way) noexcept
{
    timeval limit{};
    socklen_t size = sizeof limit;
    const int option = way == direction::read ? SO_RCVTIMEO : SO_SNDTIMEO;
    if (::getsockopt(descriptor, SOL_SOCKET, option, &limit, &size) != 0 || (!limit.tv_sec && !limit.tv_usec))
        return never;
    return deadline_after(std::chrono::seconds{limit.tv_sec} + std::chrono::microseconds{limit.tv_usec});
}

namespace {

/// What has a time-out is never restarted (signal(7)).
ends_by_signal signals_end(clock::time_point deadline) noexcept
{
    return deadline == never ? ends_by_signal::unless_restarted : ends_by_signal::always;
}

/// A Unix datagram socket is called writable while it has room of its own. Whether the one that a datagram is addressed
/// to has any, the kernel tells nobody, unless they are connected.
bool may_be_announced_in_vain(int descriptor) noexcept
{
    const auto is = [&](int option, int wanted) {
        int value = 0;
        socklen_t size = sizeof value;
        return ::getsockopt(descriptor, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
    };
    return is(SO_DOMAIN, AF_UNIX) && is(SO_TYPE, SOCK_DGRAM);
}

} // namespace

net::wait_status blocked_call::wait_until_ready() noexcept
{
    if (++waits_ == 3 && way_ == direction::write)
        announced_in_vain_ = may_be_announced_in_vain(descriptor_);
    if (announced_in_vain_)
        return wait_unannounced(descriptor_, deadline_, waits_);
    const short events = way_ == direction::read ? POLLIN : POLLOUT;
    const auto status = net::wait_ready(descriptor_, events, deadline_, signals_end(deadline_));
    return status == net::wait_status::unsupported ? wait_on_helper(descriptor_, events, deadline_) : status;
}

bool blocked_call::wait() noexcept
{
    const bool wrong = answered_before_ && answer_for(descriptor_) == socket_answer::wrong;
    if ((!begun_ || wrong) && !begin())
        return false;
    const auto status = wait_until_ready();
    errno = error_of(status, EAGAIN);
    return status == net::wait_status::ready;
}

net::wait_status wait_unannounced(int descriptor, clock::time_point deadline, unsigned times) noexcept
{
    const auto pause =
        std::min(std::chrono::microseconds{100 << std::min(times, 7u)}, std::chrono::microseconds{10'000});
    const auto look = std::min(deadline, clock::now() + pause);
    net::wait_status status;
    do
        status = net::wait_ready(descriptor, 0, look, signals_end(deadline));
    while (status == net::wait_status::ready); // once, on account of a hang-up: what connects has no peer yet
    return status == net::wait_status::timed_out && look < deadline ? net::wait_status::ready : status;
}

bool blocked_call::wait_for_arrival(std::uint64_t seen) noexcept
{
    if (!begin())
        return false;
    const auto status = net::wait_for_arrival(descriptor_, seen, deadline_, signals_end(deadline_));
    errno = error_of(status, EAGAIN);
    return errno == 0;
}

int error_of(net::wait_status status, int on_time_out) noexcept
{
    switch (status) {
    case net::wait_status::ready:
    case net::wait_status::unsupported: return 0;
    case net::wait_status::timed_out: return on_time_out;
    case net::wait_status::deadline: return ETIMEDOUT;
    case net::wait_status::cancelled: return ECANCELED;
    case net::wait_status::closed: return EBADF;
    case net::wait_status::handled: return EINTR;
    }
    return 0;
}

int errno_of(wake_cause cause) noexcept
{
    switch (cause) {
    case wake_cause::cancelled: return ECANCELED;
    case wake_cause::handled: return EINTR;
    default: return ETIMEDOUT;
    }
}

net::wait_status wait_on_helper(int descriptor, short events, clock::time_point deadline) noexcept
{
    // In slices, so that cancellation and deadlines are seen; this is a fallback for a kernel that is out of epoll
    // room.
    constexpr auto slice = std::chrono::milliseconds{50};
    for (;;) {
        switch (pending_interruption()) {
        case wake_cause::cancelled: return net::wait_status::cancelled;
        case wake_cause::deadline: return net::wait_status::deadline;
        default: break;
        }
        const auto left = deadline == never ? clock::duration{slice} : deadline - clock::now();
        if (left <= clock::duration::zero())
            return net::wait_status::timed_out;
        const auto milliseconds = static_cast<int>(
            std::chrono::ceil<std::chrono::milliseconds>(std::min<clock::duration>(left, slice)).count());
        pollfd one{.fd = descriptor, .events = events, .revents = 0};
        try {
            offload([&] { return libc.poll(&one, 1, milliseconds); });
        } catch (...) {
            libc.poll(&one, 1, milliseconds); // no helper thread to be had either: block, for one slice
        }
        if (one.revents != 0)
            return net::wait_status::ready;
    }
}

} // namespace coir
