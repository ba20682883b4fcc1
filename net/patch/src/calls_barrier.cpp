// SPDX-License-Identifier: BSL-1.0
// pthread barriers and spin locks.
//
// A fiber takes part in a barrier exactly as glibc's threads do (nptl/pthread_barrier_wait.c), on the same five
// numbers, and only waits in another way. So threads, fibers and other processes may meet at one:
//
//     in              how many have come, over several rounds
//     current_round   how many may leave: a multiple of count; who makes it grow wakes the others
//     out             how many have left. When all of `limit` have, everything starts from 0 again
#include "interpose.hpp"
#include "libc.hpp"
#include "parking_lot.hpp"

#include <coir/fiber.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <limits>

namespace coir {

namespace {

struct barrier {
    unsigned in;
    unsigned current_round;
    unsigned count;
    int shared;
    unsigned out;
};
static_assert(sizeof(barrier) <= sizeof(pthread_barrier_t));

constexpr auto everybody = std::numeric_limits<std::size_t>::max();

barrier& barrier_at(pthread_barrier_t* address) noexcept
{
    return *reinterpret_cast<barrier*>(address);
}

unsigned load(const unsigned& number) noexcept
{
    return __atomic_load_n(&number, __ATOMIC_SEQ_CST);
}

/// Threads in the kernel, of this process and others, then fibers.
void wake_all(unsigned& number, int shared) noexcept
{
    libc.syscall(SYS_futex, reinterpret_cast<long>(&number), shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0,
                 0);
    parking_lot::unpark(&number, everybody);
}

/// While `number` has this value.
void wait_while(unsigned& number, unsigned value, int shared) noexcept
{
    const auto look = shared ? clock::now() + std::chrono::milliseconds{10} : never;
    parking_lot::park(&number, {.reason = {"pthread_barrier", &number}, .deadline = look, .interruptible = false},
                      [&] { return load(number) == value; });
}

int wait_in_fiber(barrier& at) noexcept
{
    const unsigned count = at.count;
    const unsigned limit = UINT_MAX / 2 - UINT_MAX / 2 % count;
    unsigned mine;
    while ((mine = __atomic_add_fetch(&at.in, 1, __ATOMIC_SEQ_CST)) > limit)
        for (unsigned seen = mine; seen > limit; seen = load(at.in))
            wait_while(at.in, seen, at.shared);

    unsigned round = load(at.current_round);
    while (round + count <= mine) {
        const unsigned next = mine - mine % count;
        if (__atomic_compare_exchange_n(&at.current_round, &round, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            round = next;
            wake_all(at.current_round, at.shared);
        }
    }
    for (; mine > round; round = load(at.current_round))
        wait_while(at.current_round, round, at.shared);

    const int shared = at.shared; // after the last has left, the barrier may be gone
    if (__atomic_add_fetch(&at.out, 1, __ATOMIC_SEQ_CST) == limit) {
        __atomic_store_n(&at.current_round, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&at.out, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&at.in, 0, __ATOMIC_SEQ_CST);
        wake_all(at.in, shared);
    }
    return mine % count == 0 ? PTHREAD_BARRIER_SERIAL_THREAD : 0;
}

/// Lets others run, for longer and longer.
class patience {
public:
    void wait(const char* what) noexcept
    {
        pause_ = std::min<clock::duration>(2 * pause_, std::chrono::milliseconds{1});
        park_until({.reason = {what}, .deadline = clock::now() + pause_, .interruptible = false});
    }

private:
    clock::duration pause_ = std::chrono::microseconds{5};
};

} // namespace

COIR_INTERPOSE int pthread_barrier_wait(pthread_barrier_t* address) noexcept
{
    auto& at = barrier_at(address);
    if (!outside() || under_tsan)
        return wait_in_fiber(at);
    auto* const round = &at.current_round;
    auto* const in = &at.in;
    // As the last of its round a thread wakes threads, and of fibers knows nothing. From its return on the barrier may
    // be gone: only addresses are used.
    const int result = libc.pthread_barrier_wait(address);
    if (parking_lot::anyone()) {
        parking_lot::unpark(round, everybody);
        parking_lot::unpark(in, everybody);
    }
    return result;
}

/// The genuine one waits until all who were woken have left: in a fiber, these may be fibers of the same thread.
COIR_INTERPOSE int pthread_barrier_destroy(pthread_barrier_t* address) noexcept
{
    if (!outside()) {
        auto& at = barrier_at(address);
        for (patience others; load(at.in) != load(at.out);)
            others.wait("pthread_barrier_destroy");
    }
    return libc.pthread_barrier_destroy(address);
}

/// Who holds it may be a fiber of this thread that has suspended. There is no telling when it lets go: the unlock is a
/// plain store, often inlined.
COIR_INTERPOSE int pthread_spin_lock(pthread_spinlock_t* lock) noexcept
{
    if (outside())
        return libc.pthread_spin_lock(lock);
    int result = libc.pthread_spin_trylock(lock);
    for (patience holder; result == EBUSY; result = libc.pthread_spin_trylock(lock))
        holder.wait("pthread_spin_lock");
    return result;
}

} // namespace coir
