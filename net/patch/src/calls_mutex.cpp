// SPDX-License-Identifier: BSL-1.0
// pthread mutexes and reader-writer locks: in a fiber, waiting for one suspends the fiber. They cannot be cancelled, as
// POSIX has it.
#include "fiber_mutex.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "lock_deadline.hpp"
#include "parking_lot.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>

namespace coir {

namespace {

constexpr auto look_again = std::chrono::milliseconds{10};

int timed_lock(pthread_mutex_t* mutex, clockid_t which, const timespec* time) noexcept
{
    const int result = fiber_mutex_trylock(mutex);
    if (result != EBUSY)
        return result;
    return valid_nanoseconds(time) ? fiber_mutex_lock(mutex, lock_deadline(which, time)) : EINVAL;
}

/// __cur_writer holds the writer as a mutex's __owner does: a fiber's number while a fiber has it, so that only that
/// fiber is told of a deadlock, and the thread's again for the genuine unlock, which goes by it.
bool is_writer(const pthread_rwlock_t* lock, int owner) noexcept
{
    return __atomic_load_n(&lock->__data.__cur_writer, __ATOMIC_RELAXED) == owner;
}

void set_writer(pthread_rwlock_t* lock, int owner) noexcept
{
    __atomic_store_n(&lock->__data.__cur_writer, owner, __ATOMIC_RELAXED);
}

int try_write_lock(pthread_rwlock_t* lock) noexcept
{
    const int result = libc.pthread_rwlock_trywrlock(lock);
    if (result == 0)
        set_writer(lock, fiber_owner());
    return result;
}

/// `try_once` is the genuine try-call.
template <class Try>
int rwlock_in_fiber(pthread_rwlock_t* lock, clockid_t which, const timespec* time, Try&& try_once) noexcept
{
    if (!valid_nanoseconds(time) || (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC))
        return EINVAL;
    if (is_writer(lock, fiber_owner()))
        return EDEADLK;
    int result = try_once();
    const auto deadline = lock_deadline(which, time);
    while (result == EBUSY) {
        // Nobody in this process tells us when another process gives it back: look again.
        const auto look = lock->__data.__shared ? std::min(deadline, clock::now() + look_again) : deadline;
        parking_lot::park(lock, {.reason = {"pthread_rwlock", lock}, .deadline = look, .interruptible = false},
                          [&] { return (result = try_once()) == EBUSY; });
        if (result == EBUSY)
            result = try_once();
        if (result == EBUSY && deadline != never && clock::now() >= deadline)
            return ETIMEDOUT;
    }
    return result;
}

int read_lock(pthread_rwlock_t* lock, clockid_t which = CLOCK_REALTIME, const timespec* time = nullptr) noexcept
{
    return rwlock_in_fiber(lock, which, time, [&] { return libc.pthread_rwlock_tryrdlock(lock); });
}

int write_lock(pthread_rwlock_t* lock, clockid_t which = CLOCK_REALTIME, const timespec* time = nullptr) noexcept
{
    return rwlock_in_fiber(lock, which, time, [&] { return try_write_lock(lock); });
}

} // namespace

COIR_INTERPOSE int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept
{
    return outside() ? libc.pthread_mutex_lock(mutex) : fiber_mutex_lock(mutex);
}

COIR_INTERPOSE int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept
{
    return outside() ? libc.pthread_mutex_trylock(mutex) : fiber_mutex_trylock(mutex);
}

COIR_INTERPOSE int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* time) noexcept
{
    return outside() ? libc.pthread_mutex_timedlock(mutex, time) : timed_lock(mutex, CLOCK_REALTIME, time);
}

COIR_INTERPOSE int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t which, const timespec* time) noexcept
{
    if (outside() || (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC))
        return libc.pthread_mutex_clocklock(mutex, which, time);
    return timed_lock(mutex, which, time);
}

COIR_INTERPOSE int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept
{
    return any_mutex_unlock(mutex);
}

COIR_INTERPOSE int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept
{
    return outside() ? libc.pthread_rwlock_rdlock(lock) : read_lock(lock);
}

COIR_INTERPOSE int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept
{
    return outside() ? libc.pthread_rwlock_wrlock(lock) : write_lock(lock);
}

COIR_INTERPOSE int pthread_rwlock_trywrlock(pthread_rwlock_t* lock) noexcept
{
    return outside() ? libc.pthread_rwlock_trywrlock(lock) : try_write_lock(lock);
}

COIR_INTERPOSE int pthread_rwlock_timedrdlock(pthread_rwlock_t* lock, const timespec* time) noexcept
{
    return outside() ? libc.pthread_rwlock_timedrdlock(lock, time) : read_lock(lock, CLOCK_REALTIME, time);
}

COIR_INTERPOSE int pthread_rwlock_timedwrlock(pthread_rwlock_t* lock, const timespec* time) noexcept
{
    return outside() ? libc.pthread_rwlock_timedwrlock(lock, time) : write_lock(lock, CLOCK_REALTIME, time);
}

COIR_INTERPOSE int pthread_rwlock_clockrdlock(pthread_rwlock_t* lock, clockid_t which, const timespec* time) noexcept
{
    return outside() ? libc.pthread_rwlock_clockrdlock(lock, which, time) : read_lock(lock, which, time);
}

COIR_INTERPOSE int pthread_rwlock_clockwrlock(pthread_rwlock_t* lock, clockid_t which, const timespec* time) noexcept
{
    return outside() ? libc.pthread_rwlock_clockwrlock(lock, which, time) : write_lock(lock, which, time);
}

COIR_INTERPOSE int pthread_rwlock_unlock(pthread_rwlock_t* lock) noexcept
{
    if (!outside() && is_writer(lock, fiber_owner()))
        set_writer(lock, thread_owner());
    const int result = libc.pthread_rwlock_unlock(lock);
    if (parking_lot::anyone()) // several readers may go on: whoever cannot parks again
        parking_lot::unpark(lock, std::numeric_limits<std::size_t>::max());
    return result;
}

} // namespace coir
