// SPDX-License-Identifier: BSL-1.0
#include "lock_owner.hpp"

#include <coir/once.hpp>

namespace coir {

namespace {

/// To whom the turn passes if the one who has it fails.
struct candidate : waiter {
    candidate(parking& owner, const void* who) noexcept : waiter{owner}, identity{who} {}
    const void* identity;
    bool chosen = false;
};

} // namespace

bool once_flag::begin()
{
    const auto* self = caller_identity();
    wait_queue::guard held{guard_};
    if (is_done())
        return false;
    if (!runner_) {
        runner_ = self;
        return true;
    }
    if (runner_ == self)
        throw_deadlock("coir::call_once");
    parking wait{parking::in_one_queue{}};
    candidate place{wait, self};
    throw_if_interrupted(waiters_.wait(held, place, {.reason = {"call_once", this}}));
    return place.chosen;
}

void once_flag::finish() noexcept
{
    wait_queue::guard held{guard_};
    runner_ = nullptr;
    done_.store(true, std::memory_order_release);
    waiters_.notify_all(held);
}

void once_flag::pass_on() noexcept
{
    wait_queue::guard held{guard_};
    auto* next = static_cast<candidate*>(waiters_.pop(held));
    runner_ = next ? next->identity : nullptr;
    if (next)
        next->chosen = true;
    held.unlock();
    if (next)
        next->wake();
}

} // namespace coir
