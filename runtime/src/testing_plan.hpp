// SPDX-License-Identifier: BSL-1.0
#pragma once
// What makes a hub follow a testing::schedule. In such a hub every switch goes through the loop, which asks this.
#include "fiber_state.hpp"
#include "ready_queue.hpp"

#include <coir/testing.hpp>

#include <cstddef>
#include <random>

namespace coir {

class testing_plan {
public:
    explicit testing_plan(testing::schedule& plan) noexcept : plan_{plan}, random_{plan.seed} {}

    /// Brings one of them to the front.
    void choose(ready_queue& ready) noexcept
    {
        for (auto passed_over = random_() % ready.size(); passed_over > 0; --passed_over)
            ready.push(ready.pop());
    }

    /// If it waits now: counts, and cancels the one that is to be cancelled.
    void has_run(fiber_state& fiber) noexcept
    {
        if (fiber.waits() && fiber.waiting->interruptible && ++plan_.waits == plan_.cancel_wait)
            fiber.request_cancel();
    }

private:
    testing::schedule& plan_;
    std::mt19937_64 random_;
};

} // namespace coir
