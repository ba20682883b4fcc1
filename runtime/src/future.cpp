// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include <coir/async.hpp>

namespace coir {

// ---- the shared state -----------------------------------------------------------------------------------------------

future_state_base::~future_state_base() = default;

void future_state_base::release() noexcept
{
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
        delete this;
}

void future_state_base::retrieve()
{
    if (retrieved_.exchange(true, std::memory_order_relaxed))
        throw future_error{future_errc::future_already_retrieved};
}

void future_state_base::wait()
{
    wait_queue::guard held{guard_};
    if (deferred_) {
        deferred_ = false; // who comes now waits for our call
        held.unlock();
        run_deferred();
        return;
    }
    if (!ready_)
        throw_if_interrupted(waiters_.wait(held, {.reason = {"future", this}}));
    else
        held.unlock();
    settle();
}

future_status future_state_base::wait_before(clock::time_point deadline)
{
    wait_queue::guard held{guard_};
    if (deferred_)
        return future_status::deferred;
    if (!ready_) {
        const auto cause = waiters_.wait(held, {.reason = {"future", this}, .deadline = deadline});
        throw_if_interrupted(cause);
        if (cause == wake_cause::timed_out)
            return future_status::timeout;
    } else {
        held.unlock();
    }
    settle();
    return future_status::ready;
}

void future_state_base::claim()
{
    if (claimed_.exchange(true, std::memory_order_acq_rel))
        throw future_error{future_errc::promise_already_satisfied};
}

void future_state_base::publish(std::exception_ptr failure) noexcept
{
    failure_ = std::move(failure);
    wait_queue::guard held{guard_};
    ready_ = true;
    waiters_.notify_all(held);
}

void future_state_base::set_exception(std::exception_ptr failure)
{
    claim();
    publish(std::move(failure));
}

void future_state_base::abandon() noexcept
{
    if (!claimed_.exchange(true, std::memory_order_acq_rel))
        publish(broken_promise());
}

std::exception_ptr future_state_base::broken_promise()
{
    return std::make_exception_ptr(future_error{future_errc::broken_promise});
}

// ---- async ----------------------------------------------------------------------------------------------------------

bool can_start_fiber() noexcept
{
    return scheduler::of_this_thread() != nullptr;
}

void async_fiber::wait_until_ended() noexcept
{
    if (state_->has_ended())
        return;
    wait_queue::guard held{state_->join_guard};
    if (state_->watch())
        state_->joiners.wait(held, {.reason = {"async", state_}, .interruptible = false});
}

async_fiber::~async_fiber()
{
    if (!state_) // it could not be started
        return;
    if (std::uncaught_exceptions() > 0)
        state_->request_cancel();
    wait_until_ended();
    state_->release();
}

} // namespace coir
