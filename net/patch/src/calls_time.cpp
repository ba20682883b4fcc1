// SPDX-License-Identifier: BSL-1.0
// Sleeping.
#include "interpose.hpp"
#include "libc.hpp"
#include "valid_time.hpp"

#include <coir/clock.hpp>
#include <coir/wait_queue.hpp>

#include <algorithm>
#include <cerrno>

namespace coir {

namespace {

clock::duration duration_of(const timespec& time) noexcept
{
    constexpr auto longest = std::chrono::hours{24 * 365 * 100};
    if (std::chrono::seconds{time.tv_sec} > longest)
        return longest;
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

/// 0, or the errno of the wait that was cut short.
int sleep_until(clock::time_point deadline) noexcept
{
    switch (park_until({.reason = {"sleep"}, .deadline = deadline, .signals = ends_by_signal::always})) {
    case wake_cause::handled: return EINTR;
    case wake_cause::cancelled: return ECANCELED;
    case wake_cause::deadline: return ETIMEDOUT;
    default: return 0;
    }
}

void write_remaining(timespec* remaining, clock::time_point deadline) noexcept
{
    if (!remaining)
        return;
    const auto left = std::max(deadline - clock::now(), clock::duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    *remaining = {.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
}

/// Relative to the clock's own now: an absolute time of any clock that can be read.
clock::time_point deadline_of(clockid_t which, const timespec& time) noexcept
{
    timespec now{};
    ::clock_gettime(which, &now);
    const auto left =
        std::chrono::seconds{time.tv_sec - now.tv_sec} + std::chrono::nanoseconds{time.tv_nsec - now.tv_nsec};
    return deadline_after(left);
}

} // namespace

COIR_INTERPOSE int nanosleep(const timespec* time, timespec* remaining)
{
    if (outside() || !time || !valid(*time))
        return libc.nanosleep(time, remaining);
    const auto deadline = deadline_after(duration_of(*time));
    if (const int error = sleep_until(deadline)) {
        write_remaining(remaining, deadline);
        errno = error;
        return -1;
    }
    return 0;
}

COIR_INTERPOSE int clock_nanosleep(clockid_t which, int flags, const timespec* time, timespec* remaining)
{
    const bool ours = which == CLOCK_MONOTONIC || which == CLOCK_REALTIME || which == CLOCK_BOOTTIME;
    if (outside() || !ours || !time || !valid(*time))
        return libc.clock_nanosleep(which, flags, time, remaining);
    if (!(flags & TIMER_ABSTIME)) {
        const auto deadline = deadline_after(duration_of(*time));
        const int error = sleep_until(deadline);
        if (error)
            write_remaining(remaining, deadline);
        return error;
    }
    for (;;) { // again, for an adjustable clock that was set back meanwhile
        const auto deadline = deadline_of(which, *time);
        if (deadline <= clock::now())
            return 0;
        if (const int error = sleep_until(deadline))
            return error;
    }
}

COIR_INTERPOSE int usleep(useconds_t microseconds)
{
    if (outside())
        return libc.usleep(microseconds);
    if (const int error = sleep_until(deadline_after(std::chrono::microseconds{microseconds}))) {
        errno = error;
        return -1;
    }
    return 0;
}

COIR_INTERPOSE unsigned sleep(unsigned seconds)
{
    if (outside())
        return libc.sleep(seconds);
    const auto deadline = deadline_after(std::chrono::seconds{seconds});
    if (sleep_until(deadline) == 0)
        return 0;
    return static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(deadline - clock::now()).count());
}

COIR_INTERPOSE int sched_yield() noexcept
{
    if (outside())
        return libc.sched_yield();
    if (pending_interruption() == wake_cause::notified)
        this_fiber::yield();
    return 0;
}

} // namespace coir
