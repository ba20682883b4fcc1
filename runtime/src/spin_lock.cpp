// SPDX-License-Identifier: BSL-1.0
#include "raw_syscall.hpp"

#include <coir/spin_lock.hpp>

#include <sys/syscall.h>

namespace coir {

void spin_lock::wait_until_free() noexcept
{
    // What it guards takes nanoseconds: if it is not free soon, its holder has lost the processor; lend it ours.
    for (int tries = 0; held_.load(std::memory_order_relaxed); ++tries)
        if (tries >= 100)
            raw_syscall(SYS_sched_yield);
}

} // namespace coir
