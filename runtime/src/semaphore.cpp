// SPDX-License-Identifier: BSL-1.0
#include <coir/semaphore.hpp>

namespace coir {

void semaphore_base::release(std::ptrdiff_t count)
{
    wait_queue::guard held{guard_};
    for (; count > 0; --count) {
        auto* first = waiters_.pop(held);
        if (!first) {
            count_ += count;
            return;
        }
        held.unlock();
        first->wake();
        held.lock();
    }
}

bool semaphore_base::try_acquire() noexcept
{
    wait_queue::guard held{guard_};
    if (count_ == 0)
        return false;
    --count_;
    return true;
}

bool semaphore_base::acquire_before(clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (count_ > 0) {
        --count_;
        return true;
    }
    const auto cause = waiters_.wait(held, {.reason = {"semaphore", this}, .deadline = deadline});
    throw_if_interrupted(cause);
    return cause == wake_cause::notified;
}

} // namespace coir
