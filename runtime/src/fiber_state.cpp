// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include "scheduler.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>

namespace coir {

void fiber_state::settle(scheduler& on) noexcept
{
    const std::lock_guard held{join_guard};
    hub_.store(&on, std::memory_order_relaxed);
}

void fiber_state::request_cancel() noexcept
{
    cancel_requested_.store(true, std::memory_order_relaxed);
    request_stop();
    request_interrupt();
}

void fiber_state::request_interrupt() noexcept
{
    if (scheduler::of_this_thread() == home() && home()) {
        interrupt_if_cancelled();
        return;
    }
    // While the fiber has not ended its hub lives; finish() takes this lock before that. And so does settle(): a fiber
    // that has no home yet will see the flag set above.
    std::lock_guard held{join_guard};
    if (!home() || !watch() || interrupt_posted.exchange(true, std::memory_order_acq_rel))
        return;
    retain();
    hub().post(interrupt_request);
}

bool fiber_state::request_stop() noexcept
{
    std::unique_lock held{stop_guard_};
    const bool first = !std::exchange(stop_requested_, true);
    auto source = stop_;
    held.unlock();
    if (first && source)
        source->request_stop();
    return first;
}

std::stop_token fiber_state::stop_token()
{
    std::unique_lock held{stop_guard_};
    if (!stop_) {
        held.unlock();
        std::stop_source made;
        held.lock();
        if (!stop_) {
            stop_ = std::move(made);
            if (stop_requested_)
                stop_->request_stop();
        }
    }
    return stop_->get_token();
}

fiber_state::wait_limits fiber_state::limits(const wait_scope* innermost) const noexcept
{
    wait_limits result;
    for (const auto* each = innermost; each; each = each->outer_) {
        if (each->kind_ == wait_scope::kind::shield)
            return result; // nothing from outside reaches in
        result.cancelled |= each->cancelled_.load(std::memory_order_relaxed);
        result.deadline = std::min(result.deadline, each->at_);
    }
    result.cancelled |= cancel_requested();
    return result;
}

wake_cause fiber_state::interruption(const wait_scope* innermost) const noexcept
{
    const auto [cancelled, deadline] = limits(innermost);
    if (cancelled)
        return wake_cause::cancelled;
    return deadline != never && deadline <= clock::now() ? wake_cause::deadline : wake_cause::notified;
}

void fiber_state::interrupt_if_cancelled() noexcept
{
    if (parked && waiting->interruptible && limits(scope).cancelled && parked->claim())
        parked->wake(wake_cause::cancelled);
}

void fiber_state::terminate(const char* sentence) const noexcept
{
    std::fprintf(stderr, "coir: fiber %llu%s%s%s: %s\n", static_cast<unsigned long long>(id.value), *name ? " (" : "",
                 name, *name ? ")" : "", sentence);
    if (failure)
        std::fprintf(stderr, "coir: the exception was: %s\n", describe(failure).c_str());
    std::terminate();
}

} // namespace coir
