// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/mutex.hpp>

#include <condition_variable>
#include <mutex>

namespace coir {

/// std::condition_variable for coir::mutex. No spurious wake-ups, but other fibers run before a woken one does: wait
/// with a predicate. May be destroyed once everyone who waits has been notified; whose wait ended otherwise (time,
/// cancellation) must have returned from it.
///
///     std::unique_lock lock{mutex};
///     changed.wait(lock, [&] { return !jobs.empty(); });
class condition_variable {
public:
    condition_variable() = default;
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    /// Any thread. Never suspends.
    void notify_one() noexcept
    {
        wait_queue::guard held{guard_};
        waiters_.notify_one(held);
    }
    void notify_all() noexcept;

    /// Suspends. The mutex is held again when it returns or throws (`cancelled`, `timed_out`).
    void wait(std::unique_lock<mutex>& lock) { wait_before(lock, never); }
    template <class Predicate> void wait(std::unique_lock<mutex>& lock, Predicate ready)
    {
        while (!ready())
            wait(lock);
    }

    template <class Clock, class Duration>
    std::cv_status wait_until(std::unique_lock<mutex>& lock, const std::chrono::time_point<Clock, Duration>& instant)
    {
        return wait_before(lock, deadline_at(instant));
    }
    template <class Rep, class Period>
    std::cv_status wait_for(std::unique_lock<mutex>& lock, const std::chrono::duration<Rep, Period>& limit)
    {
        return wait_before(lock, deadline_after(limit));
    }
    template <class Clock, class Duration, class Predicate>
    bool wait_until(std::unique_lock<mutex>& lock, const std::chrono::time_point<Clock, Duration>& instant,
                    Predicate ready)
    {
        while (!ready())
            if (wait_until(lock, instant) == std::cv_status::timeout)
                return ready();
        return true;
    }
    template <class Rep, class Period, class Predicate>
    bool wait_for(std::unique_lock<mutex>& lock, const std::chrono::duration<Rep, Period>& limit, Predicate ready)
    {
        return wait_until(lock, deadline_after(limit), std::move(ready));
    }

private:
    std::cv_status wait_before(std::unique_lock<mutex>& lock, clock::time_point deadline);

    spin_lock guard_{spin_lock::mostly_one_hub{}};
    wait_queue waiters_;
};

} // namespace coir
