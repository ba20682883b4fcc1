// SPDX-License-Identifier: BSL-1.0
#pragma once
// What tests of the net layer say again and again.
#include <coir/fiber.hpp>
#include <coir/inspect.hpp>

#include <chrono>
#include <system_error>

/// Suspends until `fiber` waits.
inline void until_waiting(coir::fiber_id fiber)
{
    for (;;) {
        coir::this_fiber::sleep_for(std::chrono::milliseconds{1});
        for (const auto& each : coir::fibers())
            if (each.id == fiber && each.doing == coir::fiber_info::state::waiting)
                return;
    }
}

/// The code of the std::system_error that `call` throws; none if it does not.
std::error_code code_of(auto&& call)
{
    try {
        call();
    } catch (const std::system_error& error) {
        return error.code();
    }
    return {};
}
