// SPDX-License-Identifier: BSL-1.0
// pthread condition variables. From the first runtime on, threads wait here too: the genuine wait gives the mutex back
// inside libc, where fibers that are parked on the mutex would not learn of it. A notification goes to who waits here
// first, and to genuine waiters, from before that or from other processes, after.
#include "fiber_mutex.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "lock_deadline.hpp"
#include "on_helper.hpp"
#include "parking_lot.hpp"

#include <coir/runtime.hpp>

#include <cerrno>
#include <limits>

namespace coir {

namespace {

// Bits of __wrefs (glibc, nptl/pthread_cond_common.c).
constexpr unsigned shared_bit = 1;
constexpr unsigned monotonic_bit = 2;

unsigned attributes(const pthread_cond_t& condition) noexcept
{
    return __atomic_load_n(&condition.__data.__wrefs, __ATOMIC_RELAXED);
}

clockid_t clock_of(const pthread_cond_t& condition) noexcept
{
    return attributes(condition) & monotonic_bit ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

/// Not ours: before there were fibers, and conditions that other processes may notify.
bool genuine(const pthread_cond_t& condition) noexcept
{
    return !runtimes_exist() || attributes(condition) & shared_bit;
}

int wait_here(pthread_cond_t* condition, pthread_mutex_t* mutex, clock::time_point deadline) noexcept
{
    int result = 0;
    const auto cause = parking_lot::park(
        condition,
        {.reason = {"pthread_cond", condition}, .deadline = deadline, .interruptible = threads_may_be_cancelled()},
        [] { return true; }, [&] { return (result = any_mutex_unlock(mutex)) == 0; });
    if (result != 0)
        return result; // not the owner: as pthread_cond_wait reports it
    if (const int locked = any_mutex_lock(mutex))
        return locked;
    return cause == wake_cause::timed_out ? ETIMEDOUT : 0;
}

/// A genuine wait from a fiber, for a condition that another process notifies.
template <class Wait> int genuine_wait(Wait&& wait) noexcept
{
    return outside() ? wait() : on_helper(wait);
}

int timed_wait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t which, const timespec* time) noexcept
{
    return valid_nanoseconds(time) ? wait_here(condition, mutex, lock_deadline(which, time)) : EINVAL;
}

} // namespace

COIR_INTERPOSE int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
{
    if (genuine(*condition))
        return genuine_wait([&] { return libc.pthread_cond_wait(condition, mutex); });
    return wait_here(condition, mutex, never);
}

COIR_INTERPOSE int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* time)
{
    if (genuine(*condition))
        return genuine_wait([&] { return libc.pthread_cond_timedwait(condition, mutex, time); });
    return timed_wait(condition, mutex, clock_of(*condition), time);
}

COIR_INTERPOSE int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t which,
                                          const timespec* time)
{
    if (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC)
        return EINVAL; // as glibc, which takes no other clock here either
    if (genuine(*condition))
        return genuine_wait([&] { return libc.pthread_cond_clockwait(condition, mutex, which, time); });
    return timed_wait(condition, mutex, which, time);
}

COIR_INTERPOSE int pthread_cond_signal(pthread_cond_t* condition) noexcept
{
    return parking_lot::unpark(condition, 1) ? 0 : libc.pthread_cond_signal(condition);
}

COIR_INTERPOSE int pthread_cond_broadcast(pthread_cond_t* condition) noexcept
{
    parking_lot::unpark(condition, std::numeric_limits<std::size_t>::max());
    return libc.pthread_cond_broadcast(condition);
}

} // namespace coir
