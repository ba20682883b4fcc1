// SPDX-License-Identifier: BSL-1.0
#include <coir/condition_variable_any.hpp>

#include <limits>

namespace coir {

condition_variable_any::waiting::waiting(condition_variable_any& condition) noexcept
    : waiter{self_}, condition_{condition}
{
    const wait_queue::guard held{condition_.guard_};
    condition_.waiters_.push(held, *this);
}

condition_variable_any::waiting::~waiting()
{
    if (notified_)
        return;
    const wait_queue::guard held{condition_.guard_};
    condition_.waiters_.remove(held, *this);
}

wake_cause condition_variable_any::waiting::park(clock::time_point deadline) noexcept
{
    if (progress_.exchange(progress::parked, std::memory_order_acq_rel) == progress::ended)
        return wake_cause::notified;
    return self_.park({.reason = {"condition", &condition_}, .deadline = deadline});
}

void condition_variable_any::waiting::end() noexcept
{
    if (progress_.exchange(progress::ended, std::memory_order_acq_rel) == progress::parked)
        wake();
}

void condition_variable_any::waiting::stop() noexcept
{
    if (self_.claim())
        end();
}

void condition_variable_any::notify(std::size_t most) noexcept
{
    waiting* first = nullptr;
    auto** end = &first;
    wait_queue::guard held{guard_};
    for (; most > 0; --most) {
        auto* each = static_cast<waiting*>(waiters_.pop(held));
        if (!each)
            break;
        each->notified_ = true;
        *end = each;
        end = &each->next_notified_;
    }
    held.unlock();
    while (first) // from here on the condition may be gone
        std::exchange(first, first->next_notified_)->end();
}

void condition_variable_any::notify_one() noexcept
{
    notify(1);
}

void condition_variable_any::notify_all() noexcept
{
    notify(std::numeric_limits<std::size_t>::max());
}

} // namespace coir
