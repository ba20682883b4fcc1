// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/deadline.hpp>
#include <coir/wait_queue.hpp>

#include <atomic>
#include <condition_variable>
#include <optional>
#include <stop_token>
#include <utility>

namespace coir {

/// std::condition_variable_any: for any lock, such as std::unique_lock<coir::shared_mutex>, and for std::stop_token.
/// For coir::mutex without a stop_token, condition_variable is faster.
///
/// No spurious wake-ups, but other fibers run before a woken one does: wait with a predicate. Works between fibers,
/// hubs and plain threads. The lock's own `lock` and `unlock` may suspend. While a wait takes the lock back it can
/// neither be cancelled nor cut off; if that throws, the program terminates, as with std. May be destroyed once
/// everyone who waits has been notified; whose wait ended otherwise must have returned from it.
///
///     std::unique_lock lock{mutex};
///     if (!changed.wait(lock, stop, [&] { return !jobs.empty(); }))
///         return; // asked to stop, and there is no job
class condition_variable_any {
public:
    condition_variable_any() = default;
    condition_variable_any(const condition_variable_any&) = delete;
    condition_variable_any& operator=(const condition_variable_any&) = delete;

    /// Any thread. Never suspend.
    void notify_one() noexcept;
    void notify_all() noexcept;

    /// Suspends. The lock is held again when it returns or throws (`cancelled`, `timed_out`).
    template <class Lock> void wait(Lock& lock) { wait_before(lock, never); }
    template <class Lock, class Predicate> void wait(Lock& lock, Predicate ready)
    {
        while (!ready())
            wait(lock);
    }

    template <class Lock, class Clock, class Duration>
    std::cv_status wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& instant)
    {
        return wait_before(lock, deadline_at(instant));
    }
    template <class Lock, class Rep, class Period>
    std::cv_status wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& limit)
    {
        return wait_before(lock, deadline_after(limit));
    }
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& instant, Predicate ready)
    {
        return wait_until(lock, std::stop_token{}, instant, std::move(ready));
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& limit, Predicate ready)
    {
        return wait_until(lock, deadline_after(limit), std::move(ready));
    }

    /// Suspends until the predicate holds, or a stop is requested, or the time is over. Returns what the predicate says
    /// then. Throws `cancelled`, `timed_out`, with the lock held.
    template <class Lock, class Predicate> bool wait(Lock& lock, std::stop_token token, Predicate ready)
    {
        return wait_until(lock, std::move(token), never, std::move(ready));
    }
    template <class Lock, class Clock, class Duration, class Predicate>
    bool wait_until(Lock& lock, std::stop_token token, const std::chrono::time_point<Clock, Duration>& instant,
                    Predicate ready)
    {
        while (!token.stop_requested()) {
            if (ready())
                return true;
            if (wait_before(lock, deadline_at(instant), &token) == std::cv_status::timeout)
                return ready();
        }
        return ready();
    }
    template <class Lock, class Rep, class Period, class Predicate>
    bool wait_for(Lock& lock, std::stop_token token, const std::chrono::duration<Rep, Period>& limit, Predicate ready)
    {
        return wait_until(lock, std::move(token), deadline_after(limit), std::move(ready));
    }

private:
    /// One wait, on the stack of who waits. In the queue from the beginning to the end.
    ///
    /// Between joining the queue and parking, the lock is given up, and that may suspend in a wait of its own. A
    /// wake-up then would end that one. So whoever ends this wait before its owner has come to park only leaves word.
    class waiting : public waiter {
    public:
        explicit waiting(condition_variable_any& condition) noexcept;
        ~waiting();
        wake_cause park(clock::time_point deadline) noexcept;
        /// For who has claimed it. It may be gone afterwards.
        void end() noexcept;
        /// From the stop callback; any thread.
        void stop() noexcept;

    private:
        friend class condition_variable_any;
        enum class progress : std::uint8_t { on_the_way, parked, ended };
        condition_variable_any& condition_;
        waiting* next_notified_ = nullptr;
        bool notified_ = false; ///< then the condition may be gone
        parking self_;
        std::atomic<progress> progress_{progress::on_the_way};
    };

    struct stop_wait {
        waiting* one;
        void operator()() const noexcept { one->stop(); }
    };

    template <class Lock>
    std::cv_status wait_before(Lock& lock, clock::time_point deadline, std::stop_token* token = nullptr)
    {
        auto cause = wake_cause::notified;
        {
            waiting self{*this};
            std::optional<std::stop_callback<stop_wait>> on_stop;
            if (token)
                on_stop.emplace(*token, stop_wait{&self}); // calls it here if a stop has been requested already
            lock.unlock();
            cause = self.park(deadline);
        }
        lock_again(lock);
        throw_if_interrupted(cause);
        return cause == wake_cause::timed_out ? std::cv_status::timeout : std::cv_status::no_timeout;
    }
    template <class Lock> static void lock_again(Lock& lock) noexcept
    {
        const shield undisturbed;
        lock.lock();
    }

    void notify(std::size_t most) noexcept;

    spin_lock guard_;
    wait_queue waiters_;
};

} // namespace coir
