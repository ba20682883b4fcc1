// SPDX-License-Identifier: BSL-1.0
#include "fiber_mutex.hpp"

#include "interpose.hpp"
#include "libc.hpp"
#include "parking_lot.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <unistd.h>

namespace coir {

namespace {

// The bits of __kind (glibc, nptl/pthreadP.h): the two lowest are the type; then robust, priority inheritance and
// protection, and process-shared.
constexpr int type_bits = 3;
constexpr int kernel_owned_bits = 16 | 32 | 64; ///< the kernel knows their owner, by thread
constexpr int shared_bit = 128;

bool has_owner(const pthread_mutex_t& mutex) noexcept
{
    const int kind = mutex.__data.__kind;
    const int type = kind & type_bits;
    return !(kind & kernel_owned_bits) && (type == PTHREAD_MUTEX_RECURSIVE_NP || type == PTHREAD_MUTEX_ERRORCHECK_NP);
}

bool is_recursive(const pthread_mutex_t& mutex) noexcept
{
    return (mutex.__data.__kind & type_bits) == PTHREAD_MUTEX_RECURSIVE_NP;
}

/// Whom other threads may be writing; only a comparison with oneself means anything.
int owner_of(const pthread_mutex_t& mutex) noexcept
{
    return __atomic_load_n(&mutex.__data.__owner, __ATOMIC_RELAXED);
}

void set_owner(pthread_mutex_t& mutex, int owner) noexcept
{
    __atomic_store_n(&mutex.__data.__owner, owner, __ATOMIC_RELAXED);
}

/// Of a mutex that knows its owner; 0 or an errno value.
int lock_again(pthread_mutex_t& mutex) noexcept
{
    if (!is_recursive(mutex))
        return EDEADLK;
    if (mutex.__data.__count == std::numeric_limits<unsigned>::max())
        return EAGAIN;
    ++mutex.__data.__count;
    return 0;
}

int unlock_owned(pthread_mutex_t& mutex) noexcept
{
    if (owner_of(mutex) != fiber_owner())
        return EPERM;
    if (is_recursive(mutex) && mutex.__data.__count > 1) {
        --mutex.__data.__count;
        return 0;
    }
    set_owner(mutex, thread_owner());
    return libc.pthread_mutex_unlock(&mutex);
}

/// Nobody in this process tells us when a mutex shared with others, or one that the kernel owns, becomes free: look
/// again.
clock::time_point next_look(const pthread_mutex_t& mutex, clock::duration& pause, clock::time_point deadline) noexcept
{
    if (!(mutex.__data.__kind & (shared_bit | kernel_owned_bits)))
        return deadline;
    pause = std::min<clock::duration>(2 * pause, std::chrono::milliseconds{10});
    return std::min(deadline, clock::now() + pause);
}

} // namespace

/// Above every thread id (those end at 2^22) and below the sign.
int fiber_owner() noexcept
{
    constexpr int first = 1 << 30;
    return first | static_cast<int>(this_fiber::get_id().value & (first - 1));
}

/// Asked once, and again in the child of a fork, where it has changed. Of libc and not of the kernel: they differ for a
/// thread that is a fiber (thread_shell.hpp).
int thread_owner() noexcept
{
    [[gnu::tls_model("initial-exec")]] static constinit thread_local int id = 0;
    static const int watching_forks = ::pthread_atfork(nullptr, nullptr, [] { id = 0; });
    static_cast<void>(watching_forks);
    if (id == 0) [[unlikely]] {
        pthread_mutex_t probe = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
        libc.pthread_mutex_lock(&probe);
        id = owner_of(probe);
        libc.pthread_mutex_unlock(&probe);
    }
    return id;
}

int fiber_mutex_trylock(pthread_mutex_t* mutex) noexcept
{
    if (!has_owner(*mutex))
        return libc.pthread_mutex_trylock(mutex);
    const int owner = owner_of(*mutex);
    if (owner == fiber_owner())
        return is_recursive(*mutex) ? lock_again(*mutex) : EBUSY;
    if (owner == thread_owner())
        return EBUSY; // the thread that carries this fiber has locked it, outside of any fiber
    const int result = libc.pthread_mutex_trylock(mutex);
    if (result == 0)
        set_owner(*mutex, fiber_owner());
    return result;
}

int fiber_mutex_lock(pthread_mutex_t* mutex, clock::time_point deadline) noexcept
{
    if (has_owner(*mutex) && owner_of(*mutex) == fiber_owner())
        return lock_again(*mutex);
    int result = fiber_mutex_trylock(mutex);
    for (clock::duration pause = std::chrono::microseconds{50}; result == EBUSY;) {
        const auto look = next_look(*mutex, pause, deadline);
        parking_lot::park(mutex, {.reason = {"pthread_mutex", mutex}, .deadline = look, .interruptible = false},
                          [&] { return (result = fiber_mutex_trylock(mutex)) == EBUSY; });
        if (result == EBUSY)
            result = fiber_mutex_trylock(mutex);
        if (result == EBUSY && deadline != never && clock::now() >= deadline)
            return ETIMEDOUT;
    }
    return result;
}

int any_mutex_lock(pthread_mutex_t* mutex) noexcept
{
    return outside() ? libc.pthread_mutex_lock(mutex) : fiber_mutex_lock(mutex);
}

int any_mutex_unlock(pthread_mutex_t* mutex) noexcept
{
    const int result = outside() || !has_owner(*mutex) ? libc.pthread_mutex_unlock(mutex) : unlock_owned(*mutex);
    // From here on the mutex may be gone: only its address is used.
    if (parking_lot::anyone())
        parking_lot::unpark(mutex, 1);
    return result;
}

} // namespace coir
