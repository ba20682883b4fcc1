// SPDX-License-Identifier: BSL-1.0
// Time that jumps. The shortest driver there is: read it to see what the scheduler asks of one.
#include "raw_syscall.hpp"

#include <coir/testing.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>

namespace coir::testing {

bool virtual_driver::wait(clock::time_point deadline, bool outside_work)
{
    if (woken_.exchange(0, std::memory_order_acquire))
        return true;
    if (outside_work) { // a real thread is at work: let it finish before time goes on
        raw_syscall(SYS_futex, reinterpret_cast<long>(&woken_), FUTEX_WAIT_PRIVATE, 0);
        return true;
    }
    if (deadline == never)
        return false;
    now_ = std::max(now_, deadline);
    return true;
}

void virtual_driver::wake() noexcept
{
    woken_.store(1, std::memory_order_release);
    raw_syscall(SYS_futex, reinterpret_cast<long>(&woken_), FUTEX_WAKE_PRIVATE, 1);
}

void sequencer::at(int step)
{
    wait_queue::guard held{guard_};
    while (next_ != step) {
        throw_if_interrupted(waiters_.wait(held, {.reason = {"sequencer", this}}));
        held.lock();
    }
    ++next_;
    waiters_.notify_all(held);
}

} // namespace coir::testing
