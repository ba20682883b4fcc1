// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/inspect.hpp>

namespace coir {

std::vector<fiber_info> fibers()
{
    std::vector<fiber_info> result;
    const auto* hub = scheduler::of_this_thread();
    for (auto* fiber = hub ? hub->first_fiber() : nullptr; fiber; fiber = fiber->all.next) {
        using state = fiber_info::state;
        const auto doing = fiber == current_fiber ? state::running : fiber->waits() ? state::waiting : state::ready;
        result.push_back({.id = fiber->id,
                          .name = fiber->name,
                          .doing = doing,
                          .waiting_for = fiber->parked ? fiber->waiting->reason : wait_reason{},
                          .since = fiber->waiting_since,
                          .deadline = fiber->parked ? fiber->waiting->deadline : never});
    }
    return result;
}

std::string describe_fibers()
{
    const auto* hub = scheduler::of_this_thread();
    return hub ? hub->describe() : std::string{};
}

} // namespace coir
