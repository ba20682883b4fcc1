// SPDX-License-Identifier: BSL-1.0
#include "lock_owner.hpp"

#include <coir/latch.hpp>

namespace coir {

void latch::arrive(wait_queue::guard& held, std::ptrdiff_t update) noexcept
{
    if (update < 0 || update > left_)
        terminate_misuse("latch", "counted down by more than what is left");
    left_ -= update;
    if (left_ == 0)
        waiters_.notify_all(held);
}

void latch::wait(wait_queue::guard& held) const
{
    if (left_ > 0)
        throw_if_interrupted(waiters_.wait(held, {.reason = {"latch", this}}));
}

void latch::count_down(std::ptrdiff_t update) noexcept
{
    wait_queue::guard held{guard_};
    arrive(held, update);
}

bool latch::try_wait() const noexcept
{
    // Under the lock, so that who sees 0 and destroys the latch does not do so under count_down's hands.
    const wait_queue::guard held{guard_};
    return left_ == 0;
}

void latch::wait() const
{
    wait_queue::guard held{guard_};
    wait(held);
}

void latch::arrive_and_wait(std::ptrdiff_t update)
{
    wait_queue::guard held{guard_};
    arrive(held, update);
    if (held) // not the last
        wait(held);
}

} // namespace coir
