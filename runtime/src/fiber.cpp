// SPDX-License-Identifier: BSL-1.0
#include "sanitizers.hpp"
#include "scheduler.hpp"

#include <coir/fairness.hpp>
#include <coir/fiber.hpp>

#include <cstdlib>
#include <exception>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace coir {

namespace {

std::size_t stack_size_from_environment() noexcept
{
    constexpr std::size_t least = 16 * 1024; // AT_MINSIGSTKSZ and a few frames
    constexpr std::size_t usual = 256 * 1024;
    if (const char* text = std::getenv("COIR_STACK_SIZE"))
        if (const auto size = std::strtoull(text, nullptr, 0); size >= least)
            return size;
    return COIR_ASAN || COIR_TSAN ? 4 * usual : usual;
}

} // namespace

std::size_t default_stack_size() noexcept
{
    static const std::size_t size = stack_size_from_environment();
    return size;
}

std::ostream& operator<<(std::ostream& out, fiber_id id)
{
    return out << id.value;
}

// ---- the handle -----------------------------------------------------------------------------------------------------

fiber& fiber::operator=(fiber&& other) noexcept
{
    if (this != &other) {
        fiber ending{std::move(*this)};
        state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
}

fiber::~fiber()
{
    if (!state_)
        return;
    const bool unwinding = std::uncaught_exceptions() > 0;
    if (unwinding)
        state_->request_cancel();
    else
        state_->request_stop();

    if (!state_->has_ended()) {
        wait_queue::guard held{state_->join_guard};
        if (state_->watch())
            state_->joiners.wait(held, {.reason = {"join", state_}, .interruptible = false});
    }
    // While an exception is on its way already, it stands for the scope, and this one gives way to it.
    if (state_->failure && !unwinding)
        state_->terminate("it ended with an exception, and its handle was destroyed without a join");
    state_->release();
}

bool fiber::join_before(clock::time_point deadline)
{
    if (!state_)
        throw std::system_error{std::make_error_code(std::errc::invalid_argument), "coir::fiber::join"};
    if (state_ == current_fiber)
        throw std::system_error{std::make_error_code(std::errc::resource_deadlock_would_occur), "coir::fiber::join"};

    if (!state_->has_ended()) {
        wait_queue::guard held{state_->join_guard};
        if (state_->watch()) {
            const auto cause = state_->joiners.wait(held, {.reason = {"join", state_}, .deadline = deadline});
            throw_if_interrupted(cause);
            if (cause == wake_cause::timed_out)
                return false;
        }
    }
    auto* const ended = std::exchange(state_, nullptr);
    if (!ended->failure) [[likely]] {
        ended->release();
        return true;
    }
    auto failure = std::exchange(ended->failure, nullptr);
    ended->release();
    std::rethrow_exception(std::move(failure));
    return true;
}

void fiber::join()
{
    join_before(never);
}

void fiber::detach()
{
    if (!state_)
        throw std::system_error{std::make_error_code(std::errc::invalid_argument), "coir::fiber::detach"};
    {
        std::lock_guard held{state_->join_guard};
        state_->detached = true;
        if (state_->has_ended() && state_->failure)
            state_->terminate("it was detached after it had ended with an exception");
    }
    std::exchange(state_, nullptr)->release();
}

fiber_id fiber::get_id() const noexcept
{
    return state_ ? state_->id : fiber_id{};
}

void fiber::cancel() noexcept
{
    if (state_)
        state_->request_cancel();
}

bool fiber::request_stop() noexcept
{
    return state_ && state_->request_stop();
}

std::stop_token fiber::get_stop_token() const noexcept
{
    return state_ ? state_->stop_token() : std::stop_token{};
}

// ---- the caller's own -----------------------------------------------------------------------------------------------

namespace this_fiber {

void yield()
{
    auto* self = current_fiber;
    if (!self) {
        std::this_thread::yield();
        return;
    }
    if (self->must_not_suspend) [[unlikely]]
        self->terminate("it yields inside a no_suspend");
    if (self->may_be_interrupted()) [[unlikely]]
        check_cancelled();
    self->hub().yield(*self);
}

void sleep_until_deadline(clock::time_point deadline)
{
    throw_if_interrupted(park_until({.reason = {"sleep"}, .deadline = deadline}));
}

fiber_id get_id() noexcept
{
    return current_fiber ? current_fiber->id : fiber_id{};
}

std::string_view get_name() noexcept
{
    return current_fiber ? std::string_view{current_fiber->name} : std::string_view{};
}

std::stop_token get_stop_token()
{
    return current_fiber ? current_fiber->stop_token() : std::stop_token{};
}

void check_cancelled()
{
    throw_if_interrupted(pending_interruption());
}

} // namespace this_fiber

bool may_suspend() noexcept
{
    return current_fiber && !current_fiber->must_not_suspend;
}

void give_way() noexcept
{
    operations_left = operations_in_a_row;
    if (auto* self = current_fiber; self && !self->must_not_suspend)
        self->hub().give_way(*self);
}

no_suspend::no_suspend() noexcept
{
    ++surroundings::of_caller().must_not_suspend;
}

no_suspend::~no_suspend()
{
    --surroundings::of_caller().must_not_suspend;
}

} // namespace coir
