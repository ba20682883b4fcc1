// SPDX-License-Identifier: BSL-1.0
#include "raw_syscall.hpp"
#include "scheduler.hpp"

#include <coir/cancellation.hpp>
#include <coir/fairness.hpp>
#include <coir/wait_queue.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace coir {

// ---- parking --------------------------------------------------------------------------------------------------------

wake_cause parking::park(const wait_options& options) noexcept
{
    if (!fiber_) [[unlikely]]
        return park_thread(options);
    auto& fiber = *fiber_;
    if (fiber.must_not_suspend) [[unlikely]]
        fiber.terminate("it waits inside a no_suspend");
    if (options.deadline != never || fiber.may_be_interrupted()) [[unlikely]]
        return park_limited(options);

    fiber.begin_wait(*this, options);
    operations_left = operations_in_a_row;
    fiber.hub().suspend(fiber);
    fiber.parked = nullptr;
    return cause_;
}

/// With a deadline, or in a scope that may have one, or cancelled.
wake_cause parking::park_limited(const wait_options& options) noexcept
{
    auto& fiber = *fiber_;
    auto& hub = fiber.hub();
    auto deadline = options.deadline;
    fiber.timer_cause = wake_cause::timed_out;
    if (options.interruptible && fiber.may_be_interrupted()) {
        const auto limits = fiber.limits(fiber.scope);
        if (limits.cancelled && claim())
            return wake_cause::cancelled;
        if (limits.deadline < deadline) {
            deadline = limits.deadline;
            fiber.timer_cause = wake_cause::deadline;
        }
    }

    fiber.begin_wait(*this, options);
    if (deadline != never)
        hub.timers().arm(fiber.timer, deadline);
    operations_left = operations_in_a_row;
    hub.suspend(fiber);
    if (fiber.timer.armed())
        hub.timers().disarm(fiber.timer);
    fiber.parked = nullptr;
    return cause_;
}

void parking::wake(wake_cause cause) noexcept
{
    cause_ = cause;
    if (auto* fiber = fiber_) {
        auto& hub = fiber->hub();
        if (hub.is_this_thread())
            hub.make_ready(*fiber);
        else
            hub.post(fiber->wake_request);
        return;
    }
    // From the store on, the parking may be gone: only its address is used.
    auto* const address = &woken_;
    woken_.store(1, std::memory_order_release);
    raw_syscall(SYS_futex, reinterpret_cast<long>(address), FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

wake_cause parking::park_thread(const wait_options& options) noexcept
{
    timespec until{};
    const timespec* timeout = nullptr;
    if (options.deadline != never) {
        const auto since_epoch = std::max(options.deadline.time_since_epoch(), clock::duration::zero());
        const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
        until = {.tv_sec = seconds.count(), .tv_nsec = (since_epoch - seconds).count()};
        timeout = &until;
    }
    while (woken_.load(std::memory_order_acquire) == 0) {
        // FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC (futex(2)).
        const long result = raw_syscall(SYS_futex, reinterpret_cast<long>(&woken_), FUTEX_WAIT_BITSET_PRIVATE, 0,
                                        reinterpret_cast<long>(timeout), 0, FUTEX_BITSET_MATCH_ANY);
        if (result == -ETIMEDOUT) {
            if (claim())
                return wake_cause::timed_out;
            timeout = nullptr; // somebody has claimed it and is about to wake us
        }
    }
    return cause_;
}

// ---- wait_queue -----------------------------------------------------------------------------------------------------

wake_cause wait_queue::wait(guard& held, const wait_options& options) noexcept
{
    if (options.signals != ends_by_signal::never) {
        parking self;
        waiter place{self};
        return wait(held, place, options);
    }
    parking self{parking::in_one_queue{}};
    waiter place{self};
    return wait(held, place, options);
}

void wait_queue::notify_all(guard& held) noexcept
{
    auto taken = take_all(held);
    held.unlock();
    taken.wake();
}

// ---- without a queue ------------------------------------------------------------------------------------------------

wake_cause park_until(const wait_options& options) noexcept
{
    parking self;
    return self.park(options);
}

wake_cause pending_interruption() noexcept
{
    auto* fiber = current_fiber;
    if (!fiber)
        return wake_cause::notified;
    return fiber->interruption(fiber->scope);
}

void throw_interruption(wake_cause cause)
{
    if (cause == wake_cause::cancelled)
        throw cancelled{};
    throw timed_out{};
}

} // namespace coir
