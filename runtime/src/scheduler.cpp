// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include "overflow_report.hpp"

#include <coir/inspect.hpp>
#include <coir/testing.hpp>

#include <sys/single_threaded.h>

#include <cxxabi.h>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <typeinfo>
#include <utility>

namespace coir {

constinit thread_local fiber_state* current_fiber = nullptr;

constinit thread_local scheduler* current_scheduler = nullptr;

scheduler::scheduler(driver& driver) : driver_{driver}, stacks_{*new stack_pool}
{
    // With this flag set, libstdc++ takes a short-cut for function-local statics which reports recursion, instead of
    // waiting, when a second fiber meets an initialiser that suspends.
    if (__libc_single_threaded) // later hubs only read it, and may do that at the same time
        __libc_single_threaded = 0;
}

scheduler::~scheduler()
{
    while (posting_.load(std::memory_order_acquire) != 0)
        std::this_thread::yield();
    stacks_.close();
}

fiber_state* scheduler::start(const fiber_options& options, const fiber_entry& entry, void* callable)
{
    timers_.reserve(live_ + 1);
    auto* fiber = fiber_state::create(*this, stacks_, options, entry, callable);
    all_.push(*fiber);
    ++live_;
    if (cancelling_)
        fiber->request_cancel();
    make_ready(*fiber);
    return fiber;
}

void scheduler::run()
{
    if (current_scheduler)
        throw std::logic_error{"coir::runtime::run: this thread runs fibers already"};
    struct mark {
        explicit mark(scheduler* hub) { current_scheduler = hub; }
        ~mark() { current_scheduler = nullptr; }
    } running{this};
    const overflow_report overflows;
    globals_ = thread_globals::of_this_thread();

    for (;;) {
        turn_time_ = driver_.now();
        take_requests();
        wake_due();
        if (live_ == 0)
            break;
        if (ready_.empty()) {
            if (!driver_.wait(timers_.next(), outside_work.load(std::memory_order_relaxed) != 0))
                on_deadlock();
            continue;
        }
        switches_left_ = turn_length;
        switch_to(loop_, next());
        if (!ready_.empty())
            driver_.poll();
    }
    cancelling_ = false;
    if (!deadlock_.empty())
        throw deadlock{std::exchange(deadlock_, {})};
}

void scheduler::leave(fiber_state& ended) noexcept
{
    all_.remove(ended);
    --live_;
    ended.ended = true;
    ended_ = &ended;
    current_fiber = next();
    ended.stack.leave_for(current_fiber ? current_fiber->stack : loop_);
}

void scheduler::post(hub_request& request) noexcept
{
    // The hub may act on the request, finish and be destroyed before wake() returns; its destructor waits for us.
    posting_.fetch_add(1, std::memory_order_relaxed);
    request.next = requests_.load(std::memory_order_relaxed);
    while (!requests_.compare_exchange_weak(request.next, &request, std::memory_order_release,
                                            std::memory_order_relaxed)) {}
    driver_.wake();
    posting_.fetch_sub(1, std::memory_order_release);
}

void scheduler::take_requests() noexcept
{
    if (cancel_all_.load(std::memory_order_relaxed) && cancel_all_.exchange(false, std::memory_order_acquire))
        cancel_now();
    if (!requests_.load(std::memory_order_relaxed))
        return;

    hub_request* in_order = nullptr;
    for (auto* request = requests_.exchange(nullptr, std::memory_order_acquire); request;)
        request = std::exchange(request->next, std::exchange(in_order, request));

    while (in_order) {
        auto& request = *std::exchange(in_order, in_order->next);
        auto& fiber = *request.fiber;
        if (request.what == hub_request::kind::wake) {
            make_ready(fiber);
        } else {
            fiber.interrupt_posted.store(false, std::memory_order_release);
            fiber.interrupt(wake_cause::cancelled);
            fiber.release();
        }
    }
}

void scheduler::wake_due() noexcept
{
    while (auto* due = timers_.pop_due(turn_time_)) {
        auto& fiber = static_cast<fiber_state::sleep_timer*>(due)->fiber;
        if (fiber.parked->claim())
            fiber.parked->wake(fiber.timer_cause);
    }
}

void scheduler::cancel_all() noexcept
{
    posting_.fetch_add(1, std::memory_order_relaxed);
    cancel_all_.store(true, std::memory_order_release);
    driver_.wake();
    posting_.fetch_sub(1, std::memory_order_release);
}

void scheduler::cancel_now() noexcept
{
    cancelling_ = true;
    for (auto* fiber = all_.first(); fiber; fiber = all_.next(*fiber))
        fiber->request_cancel();
}

void scheduler::on_deadlock()
{
    const auto report = "every fiber waits, and nothing can wake one:\n" + describe();
    if (!deadlock_.empty()) {
        std::fprintf(stderr, "coir: %s", report.c_str());
        std::terminate(); // cancelled, and they still wait: there is no way to unwind them
    }
    deadlock_ = report;
    cancel_now();
}

std::string scheduler::describe() const
{
    std::ostringstream text;
    for (auto* fiber = all_.first(); fiber; fiber = all_.next(*fiber)) {
        text << "  fiber " << fiber->id;
        if (*fiber->name)
            text << " (" << fiber->name << ')';
        if (fiber == current_fiber) {
            text << ": running\n";
        } else if (!fiber->waits()) {
            text << ": ready\n";
        } else {
            const auto& [reason, deadline, interruptible] = *fiber->waiting;
            text << ": waits for ";
            if (reason.descriptor >= 0)
                text << "descriptor " << reason.descriptor << " to be ";
            text << reason.what;
            if (reason.object)
                text << ' ' << reason.object;
            const auto age = turn_time_ - fiber->waiting_since;
            text << ", " << std::chrono::duration_cast<std::chrono::milliseconds>(age).count() << " ms";
            if (!interruptible)
                text << ", cannot be cancelled";
            text << '\n';
        }
    }
    return text.str();
}

std::string describe(const std::exception_ptr& failure)
{
    try {
        std::rethrow_exception(failure);
    } catch (const std::exception& error) {
        return error.what();
    } catch (const cancelled& error) {
        return error.what();
    } catch (...) {
        const auto* type = abi::__cxa_current_exception_type();
        return type ? type->name() : "unknown";
    }
}

} // namespace coir
