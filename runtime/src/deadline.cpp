// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/deadline.hpp>

#include <utility>

namespace coir {

void wait_scope::enter() noexcept
{
    entered_ = current_fiber != nullptr;
    if (entered_)
        outer_ = std::exchange(current_fiber->scope, this);
}

void wait_scope::leave() noexcept
{
    if (entered_)
        current_fiber->scope = outer_;
}

} // namespace coir
