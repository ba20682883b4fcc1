// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>
#include <coir/wait_queue.hpp>

#include <string>
#include <vector>

namespace coir {

/// What one fiber is doing.
struct fiber_info {
    enum class state { running, ready, waiting };

    fiber_id id;
    std::string name;
    std::size_t hub = 0; ///< its index in the runtime
    state doing;
    wait_reason waiting_for;    ///< meaningful while waiting
    clock::time_point since;    ///< when it began to wait, as of the hub's last turn
    clock::time_point deadline; ///< of that wait; `never` if none
};

/// The fibers of the hub that runs on this thread, oldest first. Never suspends.
std::vector<fiber_info> fibers();

/// One line per fiber, for people.
std::string describe_fibers();

} // namespace coir
