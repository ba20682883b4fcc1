// SPDX-License-Identifier: BSL-1.0
#include <coir/semaphore.hpp>

namespace coir {

void semaphore_base::release(std::ptrdiff_t count)
{
    wait_queue::guard held{guard_};
    const auto most = static_cast<std::size_t>(count);
    auto woken = waiters_.take_if(
        held, [](const waiter&) { return true; }, most);
    count_ += static_cast<std::ptrdiff_t>(most - woken.size());
    held.unlock();
    woken.wake(); // from here on the semaphore may be gone
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
