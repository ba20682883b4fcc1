// SPDX-License-Identifier: BSL-1.0
#include "blocking.hpp"

#include "libc.hpp"

#include <coir/offload.hpp>

#include <fcntl.h>
#include <sys/time.h>

#include <algorithm>

namespace coir {

bool blocked_call::begin() noexcept
{
    begun_ = true;
    if (known_ == may_block::ask) {
        const int flags = ::fcntl(descriptor_, F_GETFL);
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

bool blocked_call::wait() noexcept
{
    if (!begun_ && !begin())
        return false;
    const short events = way_ == direction::read ? POLLIN : POLLOUT;
    // What has a time-out is never restarted (signal(7)).
    const auto signals = deadline_ == never ? ends_by_signal::unless_restarted : ends_by_signal::always;
    auto status = net::wait_ready(descriptor_, events, deadline_, signals);
    if (status == net::wait_status::unsupported)
        status = wait_on_helper(descriptor_, events, deadline_);
    errno = error_of(status, EAGAIN);
    return status == net::wait_status::ready;
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
