// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "fiber_state.hpp"

#include <utility>

namespace coir {

/// For what coir itself does while a fiber runs: Asio takes pthread locks and writes to descriptors, and threads are
/// started. Called from a fiber under the patch, that must neither suspend nor become something else.
struct outside_fiber {
    fiber_state* fiber = std::exchange(current_fiber, nullptr);
    outside_fiber() = default;
    outside_fiber(const outside_fiber&) = delete;
    outside_fiber& operator=(const outside_fiber&) = delete;
    ~outside_fiber() { current_fiber = fiber; }
};

} // namespace coir
