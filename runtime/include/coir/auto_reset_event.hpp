// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

namespace coir {

/// A flag that lets one through: `set` wakes who has waited longest, or stays set for the next who comes. To be set
/// twice is as to be set once.
///
///     coir::auto_reset_event work_came;
///     coir::fiber worker{[&] { for (;;) { work_came.wait(); do_all_there_is(); } }};
///     work_came.set();
class auto_reset_event {
public:
    constexpr auto_reset_event() noexcept = default;
    auto_reset_event(const auto_reset_event&) = delete;
    auto_reset_event& operator=(const auto_reset_event&) = delete;

    /// Never suspend. Any thread.
    void set() noexcept;
    void reset() noexcept;
    /// True, and it is reset, if it was set. Never suspends.
    bool try_wait() noexcept;

    /// Suspends until it is set, and resets it. Throws `cancelled`, `timed_out` if it has to wait. Fair.
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
    friend class auto_reset_event_case; // select_cases.hpp
    bool wait_before(clock::time_point deadline);

    spin_lock guard_;
    bool set_ = false; ///< then nobody waits
    wait_queue waiters_;
};

} // namespace coir
