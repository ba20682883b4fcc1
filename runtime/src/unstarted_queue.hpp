// SPDX-License-Identifier: BSL-1.0
#pragma once
// Fibers that have not started, and belong to no hub yet. Each hub of a runtime has such a queue; who puts a fiber into
// it wakes an idle hub, and hubs that run out of work take from the queues of the others.
#include "fiber_state.hpp"
#include "intrusive_list.hpp"

#include <coir/spin_lock.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>

namespace coir {

class unstarted_queue {
public:
    using fiber_queue = intrusive_queue<fiber_state, &fiber_state::next_ready>;

    /// Any thread, all of them.
    void push(fiber_state& fiber) noexcept
    {
        const std::lock_guard held{guard_};
        fibers_.push(fiber);
        size_.store(size() + 1, std::memory_order_relaxed);
    }

    /// The oldest: one `share` of what is there, at least one if there is any.
    fiber_queue take(std::size_t share) noexcept
    {
        fiber_queue taken;
        if (size() == 0)
            return taken;
        const std::lock_guard held{guard_};
        const auto count = std::min(size(), std::max<std::size_t>(1, std::min(size() / share, batch_max)));
        for (std::size_t i = 0; i < count; ++i)
            taken.push(fibers_.pop());
        size_.store(size() - count, std::memory_order_relaxed);
        return taken;
    }

    // Around a fork: it must not happen while another hub takes some.
    void lock() noexcept { guard_.lock(); }
    void unlock() noexcept { guard_.unlock(); }

    /// In a forked child, where nobody else pushes or takes.
    fiber_queue abandon() noexcept
    {
        size_.store(0, std::memory_order_relaxed);
        return std::exchange(fibers_, {});
    }

    /// A hint while others push and take.
    std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t batch_max = 64;

    spin_lock guard_;
    fiber_queue fibers_;
    std::atomic<std::size_t> size_{0};
};

} // namespace coir
