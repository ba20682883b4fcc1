// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <atomic>
#include <cstdint>

namespace coir {

/// A number of the thread whose hub runs here, which no other thread ever has; 0 where there is none.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::uint32_t this_hub_number;

/// A lock for a few instructions: what guards a wait_queue and the fields that go with it.
///
/// Never suspend, allocate, or call foreign code while you hold one: a second hub may be spinning on it.
///
/// One that is `mostly_one_hub`'s belongs to the first hub that takes it, which from then on does so without an atomic
/// read-modify-write. Another thread that wants it ends that for good, at the price of a system call: see
/// spin_lock.cpp.
class spin_lock {
public:
    constexpr spin_lock() noexcept = default;
    struct mostly_one_hub {};
    explicit constexpr spin_lock(mostly_one_hub) noexcept : owner_{nobody} {}

    void lock() noexcept
    {
        if (enter()) [[likely]]
            return;
        if (owner_.load(std::memory_order_acquire) != everybody || held_.exchange(true, std::memory_order_acquire))
            lock_slowly();
    }
    bool try_lock() noexcept;
    void unlock() noexcept
    {
        // Only who took it through `held_` finds that set: until its owner is out, nobody takes it so.
        if (held_.load(std::memory_order_relaxed))
            held_.store(false, std::memory_order_release);
        else
            inside_.store(false, std::memory_order_release);
    }

private:
    // What owner_ may be beside the number of a hub's thread.
    static constexpr std::uint32_t everybody = 0xffff'ffff;
    static constexpr std::uint32_t nobody = 0xffff'fffe;  ///< yet
    static constexpr std::uint32_t revoked = 0xffff'fffd; ///< everybody's, as soon as its owner is seen to be outside

    /// The owner's way in.
    bool enter() noexcept
    {
        const auto self = this_hub_number;
        if (owner_.load(std::memory_order_relaxed) != self)
            return false;
        inside_.store(true, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst); // who revokes has the rest of this fence
        if (owner_.load(std::memory_order_relaxed) == self) [[likely]]
            return true;
        inside_.store(false, std::memory_order_release);
        return false;
    }
    void lock_slowly() noexcept;
    bool open_to_everybody() noexcept;
    void revoke(std::uint32_t owner) noexcept;
    void wait_until_free() noexcept;

    std::atomic<std::uint32_t> owner_{everybody};
    std::atomic<bool> inside_{false}; ///< the owner is; written by the owner only
    std::atomic<bool> held_{false};   ///< by somebody, now that it is everybody's
};

} // namespace coir
