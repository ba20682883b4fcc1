// SPDX-License-Identifier: BSL-1.0
#include <coir/auto_reset_event.hpp>

#include <utility>

namespace coir {

void auto_reset_event::set() noexcept
{
    wait_queue::guard held{guard_};
    auto* first = waiters_.pop(held);
    if (!first)
        set_ = true;
    held.unlock();
    if (first)
        first->wake();
}

void auto_reset_event::reset() noexcept
{
    const wait_queue::guard held{guard_};
    set_ = false;
}

bool auto_reset_event::try_wait() noexcept
{
    const wait_queue::guard held{guard_};
    return std::exchange(set_, false);
}

bool auto_reset_event::wait_before(clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (std::exchange(set_, false))
        return true;
    const auto cause = waiters_.wait(held, {.reason = {"auto_reset_event", this}, .deadline = deadline});
    throw_if_interrupted(cause);
    return cause == wake_cause::notified;
}

} // namespace coir
