// SPDX-License-Identifier: BSL-1.0
#include <coir/condition_variable.hpp>

namespace coir {

void condition_variable::notify_all() noexcept
{
    wait_queue::guard held{guard_};
    waiters_.notify_all(held);
}

std::cv_status condition_variable::wait_before(std::unique_lock<mutex>& lock, clock::time_point deadline)
{
    parking self{parking::in_one_queue{}};
    waiter place{self};
    wait_queue::guard held{guard_};
    waiters_.push(held, place);
    held.unlock();
    // From here a notification finds us, so the mutex can be given up before the wait itself begins.
    lock.mutex()->unlock();
    const auto cause = self.park({.reason = {"condition", this}, .deadline = deadline});
    if (cause != wake_cause::notified) [[unlikely]] {
        held.lock();
        waiters_.remove(held, place);
        held.unlock();
    }
    lock.mutex()->lock_uninterrupted();
    throw_if_interrupted(cause);
    return cause == wake_cause::timed_out ? std::cv_status::timeout : std::cv_status::no_timeout;
}

} // namespace coir
