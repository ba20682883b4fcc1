// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <cstddef>
#include <limits>

namespace coir {

/// std::latch for fibers, hubs and plain threads: a count that goes down once, and those who wait for it to be 0.
///
///     coir::latch loaded{3};
///     coir::fiber part{[&] { load(); loaded.count_down(); }};
///     loaded.wait();
///
/// Who has seen the count at 0 may destroy the latch, even if a call of `count_down` has not returned yet.
class latch {
public:
    constexpr explicit latch(std::ptrdiff_t expected) noexcept : left_{expected} {}
    latch(const latch&) = delete;
    latch& operator=(const latch&) = delete;

    static constexpr std::ptrdiff_t max() noexcept { return std::numeric_limits<std::ptrdiff_t>::max(); }

    /// Never suspends. Any thread. Terminates if it is more than what is left.
    void count_down(std::ptrdiff_t update = 1) noexcept;
    /// Whether the count is 0. Never suspends.
    bool try_wait() const noexcept;
    /// Suspends until the count is 0. Throws `cancelled`, `timed_out` if it has to wait.
    void wait() const;
    /// Both. Who is cancelled or cut off while waiting has been counted all the same.
    void arrive_and_wait(std::ptrdiff_t update = 1);

private:
    /// Releases the lock, and wakes everyone, if that was the last.
    void arrive(wait_queue::guard& held, std::ptrdiff_t update) noexcept;
    void wait(wait_queue::guard& held) const;

    mutable spin_lock guard_;
    std::ptrdiff_t left_;
    mutable wait_queue waiters_;
};

} // namespace coir
