// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>

#include <utility>

namespace coir::net {

/// Calls that do not block, or that must not suspend, for the length of a scope: not this fiber's. Where the patch is
/// linked in as well it then leaves them alone, instead of asking the kernel first whether they may block.
class [[nodiscard]] outside_fiber {
public:
    outside_fiber() = default;
    outside_fiber(const outside_fiber&) = delete;
    outside_fiber& operator=(const outside_fiber&) = delete;
    ~outside_fiber() { current_fiber = fiber_; }

private:
    fiber_state* fiber_ = std::exchange(current_fiber, nullptr);
};

} // namespace coir::net
