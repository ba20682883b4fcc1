// SPDX-License-Identifier: BSL-1.0
// POSIX semaphores: the genuine sem_trywait, and while that says EAGAIN the fiber is parked on the semaphore's address.
// Unlike locks they can be cancelled: sem_wait can fail, and POSIX makes it a cancellation point.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "lock_deadline.hpp"
#include "parking_lot.hpp"

#include <semaphore.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace coir {

namespace {

/// Whether other processes may post: then nobody in this one tells us. (glibc, sysdeps/nptl/internaltypes.h, new_sem:
/// the value and the number of waiters, eight bytes, and then FUTEX_SHARED or 0.)
bool is_shared(const sem_t* semaphore) noexcept
{
    int shared;
    std::memcpy(&shared, semaphore->__size + sizeof(std::uint64_t), sizeof shared);
    return shared != 0;
}

int fail(int error) noexcept
{
    errno = error;
    return -1;
}

int wait_in_fiber(sem_t* semaphore, clock::time_point deadline) noexcept
{
    constexpr auto look_again = std::chrono::milliseconds{10};
    const int before = errno;
    bool taken = false;
    const auto take = [&] { return taken = libc.sem_trywait(semaphore) == 0; };
    take();
    while (!taken) {
        const auto look = is_shared(semaphore) ? std::min(deadline, clock::now() + look_again) : deadline;
        const auto cause = parking_lot::park(
            semaphore,
            {.reason = {"semaphore", semaphore}, .deadline = look, .signals = ends_by_signal::unless_restarted},
            [&] { return !take(); });
        if (taken)
            break;
        // A post has woken somebody else, and is his.
        if (cause == wake_cause::cancelled || cause == wake_cause::deadline || cause == wake_cause::handled)
            return fail(errno_of(cause));
        if (!take() && deadline != never && clock::now() >= deadline)
            return fail(ETIMEDOUT);
    }
    errno = before;
    return 0;
}

int timed_wait(sem_t* semaphore, clockid_t which, const timespec* time) noexcept
{
    return valid_nanoseconds(time) ? wait_in_fiber(semaphore, lock_deadline(which, time)) : fail(EINVAL);
}

} // namespace

COIR_INTERPOSE int sem_wait(sem_t* semaphore)
{
    return outside() ? libc.sem_wait(semaphore) : wait_in_fiber(semaphore, never);
}

COIR_INTERPOSE int sem_timedwait(sem_t* semaphore, const timespec* time)
{
    return outside() ? libc.sem_timedwait(semaphore, time) : timed_wait(semaphore, CLOCK_REALTIME, time);
}

COIR_INTERPOSE int sem_clockwait(sem_t* semaphore, clockid_t which, const timespec* time)
{
    if (outside() || (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC))
        return libc.sem_clockwait(semaphore, which, time);
    return timed_wait(semaphore, which, time);
}

COIR_INTERPOSE int sem_post(sem_t* semaphore) noexcept
{
    const int result = libc.sem_post(semaphore);
    // From here on the semaphore may be gone: only its address is used.
    if (result == 0 && parking_lot::anyone())
        parking_lot::unpark(semaphore, 1);
    return result;
}

} // namespace coir
