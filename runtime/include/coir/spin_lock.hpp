// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <atomic>

namespace coir {

/// A lock for a few instructions: what guards a wait_queue and the fields that go with it.
///
/// Never suspend, allocate, or call foreign code while you hold one: a second hub may be spinning on it.
class spin_lock {
public:
    void lock() noexcept
    {
        while (held_.exchange(true, std::memory_order_acquire))
            wait_until_free();
    }
    bool try_lock() noexcept { return !held_.exchange(true, std::memory_order_acquire); }
    void unlock() noexcept { held_.store(false, std::memory_order_release); }

private:
    void wait_until_free() noexcept;

    std::atomic<bool> held_{false};
};

} // namespace coir
