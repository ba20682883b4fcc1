// SPDX-License-Identifier: BSL-1.0
#include "fork.hpp"

#include "hub_group.hpp"
#include "scheduler.hpp"

#include <coir/fiber_group.hpp>

#include <pthread.h>

namespace coir {

void watch_forks() noexcept
{
    static const int registered = ::pthread_atfork(
        [] {
            if (auto* hub = scheduler::of_this_thread())
                hub->before_fork();
        },
        [] {
            if (auto* hub = scheduler::of_this_thread())
                hub->after_fork();
        },
        [] {
            if (auto* hub = scheduler::of_this_thread())
                hub->after_fork_in_child();
        });
    static_cast<void>(registered);
}

// Other threads may be in the middle of three things that the child goes on to use: posting to this hub, giving a stack
// back, and taking fibers that have not started. The fork waits until they are not.

void scheduler::before_fork() noexcept
{
    posting_.fetch_or(posts_closed, std::memory_order_acq_rel);
    while (posting_.load(std::memory_order_acquire) != posts_closed)
        std::this_thread::yield();
    stacks_.lock();
    unstarted_.lock();
}

void scheduler::after_fork() noexcept
{
    unstarted_.unlock();
    stacks_.unlock();
    posting_.fetch_and(~posts_closed, std::memory_order_release);
}

void scheduler::after_fork_in_child() noexcept
{
    unstarted_.unlock();
    stacks_.unlock();
    posting_.store(0, std::memory_order_relaxed);
    requests_.store(nullptr, std::memory_order_relaxed);
    cancel_all_.store(false, std::memory_order_relaxed);
    outside_work.store(0, std::memory_order_relaxed);
    ready_.clear();
    timers_.clear();

    // The other fibers never run again, and their stacks stay as they are. For who joins them they have ended; and who
    // wakes somebody from a queue that they wait in must pass them over.
    const auto lose = [](fiber_state& fiber) {
        fiber.vanish();
        if (fiber.parked)
            fiber.parked->claim();
        if (auto* owner = std::exchange(fiber.group, nullptr))
            owner->vanished(fiber);
    };
    for (auto* fiber = all_.first(); fiber; fiber = all_.next(*fiber))
        if (fiber != current_fiber)
            lose(*fiber);
    for (auto waiting = unstarted_.abandon(); !waiting.empty();)
        lose(waiting.pop());
    all_ = {};
    live_ = 0;
    if (current_fiber) {
        all_.push(*current_fiber);
        ++live_;
    }
    counted_ = true;
    forked_ = true;
    main_ended_ = false;
    group_.forked(*this);
    driver_.after_fork_in_child();
}

} // namespace coir
