// SPDX-License-Identifier: BSL-1.0
// A coroutine runs on the thread, and in the fiber, of whoever resumes it. While it does, the fiber's `stack` describes
// the coroutine's stack instead of the fiber's own, so that the scheduler switches away from it and back to it without
// knowing. What resume() leaves behind stands in for the stack that it was called on:
//
//     fiber's own stack         coroutine a          coroutine b
//     resume(a)  resumption <-- resume(b)  resumption <-- runs; `fiber.stack` describes this one
//
// yield() goes back along an arrow; transfer() replaces the coroutine at the end of one.
#include "fiber_state.hpp"
#include "scheduler.hpp"
#include "stack_pool.hpp"
#include "stack_top.hpp"

#include <coir/cancel_scope.hpp>
#include <coir/context_value.hpp>
#include <coir/coroutine.hpp>
#include <coir/deadline.hpp>

#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace coir {

namespace {

/// Stacks for coroutines that are made outside of a hub. Never destroyed: static destructors may make some.
stack_pool& pool_for_threads()
{
    static stack_pool& pool = *new stack_pool;
    return pool;
}

[[noreturn]] void terminate(const char* sentence) noexcept
{
    std::fprintf(stderr, "coir: coroutine: %s (fiber %llu)\n", sentence,
                 static_cast<unsigned long long>(this_fiber::get_id().value));
    std::terminate();
}

} // namespace

class coroutine_state {
public:
    static coroutine_state* create(const coroutine_options& options, const fiber_entry& entry, void* callable);
    void destroy() noexcept;

    void* resume(void* passing, std::exception_ptr failure);
    void* yield(void* passing);
    void* transfer(coroutine_state* to, void* passing);
    bool ended() const noexcept { return phase_ == phase::ended; }
    bool resumable() const noexcept { return phase_ == phase::fresh || phase_ == phase::suspended; }

    std::byte* callable = nullptr;
    void* passed = nullptr; ///< what the one who has just stopped gives to the one who goes on

private:
    enum class phase : std::uint8_t { fresh, suspended, active, ended };

    /// A `resume` that has not returned: the stack it is on, and which coroutine has come back to it.
    struct resumption {
        explicit resumption(fiber_state* fiber) noexcept
            : stack{fiber ? context{context::stand_in_for{fiber->stack}} : context{}}
        {
        }
        context stack;
        coroutine_state* arrived = nullptr;
    };

    /// Where the coroutine's own scopes end and those of who resumes it begin.
    struct boundary : wait_scope {
        boundary() noexcept : wait_scope{never} {}
    };

    coroutine_state(stack_pool& pool, const stack_top& top, const fiber_entry& entry) noexcept
        : callable{top.callable}, stack_{top.memory, top.frames, &run, this}, pool_{pool}, entry_{entry}
    {
    }

    static void run(void* self) noexcept;
    const char* obstacle() const noexcept; ///< why it cannot be resumed; null: it can
    void check_resumable();
    void come_in(resumption& from) noexcept;
    void scopes_move_to(fiber_state* fiber) noexcept;
    resumption& go_out(phase now) noexcept;
    void* came_back();
    void unwind() noexcept;

    context stack_;
    phase phase_ = phase::fresh;
    bool being_destroyed_ = false;
    thread_globals globals_{};      ///< the thread's that it belongs to; none before it has begun
    resumption* resumer_ = nullptr; ///< while it is active
    std::exception_ptr thrown_in_;  ///< for `yield` to throw
    std::exception_ptr failure_;    ///< what the function ended with
    boundary boundary_;
    surroundings own_{&boundary_}; ///< while it is not active, what it will bring along
    unsigned no_suspends_around_ = 0;
    const context_binding* bound_around_ = nullptr;

    stack_pool& pool_;
    const fiber_entry& entry_;
    stack_memory memory_ = stack_.memory();
};

coroutine_state* coroutine_state::create(const coroutine_options& options, const fiber_entry& entry, void* callable)
{
    auto* hub = scheduler::of_this_thread();
    auto& pool = hub ? hub->stacks() : pool_for_threads();
    const auto top =
        stack_top::make(pool, options.stack_size, sizeof(coroutine_state), alignof(coroutine_state), entry, callable);
    return ::new (top.block) coroutine_state{pool, top, entry};
}

void coroutine_state::destroy() noexcept
{
    if (phase_ == phase::active)
        terminate("destroyed while it runs, or waits for another that it has resumed");
    if (phase_ == phase::suspended)
        unwind();
    entry_.destroy(callable);
    auto& pool = pool_;
    const auto memory = memory_;
    this->~coroutine_state();
    pool.release(memory);
}

void coroutine_state::unwind() noexcept
{
    if (const char* why = obstacle())
        terminate(why);
    const bool unwinding = std::uncaught_exceptions() > 0;
    being_destroyed_ = true;
    try {
        resume(nullptr, std::make_exception_ptr(coroutine_destroyed{}));
    } catch (const cancelled&) {
        // The way it ends.
    } catch (...) {
        // While an exception is on its way already, this one gives way to it.
        if (!unwinding)
            terminate("it ended with an exception while it was destroyed");
    }
}

void coroutine_state::run(void* self) noexcept
{
    auto& coroutine = *static_cast<coroutine_state*>(self);
    try {
        coroutine.entry_.call(coroutine.callable);
    } catch (...) {
        coroutine.failure_ = std::current_exception();
    }
    context_binding::release(context_binding::exchange(nullptr));
    auto& from = coroutine.go_out(phase::ended);
    coroutine.stack_.leave_for(from.stack, coroutine.globals_);
}

const char* coroutine_state::obstacle() const noexcept
{
    if (phase_ == phase::ended)
        return "it has ended";
    if (phase_ == phase::active)
        return "it runs already, or waits for another that it has resumed";
    if (globals_.error_number && globals_.error_number != &errno) // which is the thread's own
        return "it belongs to another thread";
    return nullptr;
}

void coroutine_state::check_resumable()
{
    if (const char* why = obstacle())
        throw std::logic_error{std::string{"coir::coroutine: "} + why};
    if (phase_ == phase::fresh)
        globals_ = thread_globals::of_this_thread();
}

/// Who cancels one of them must know whose wait that may end; nobody's while we are suspended.
void coroutine_state::scopes_move_to(fiber_state* fiber) noexcept
{
    for (auto* each = own_.scope; each != &boundary_; each = each->outer_)
        if (each->kind_ == wait_scope::kind::cancel_scope)
            static_cast<cancel_scope*>(each)->moved_to(fiber);
}

/// We are about to run. The caller switches.
void coroutine_state::come_in(resumption& from) noexcept
{
    auto& caller = surroundings::of_caller();
    if (phase_ == phase::fresh)
        own_.bound = context_binding::retain(caller.bound);
    phase_ = phase::active;
    resumer_ = &from;
    scopes_move_to(current_fiber);
    bound_around_ = std::exchange(caller.bound, own_.bound);
    boundary_.outer_ = std::exchange(caller.scope, own_.scope);
    no_suspends_around_ = caller.must_not_suspend;
    caller.must_not_suspend += own_.must_not_suspend;
    if (current_fiber)
        current_fiber->stack.describe(stack_);
}

/// We are about to stop. Returns who waits for us; unless it is a transfer, the caller switches there.
coroutine_state::resumption& coroutine_state::go_out(phase now) noexcept
{
    phase_ = now;
    auto& from = *std::exchange(resumer_, nullptr);
    from.arrived = this;
    auto& caller = surroundings::of_caller();
    own_.scope = std::exchange(caller.scope, boundary_.outer_);
    scopes_move_to(nullptr);
    own_.bound = std::exchange(caller.bound, bound_around_);
    own_.must_not_suspend = caller.must_not_suspend - no_suspends_around_;
    caller.must_not_suspend = no_suspends_around_;
    if (current_fiber)
        current_fiber->stack.describe(from.stack);
    return from;
}

void* coroutine_state::resume(void* passing, std::exception_ptr failure)
{
    check_resumable();
    if (phase_ == phase::fresh && failure) {
        phase_ = phase::ended;
        std::rethrow_exception(std::move(failure));
    }
    passed = passing;
    thrown_in_ = std::move(failure);
    resumption here{current_fiber};
    come_in(here);
    here.stack.switch_to(stack_, globals_);

    auto& arrived = *here.arrived; // another, if ours has transferred
    if (arrived.failure_)
        std::rethrow_exception(std::exchange(arrived.failure_, nullptr));
    return arrived.passed;
}

void* coroutine_state::yield(void* passing)
{
    if (being_destroyed_)
        throw coroutine_destroyed{};
    passed = passing;
    auto& from = go_out(phase::suspended);
    stack_.switch_to(from.stack, globals_);
    return came_back();
}

void* coroutine_state::transfer(coroutine_state* to, void* passing)
{
    if (being_destroyed_)
        throw coroutine_destroyed{};
    if (!to)
        throw std::logic_error{"coir::coroutine: it has ended"};
    to->check_resumable();
    to->passed = passing;
    auto& from = go_out(phase::suspended);
    to->come_in(from);
    stack_.switch_to(to->stack_, globals_);
    return came_back();
}

void* coroutine_state::came_back()
{
    if (thrown_in_)
        std::rethrow_exception(std::exchange(thrown_in_, nullptr));
    return passed;
}

// ---- the handle -----------------------------------------------------------------------------------------------------

const char* coroutine_destroyed::what() const noexcept
{
    return "coir::coroutine_destroyed: the coroutine was destroyed before its end";
}

basic_coroutine::basic_coroutine(const coroutine_options& options, const fiber_entry& entry, void* callable)
    : state_{coroutine_state::create(options, entry, callable)}
{
}

basic_coroutine& basic_coroutine::operator=(basic_coroutine&& other) noexcept
{
    if (this != &other)
        if (auto* ours = std::exchange(state_, std::exchange(other.state_, nullptr)))
            ours->destroy();
    return *this;
}

basic_coroutine::~basic_coroutine()
{
    if (state_)
        state_->destroy();
}

bool basic_coroutine::done() const noexcept
{
    return !state_ || state_->ended();
}

basic_coroutine::operator bool() const noexcept
{
    return state_ && state_->resumable();
}

void* basic_coroutine::callable() const noexcept
{
    return state_->callable;
}

void* basic_coroutine::resume(coroutine_state* to, void* passing, std::exception_ptr failure)
{
    if (!to)
        throw std::logic_error{"coir::coroutine: it has ended"};
    return to->resume(passing, std::move(failure));
}

void* basic_coroutine::first_value(coroutine_state& self) noexcept
{
    return self.passed;
}

void* basic_coroutine::yield(coroutine_state& self, void* passing)
{
    return self.yield(passing);
}

void* basic_coroutine::transfer(coroutine_state& self, coroutine_state* to, void* passing)
{
    return self.transfer(to, passing);
}

void basic_coroutine::set_last_value(coroutine_state& self, void* passing) noexcept
{
    self.passed = passing;
}

} // namespace coir
