// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/deadline.hpp>

#include <utility>

namespace coir {

void wait_scope::enter() noexcept
{
    outer_ = std::exchange(surroundings::of_caller().scope, this);
}

void wait_scope::leave() noexcept
{
    surroundings::of_caller().scope = outer_;
}

} // namespace coir
