// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/context_value.hpp>

namespace coir {

const context_binding* context_binding::newest() noexcept
{
    return surroundings::of_caller().bound;
}

const context_binding* context_binding::exchange(const context_binding* list) noexcept
{
    return std::exchange(surroundings::of_caller().bound, list);
}

const context_binding* context_binding::retain(const context_binding* list) noexcept
{
    if (list)
        list->references_.fetch_add(1, std::memory_order_relaxed);
    return list;
}

void context_binding::release(const context_binding* list) noexcept
{
    // Each holds the one before it; a loop, because a list may be long.
    while (list && list->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const auto* older = list->older_;
        delete list;
        list = older;
    }
}

} // namespace coir
