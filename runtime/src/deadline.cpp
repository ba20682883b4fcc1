// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include <coir/deadline.hpp>

#include <algorithm>

namespace coir {

wait_scope::wait_scope(kind what, clock::time_point at) noexcept
    : at_{at}, effective_{at}, shielded_{what == kind::shield}, fiber_{current_fiber}
{
    if (!fiber_)
        return;
    outer_ = std::exchange(fiber_->scope, this);
    if (outer_ && what == kind::timeout) {
        effective_ = std::min(at, outer_->effective_);
        shielded_ = outer_->shielded_;
    }
}

wait_scope::~wait_scope()
{
    if (fiber_)
        fiber_->scope = outer_;
}

} // namespace coir
