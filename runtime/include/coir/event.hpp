// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

namespace coir {

/// A flag to wait for. Stays set, and lets everyone through, until `reset`.
///
///     coir::event ready;
///     coir::fiber waiter{[&] { ready.wait(); }};
///     ready.set();
class event {
public:
    event() = default;
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    /// Never suspends. Any thread.
    void set() noexcept;
    void reset() noexcept;
    bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }

    /// Suspends until it is set. Throws `cancelled`, `timed_out`.
    void wait() { wait_before(never); }
    /// False if the time ran out first.
    template <class Rep, class Period> bool wait_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return wait_before(deadline_after(limit));
    }
    template <class Clock, class Duration> bool wait_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return wait_before(deadline_at(instant));
    }

private:
    friend class event_case; // select_cases.hpp
    bool wait_before(clock::time_point deadline);

    spin_lock guard_;
    std::atomic<bool> set_{false};
    wait_queue waiters_;
};

} // namespace coir
