// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/signal_wait.hpp>

namespace coir {

bool signal_wait::is_here() const noexcept
{
    return fiber_ && fiber_->home() == scheduler::of_this_thread();
}

std::uint64_t signal_wait::ended_by_handler(bool restarts) const noexcept
{
    if (!is_here() || !fiber_->parked)
        return 0;
    std::atomic_signal_fence(std::memory_order_acquire);
    const auto ends = fiber_->waiting->signals;
    const bool ended = ends == ends_by_signal::always || (ends == ends_by_signal::unless_restarted && !restarts);
    return ended ? fiber_->wait_number : 0;
}

void signal_wait::end(std::uint64_t wait) const noexcept
{
    if (is_here() && fiber_->parked && fiber_->wait_number == wait && fiber_->parked->claim())
        fiber_->parked->wake(wake_cause::handled);
}

void signal_wait::cancel() const noexcept
{
    if (is_here())
        fiber_->request_cancel();
}

void signal_wait::forget_cancel() const noexcept
{
    if (is_here())
        fiber_->forget_cancel();
}

} // namespace coir
