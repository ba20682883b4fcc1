// SPDX-License-Identifier: BSL-1.0
// syscall(), for the futex: function-local statics, std::atomic::wait, std::future, latches and semaphores of
// libstdc++, abseil, glib and Qt wait there.
#include "interpose.hpp"
#include "libc.hpp"
#include "lock_deadline.hpp"
#include "parking_lot.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>

namespace coir {

namespace {

struct futex_call {
    std::uint32_t* word;
    int operation;
    std::uint32_t value;
    const timespec* time;
    std::uint32_t bits;

    int command() const noexcept { return operation & FUTEX_CMD_MASK; }
    bool has_bits() const noexcept { return command() == FUTEX_WAIT_BITSET || command() == FUTEX_WAKE_BITSET; }
    std::uint32_t mask() const noexcept { return has_bits() ? bits : ~0U; }
    bool waits() const noexcept { return command() == FUTEX_WAIT || command() == FUTEX_WAIT_BITSET; }
    bool wakes() const noexcept { return command() == FUTEX_WAKE || command() == FUTEX_WAKE_BITSET; }

    /// FUTEX_WAIT takes a duration, FUTEX_WAIT_BITSET a time (futex(2)).
    clock::time_point deadline() const noexcept
    {
        if (!time)
            return never;
        if (command() == FUTEX_WAIT)
            return deadline_after(std::chrono::seconds{time->tv_sec} + std::chrono::nanoseconds{time->tv_nsec});
        return lock_deadline(operation & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, time);
    }
};

long fail(int error) noexcept
{
    errno = error;
    return -1;
}

long futex_wait(const futex_call& call) noexcept
{
    if (reinterpret_cast<std::uintptr_t>(call.word) % sizeof(*call.word) || !valid_nanoseconds(call.time) ||
        call.mask() == 0)
        return fail(EINVAL);
    auto deadline = call.deadline();
    // A word that other processes may wake: end early, as a spurious wake-up, and let the caller look.
    const bool shared = !(call.operation & FUTEX_PRIVATE_FLAG);
    const auto look = shared ? std::min(deadline, clock::now() + std::chrono::milliseconds{10}) : deadline;

    bool differs = false;
    const auto cause = parking_lot::park(
        call.word, {.reason = {"futex", call.word}, .deadline = look, .interruptible = false},
        [&] { return !(differs = __atomic_load_n(call.word, __ATOMIC_SEQ_CST) != call.value); }, [] { return true; },
        call.mask());
    if (differs)
        return fail(EAGAIN);
    return cause == wake_cause::timed_out && look == deadline ? fail(ETIMEDOUT) : 0;
}

/// Fibers first, then threads in the kernel.
long futex_wake(const futex_call& call) noexcept
{
    const auto most = static_cast<std::size_t>(std::max(static_cast<int>(call.value), 0));
    // Whoever changed the word may have done so with a plain store; the kernel has this barrier too (futex(2) promises
    // a total order).
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const auto woken = parking_lot::unpark(call.word, most, call.mask());
    if (woken >= most && most > 0)
        return static_cast<long>(woken);
    const long more = libc.syscall(SYS_futex, reinterpret_cast<long>(call.word), call.operation,
                                   static_cast<long>(most - woken), 0, 0, call.bits);
    return more < 0 ? more : more + static_cast<long>(woken);
}

} // namespace

/// Not for the address sanitizer: it takes the arguments that were not passed for an overrun of the caller's stack.
COIR_INTERPOSE [[gnu::no_sanitize_address]] long syscall(long number, ...) noexcept
{
    std::va_list list;
    va_start(list, number);
    long a[6];
    for (auto& argument : a)
        argument =
            va_arg(list, long); // as many as any call takes, as libc itself does; what was not passed is not used
    va_end(list);

    if (number == SYS_futex) {
        const futex_call call{.word = reinterpret_cast<std::uint32_t*>(a[0]),
                              .operation = static_cast<int>(a[1]),
                              .value = static_cast<std::uint32_t>(a[2]),
                              .time = reinterpret_cast<const timespec*>(a[3]),
                              .bits = static_cast<std::uint32_t>(a[5])};
        if (call.waits() && !outside())
            return futex_wait(call);
        if (call.wakes())
            return futex_wake(call);
    }
    return libc.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

} // namespace coir
