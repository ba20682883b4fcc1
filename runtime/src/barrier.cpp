// SPDX-License-Identifier: BSL-1.0
#include "lock_owner.hpp"

#include <coir/barrier.hpp>

namespace coir {

barrier_base::arrived barrier_base::arrive_some(std::ptrdiff_t update, std::ptrdiff_t dropped) noexcept
{
    const wait_queue::guard held{guard_};
    if (update <= 0 || update > left_)
        terminate_misuse("barrier", "more have arrived than it expects");
    left_ -= update;
    expected_ -= dropped;
    return {arrival_token{phase_}, left_ == 0};
}

void barrier_base::next_phase() noexcept
{
    wait_queue::guard held{guard_};
    ++phase_;
    left_ = expected_;
    waiters_.notify_all(held); // all of them are of the phase that has ended
}

void barrier_base::wait(arrival_token&& arrival) const
{
    wait_queue::guard held{guard_};
    if (phase_ == arrival.phase_)
        throw_if_interrupted(waiters_.wait(held, {.reason = {"barrier", this}}));
}

} // namespace coir
