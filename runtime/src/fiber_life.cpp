// SPDX-License-Identifier: BSL-1.0
// From start to end: what is done once for every fiber, in one file, so that a compiler can make one piece of it.
#include "fiber_state.hpp"
#include "hub_group.hpp"
#include "scheduler.hpp"
#include "stack_pool.hpp"
#include "stack_top.hpp"

#include <coir/context_value.hpp>
#include <coir/fiber_group.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <new>
#include <stdexcept>
#include <utility>

namespace coir {

// ---- the beginning --------------------------------------------------------------------------------------------------

[[gnu::always_inline]] inline fiber_state::fiber_state(stack_pool& pool, stack_memory memory, std::byte* top,
                                                       const fiber_options& options, const fiber_entry& entry,
                                                       fiber_id number, scheduler* home) noexcept
    : hub_{home},
      stack{memory, top, &run, this},
      id{number},
      wake_request{&scheduler::make_ready, *this},
      interrupt_request{&scheduler::interrupt, *this},
      pool_{pool},
      memory_{memory},
      entry_{entry}
{
    *name = '\0';
    if (!options.name.empty())
        name[options.name.copy(name, sizeof name - 1)] = '\0';
    if (const auto* of_starter = surroundings::of_caller().bound)
        bound = context_binding::retain(of_starter);
}

[[gnu::always_inline]] inline fiber_state* fiber_state::create(stack_pool& pool, const fiber_options& options,
                                                               const fiber_entry& entry, void* callable, fiber_id id,
                                                               scheduler* home)
{
    const auto top =
        stack_top::make(pool, options.stack_size, sizeof(fiber_state), alignof(fiber_state), entry, callable);
    auto* result = ::new (top.block) fiber_state{pool, top.memory, top.frames, options, entry, id, home};
    result->callable_ = top.callable;
    return result;
}

void scheduler::make_more_room()
{
    const auto room = std::max<std::size_t>(16, 2 * room_);
    timers_.reserve(room);
    ready_.reserve(room);
    room_ = room;
}

/// What start and take_in do alike.
void scheduler::add(fiber_state& fiber) noexcept
{
    all_.push(fiber);
    ++live_;
    if (cancelling_)
        fiber.request_cancel();
    if (current_fiber)
        ready_.push_started(fiber);
    else
        ready_.push(fiber);
}

namespace {

/// The first of `count` numbers that nobody has had.
std::uint64_t take_ids(std::uint64_t count) noexcept
{
    static std::atomic<std::uint64_t> next{1};
    return next.fetch_add(count, std::memory_order_relaxed);
}

} // namespace

inline fiber_id scheduler::next_id() noexcept
{
    if (next_id_ == ids_end_) {
        next_id_ = take_ids(ids_at_once);
        ids_end_ = next_id_ + ids_at_once;
    }
    return fiber_id{next_id_++};
}

fiber_state* scheduler::start(const fiber_options& options, const fiber_entry& entry, void* callable,
                              fiber_group* group)
{
    const bool anywhere = options.on == placement::any_hub && group_.size() > 1;
    make_room();
    auto* fiber = fiber_state::create(stacks_, options, entry, callable, next_id(), anywhere ? nullptr : this);
    if (group)
        group->add(*fiber);
    if (anywhere) {
        offer(*fiber);
    } else {
        if (!std::exchange(counted_, true))
            group_.add_work();
        add(*fiber);
    }
    return fiber;
}

fiber_state& scheduler::create_detached(const fiber_options& options, const fiber_entry& entry, void* callable)
{
    auto& fiber = *fiber_state::create(stacks_, options, entry, callable, fiber_id{take_ids(1)}, nullptr);
    fiber.detached = true;
    fiber.release(); // the reference that a handle would have had
    return fiber;
}

fiber_state* start_fiber(const fiber_options& options, const fiber_entry& entry, void* callable, fiber_group* group)
{
    auto* hub = scheduler::of_this_thread();
    if (!hub)
        throw std::logic_error{"coir::fiber: no runtime runs on this thread; see coir::run"};
    return hub->start(options, entry, callable, group);
}

// ---- in between -----------------------------------------------------------------------------------------------------

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
    if (bound)
        context_binding::release(std::exchange(bound, nullptr));
}

void fiber_state::finish() noexcept
{
    if (auto* owner = std::exchange(group, nullptr))
        owner->ended(*this, std::exchange(failure, nullptr));

    if (failure || phase(life_.load(std::memory_order_relaxed)) == watched)
        end_under_lock();
    // Else with the last of it, in release_ended.
}

void fiber_state::end_under_lock() noexcept
{
    wait_queue::guard held{join_guard};
    if (failure && detached)
        terminate("it was detached, and ended with an exception that nobody can receive");
    life_.fetch_or(ended_phase, std::memory_order_release); // from here on the failure is the joiner's
    joiners.notify_all(held);
}

void fiber_state::release_ended() noexcept
{
    auto life = life_.load(std::memory_order_acquire);
    while (phase(life) == unwatched) {
        if (references(life) == 1) {
            destroy();
            return;
        }
        if (life_.compare_exchange_weak(life, life + ended_phase - one_reference, std::memory_order_acq_rel,
                                        std::memory_order_acquire))
            return;
    }
    if (phase(life) == watched) // since finish() has looked
        end_under_lock();
    release();
}

// ---- the end --------------------------------------------------------------------------------------------------------

void scheduler::leave(fiber_state& ended) noexcept
{
    all_.remove(ended);
    --live_;
    ended_ = &ended;
    auto* const following = next();
    const bool elsewhere = following && following->thread_pointer;
    current_fiber = elsewhere ? nullptr : following;
    if (elsewhere) [[unlikely]]
        note_storage(following->thread_pointer);
    ended.stack.leave_for(following ? following->stack : *loop_, globals_,
                          elsewhere ? following->thread_pointer : nullptr);
}

/// With the last reference.
void fiber_state::destroy() noexcept
{
    auto& pool = pool_;
    const auto memory = memory_;
    this->~fiber_state();
    pool.release(memory);
}

} // namespace coir
