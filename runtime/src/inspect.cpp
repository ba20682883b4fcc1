// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/inspect.hpp>

namespace coir {

std::vector<fiber_info> fibers()
{
    const auto* hub = scheduler::of_this_thread();
    return hub ? hub->fibers() : std::vector<fiber_info>{};
}

std::string describe_fibers()
{
    const auto* hub = scheduler::of_this_thread();
    return hub ? hub->describe() : std::string{};
}

} // namespace coir
