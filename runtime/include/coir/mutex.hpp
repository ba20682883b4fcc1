// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

namespace coir {

/// A mutex that suspends the calling fiber instead of blocking its thread.
///
/// Fair: `unlock` hands over to who has waited longest. Use it through std::scoped_lock or std::unique_lock. Works
/// between fibers, hubs and plain threads; on a plain thread it blocks that thread.
///
///     std::scoped_lock lock{hits_mutex};
///     ++hits;
class mutex {
public:
    mutex() = default;
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    /// Terminates if it is locked.
    ~mutex();

    /// Suspends. Throws `cancelled` or `timed_out` if it has to wait, and std::system_error
    /// (resource_deadlock_would_occur) if the caller holds it.
    void lock();
    bool try_lock() noexcept;
    /// The caller must hold the mutex; terminates otherwise.
    void unlock() noexcept;

private:
    friend class condition_variable;
    /// As lock, but only the mutex itself can end the wait: for taking it back after a condition.
    void lock_uninterrupted() noexcept;
    wake_cause acquire(bool interruptible);

    spin_lock guard_;
    const void* owner_ = nullptr; ///< fiber or thread that holds it, see caller_identity in mutex.cpp
    wait_queue waiters_;
};

} // namespace coir
