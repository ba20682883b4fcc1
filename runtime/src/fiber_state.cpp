// SPDX-License-Identifier: BSL-1.0
#include "fiber_state.hpp"

#include "scheduler.hpp"
#include "stack_pool.hpp"
#include "stack_top.hpp"

#include <coir/context_value.hpp>
#include <coir/fiber_group.hpp>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <new>

namespace coir {

namespace {

std::uint64_t new_id() noexcept
{
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

} // namespace

fiber_state* fiber_state::create(stack_pool& pool, const fiber_options& options, const fiber_entry& entry,
                                 void* callable)
{
    const auto top =
        stack_top::make(pool, options.stack_size, sizeof(fiber_state), alignof(fiber_state), entry, callable);
    auto* result = ::new (top.block) fiber_state{pool, top.memory, top.frames, options, entry};
    result->callable_ = top.callable;
    return result;
}

fiber_state::fiber_state(stack_pool& pool, stack_memory memory, std::byte* top, const fiber_options& options,
                         const fiber_entry& entry) noexcept
    : stack{memory, top, &run, this},
      id{new_id()},
      start_request{&scheduler::take_in, *this},
      wake_request{&scheduler::make_ready, *this},
      interrupt_request{&scheduler::interrupt, *this},
      pool_{pool},
      memory_{memory},
      entry_{entry}
{
    options.name.copy(name, sizeof name - 1);
    bound = context_binding::retain(context_binding::newest()); // of who starts it
}

void fiber_state::release() noexcept
{
    if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return;
    auto& pool = pool_;
    const auto memory = memory_;
    this->~fiber_state();
    pool.release(memory);
}

void fiber_state::settle(scheduler& on) noexcept
{
    const std::lock_guard held{join_guard};
    hub_.store(&on, std::memory_order_relaxed);
}

void fiber_state::run(void* self) noexcept
{
    auto& fiber = *static_cast<fiber_state*>(self);
    current_fiber = &fiber; // who has switched to it may have done so from another fiber's thread-local storage
    fiber.hub().entered();
    fiber.call();
    if (fiber.thread_pointer)
        fiber.terminate("it ends with a thread pointer of its own");
    fiber.finish();
    fiber.hub().leave(fiber);
}

void fiber_state::call() noexcept
{
    try {
        entry_.call(callable_);
    } catch (const timed_out&) {
        failure = std::current_exception();
    } catch (const cancelled&) {
        // The way a cancelled fiber ends.
    } catch (...) {
        failure = std::current_exception();
    }
    entry_.destroy(callable_);
    locals.destroy_all();
    context_binding::release(std::exchange(bound, nullptr));
}

void fiber_state::finish() noexcept
{
    if (auto* owner = std::exchange(group, nullptr))
        owner->ended(*this, std::exchange(failure, nullptr));

    wait_queue::guard held{join_guard};
    joinable_ended = true;
    if (failure && detached)
        terminate("it was detached, and ended with an exception that nobody can receive");
    joiners.notify_all(held);
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
    if (!home() || joinable_ended || interrupt_posted.exchange(true, std::memory_order_acq_rel))
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
