// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/wait_queue.hpp>

#include <utility>

namespace coir {

/// While it lives, the caller counts as outside of fibers, as the hub's loop does: what it calls cannot suspend, and
/// patched calls are plain libc. For calls that do not block and for those of Asio, which takes locks and uses
/// descriptors of its own. Nothing may wait for a fiber inside.
class [[nodiscard]] outside_fiber {
public:
    outside_fiber() noexcept : fiber_{std::exchange(current_fiber, nullptr)} {}
    outside_fiber(const outside_fiber&) = delete;
    outside_fiber& operator=(const outside_fiber&) = delete;
    ~outside_fiber() { current_fiber = fiber_; }

private:
    fiber_state* fiber_;
};

} // namespace coir
