// SPDX-License-Identifier: BSL-1.0
#include <coir/event.hpp>

namespace coir {

void event::set() noexcept
{
    wait_queue::guard held{guard_};
    set_.store(true, std::memory_order_release);
    waiters_.notify_all(held);
}

void event::reset() noexcept
{
    wait_queue::guard held{guard_};
    set_.store(false, std::memory_order_release);
}

bool event::wait_before(clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (set_.load(std::memory_order_relaxed))
        return true;
    const auto cause = waiters_.wait(held, {.reason = {"event", this}, .deadline = deadline});
    throw_if_interrupted(cause);
    return cause == wake_cause::notified;
}

} // namespace coir
