// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/cancel_scope.hpp>

#include <mutex>
#include <stdexcept>

namespace coir {

void cancel_scope::begin()
{
    {
        const std::lock_guard held{guard_};
        if (running_)
            throw std::logic_error{"coir::cancel_scope::run: somebody is in it already"};
        running_ = true;
        inside_ = current_fiber;
    }
    enter();
}

void cancel_scope::finish() noexcept
{
    leave();
    const std::lock_guard held{guard_};
    running_ = false;
    inside_ = nullptr;
}

void cancel_scope::cancel() noexcept
{
    std::unique_lock held{guard_};
    cancelled_.store(true, std::memory_order_relaxed);
    auto* const fiber = inside_;
    if (!fiber)
        return;
    fiber->retain(); // once we let go of the lock it may leave, and end
    held.unlock();
    fiber->request_interrupt();
    fiber->release();
}

void cancel_scope::moved_to(fiber_state* fiber) noexcept
{
    const std::lock_guard held{guard_};
    inside_ = fiber;
}

void cancel_scope::absorb()
{
    const bool cut_off = cancel_requested() || (at_ != never && at_ <= clock::now());
    if (!cut_off || !current_fiber)
        throw;
    // A wait right behind us would be cut off as well: then it is not for us to stop it here, and what goes on says
    // why.
    throw_if_interrupted(current_fiber->interruption(current_fiber->scope));
}

} // namespace coir
