// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/clock.hpp>

namespace coir {

clock::time_point clock::now() noexcept
{
    if (auto* hub = scheduler::of_this_thread())
        return hub->events().now();
    return time_point{std::chrono::steady_clock::now().time_since_epoch()};
}

} // namespace coir
