// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <cstdint>

namespace coir {

/// What mutex, timed_mutex, recursive_mutex and recursive_timed_mutex are; each publishes what std gives it.
class mutex_base {
public:
    mutex_base(const mutex_base&) = delete;
    mutex_base& operator=(const mutex_base&) = delete;

    /// Suspends. Throws `cancelled` or `timed_out` if it has to wait, and std::system_error
    /// (resource_deadlock_would_occur) if the caller holds it and it is not recursive.
    void lock()
    {
        if (!lock_free_one())
            throw_if_interrupted(acquire(never, true));
    }
    /// Never suspends.
    bool try_lock() noexcept;
    /// The caller must hold the mutex; terminates otherwise. Never suspends.
    void unlock() noexcept
    {
        guard_.lock();
        if (owner_ != caller_identity() || reentered_ != 0 || !waiters_.empty()) [[unlikely]] {
            unlock_slowly();
            return;
        }
        owner_ = nullptr;
        guard_.unlock();
    }

protected:
    enum class reentry : bool { refused, counted };
    explicit constexpr mutex_base(reentry by_owner) noexcept : reentry_{by_owner} {}
    /// Terminates if it is locked.
    ~mutex_base();

    /// Suspends. False if the time ran out first. Throws as `lock`.
    template <class Rep, class Period> bool try_lock_for(const std::chrono::duration<Rep, Period>& limit)
    {
        return lock_before(deadline_after(limit));
    }
    template <class Clock, class Duration> bool try_lock_until(const std::chrono::time_point<Clock, Duration>& instant)
    {
        return lock_before(deadline_at(instant));
    }

private:
    friend class condition_variable;
    /// As lock, but only the mutex itself can end the wait: for taking it back after a condition.
    void lock_uninterrupted() noexcept
    {
        if (!lock_free_one())
            acquire(never, false);
    }
    bool lock_before(clock::time_point deadline);
    /// What usually happens. If not, returns with `guard_` held, for `acquire`.
    bool lock_free_one() noexcept
    {
        guard_.lock();
        if (owner_ || heir_) [[unlikely]]
            return false;
        owner_ = caller_identity();
        guard_.unlock();
        return true;
    }
    wake_cause acquire(clock::time_point deadline, bool interruptible);
    /// With `guard_` held.
    void unlock_slowly() noexcept;
    bool reenter() noexcept;

    spin_lock guard_{spin_lock::mostly_one_hub{}};
    const reentry reentry_;
    bool heir_ = false;           ///< who has waited longest has been woken, and has not looked yet
    std::uint32_t reentered_ = 0; ///< how often its owner has locked it again
    const void* owner_ = nullptr; ///< fiber or thread that holds it, see src/lock_owner.hpp
    wait_queue waiters_;
};

/// A mutex that suspends the calling fiber instead of blocking its thread.
///
/// Fair: who calls `lock` gets it in order of arrival. Only a `try_lock` that comes when it is free may be faster than
/// who waits. Use it through std::scoped_lock or std::unique_lock. Works between fibers, hubs and plain threads; on a
/// plain thread it blocks that thread. Belongs to the fiber that locked it, or to the thread where there is no fiber.
///
///     std::scoped_lock lock{hits_mutex};
///     ++hits;
class mutex : public mutex_base {
public:
    constexpr mutex() noexcept : mutex_base{reentry::refused} {}
};

/// A mutex that one can stop waiting for.
///
///     if (std::unique_lock lock{cache_mutex, 50ms})
///         return cache.at(key);
class timed_mutex : public mutex_base {
public:
    constexpr timed_mutex() noexcept : mutex_base{reentry::refused} {}
    using mutex_base::try_lock_for;
    using mutex_base::try_lock_until;
};

} // namespace coir
