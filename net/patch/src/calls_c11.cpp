// SPDX-License-Identifier: BSL-1.0
// The locks and waits of C11's <threads.h>. In glibc they are pthread's under other names, but call each other
// directly.
#include "fiber_mutex.hpp"
#include "interpose.hpp"
#include "libc.hpp"

#include <pthread.h>
#include <threads.h>

#include <cerrno>
#include <cstdint>

namespace coir {

namespace {

pthread_mutex_t* pthread(mtx_t* mutex) noexcept
{
    static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t));
    return reinterpret_cast<pthread_mutex_t*>(mutex);
}

pthread_cond_t* pthread(cnd_t* condition) noexcept
{
    static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t));
    return reinterpret_cast<pthread_cond_t*>(condition);
}

int c11_result(int error) noexcept
{
    switch (error) {
    case 0: return thrd_success;
    case ENOMEM: return thrd_nomem;
    case ETIMEDOUT: return thrd_timedout;
    case EBUSY: return thrd_busy;
    default: return thrd_error;
    }
}

} // namespace

COIR_INTERPOSE int mtx_lock(mtx_t* mutex)
{
    return c11_result(::pthread_mutex_lock(pthread(mutex)));
}

COIR_INTERPOSE int mtx_trylock(mtx_t* mutex)
{
    return c11_result(::pthread_mutex_trylock(pthread(mutex)));
}

COIR_INTERPOSE int mtx_timedlock(mtx_t* mutex, const timespec* time)
{
    return c11_result(::pthread_mutex_timedlock(pthread(mutex), time));
}

COIR_INTERPOSE int mtx_unlock(mtx_t* mutex)
{
    return c11_result(any_mutex_unlock(pthread(mutex)));
}

COIR_INTERPOSE int cnd_wait(cnd_t* condition, mtx_t* mutex)
{
    return c11_result(::pthread_cond_wait(pthread(condition), pthread(mutex)));
}

COIR_INTERPOSE int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* time)
{
    return c11_result(::pthread_cond_timedwait(pthread(condition), pthread(mutex), time));
}

COIR_INTERPOSE int cnd_signal(cnd_t* condition)
{
    return c11_result(::pthread_cond_signal(pthread(condition)));
}

COIR_INTERPOSE int cnd_broadcast(cnd_t* condition)
{
    return c11_result(::pthread_cond_broadcast(pthread(condition)));
}

COIR_INTERPOSE void call_once(once_flag* flag, void (*initialise)())
{
    static_assert(sizeof(once_flag) == sizeof(pthread_once_t));
    ::pthread_once(reinterpret_cast<pthread_once_t*>(flag), initialise);
}

COIR_INTERPOSE int thrd_join(thrd_t thread, int* result)
{
    void* value = nullptr;
    const int error = ::pthread_join(thread, &value);
    if (result && error == 0)
        *result = static_cast<int>(reinterpret_cast<std::intptr_t>(value));
    return c11_result(error);
}

COIR_INTERPOSE int thrd_sleep(const timespec* time, timespec* remaining)
{
    switch (::clock_nanosleep(CLOCK_REALTIME, 0, time, remaining)) {
    case 0: return 0;
    case EINTR: return -1;
    default: return -2; // any negative number but -1 (thrd_sleep(3))
    }
}

COIR_INTERPOSE void thrd_yield()
{
    ::sched_yield();
}

} // namespace coir
