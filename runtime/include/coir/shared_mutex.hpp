// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <cstddef>

namespace coir {

/// What shared_mutex and shared_timed_mutex are; each publishes what std gives it.
class shared_mutex_base {
public:
    shared_mutex_base(const shared_mutex_base&) = delete;
    shared_mutex_base& operator=(const shared_mutex_base&) = delete;

    /// For one who changes what it guards. Suspends. Throws `cancelled` or `timed_out` if it has to wait, and
    /// std::system_error (resource_deadlock_would_occur) if the caller holds it so.
    void lock();
    /// Never suspends.
    bool try_lock() noexcept;
    /// The caller must hold it so; terminates otherwise. Never suspends.
    void unlock() noexcept;

    /// For many who only look. Suspends and throws as `lock`. Who holds the mutex shared must not lock it again: a
    /// writer that has come meanwhile would wait for the first, and the second for the writer.
    void lock_shared();
    /// Never suspends. False also while a writer waits.
    bool try_lock_shared() noexcept;
    /// Terminates if nobody holds it shared. Never suspends.
    void unlock_shared() noexcept;

protected:
    constexpr shared_mutex_base() noexcept = default;
    /// Terminates if it is locked.
    ~shared_mutex_base();

    /// Suspend. False if the time ran out first. Throw as `lock`.
    template <class Rep, class Period> bool try_lock_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return lock_before(deadline_after(limit));
    }
    template <class Clock, class Duration> bool try_lock_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return lock_before(deadline_at(instant));
    }
    template <class Rep, class Period> bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return lock_shared_before(deadline_after(limit));
    }
    template <class Clock, class Duration>
    bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return lock_shared_before(deadline_at(instant));
    }

private:
    bool lock_before(clock::time_point deadline);
    bool lock_shared_before(clock::time_point deadline);
    bool readers_may_enter() const noexcept { return !writer_ && !heir_ && writers_.empty(); }
    wake_list admit_readers(const wait_queue::guard& held) noexcept;
    void offer(wait_queue::guard& held) noexcept;

    spin_lock guard_;
    bool heir_ = false;            ///< the writer who has waited longest has been woken, and has not looked yet
    std::size_t inside_ = 0;       ///< readers
    const void* writer_ = nullptr; ///< fiber or thread that holds it alone
    wait_queue writers_;
    wait_queue readers_; ///< wait only while there is a writer: inside, on the way in, or waiting
};

/// A mutex for many who look or one who changes; suspends fibers, and blocks plain threads.
///
/// Neither readers nor writers starve, they take turns: while a writer waits, readers that come queue up behind it;
/// when it is done, all readers that wait by then enter together, and the next writer after them. Writers enter in
/// order of arrival. Works between fibers, hubs and plain threads.
///
///     std::shared_lock look{prices_mutex};
///     return prices.at(name);
class shared_mutex : public shared_mutex_base {
public:
    constexpr shared_mutex() noexcept = default;
};

/// A shared_mutex that one can stop waiting for.
class shared_timed_mutex : public shared_mutex_base {
public:
    constexpr shared_timed_mutex() noexcept = default;
    using shared_mutex_base::try_lock_for;
    using shared_mutex_base::try_lock_shared_for;
    using shared_mutex_base::try_lock_shared_until;
    using shared_mutex_base::try_lock_until;
};

} // namespace coir
