// SPDX-License-Identifier: BSL-1.0
#include "scheduler.hpp"

#include "audit.hpp"
#include "fork.hpp"
#include "hub_group.hpp"
#include "lock_ownership.hpp"
#include "overflow_report.hpp"
#include "testing_plan.hpp"

#include <coir/fairness.hpp>
#include <coir/fiber_group.hpp>
#include <coir/own_descriptors.hpp>
#include <coir/testing.hpp>

#include <sys/single_threaded.h>

#include <algorithm>
#include <cxxabi.h>
#include <exception>
#include <new>
#include <sstream>
#include <stdexcept>
#include <typeinfo>
#include <utility>

namespace coir {

constinit thread_local fiber_state* current_fiber = nullptr;

constinit thread_local surroundings surroundings_of_thread;

constinit thread_local scheduler* current_scheduler = nullptr;

constinit thread_local unsigned opening_own_descriptors = 0;

constinit thread_local int operations_left = operations_in_a_row;

scheduler::scheduler(driver& driver, hub_group& group, std::size_t index, clock::duration timer_slack)
    : driver_{driver}, group_{group}, index_{index}, stacks_{*new stack_pool{*this}}, timer_slack_{timer_slack}
{
    watch_forks();
    prepare_lock_owners();
    // With this flag set, libstdc++ takes a short-cut for function-local statics which reports recursion, instead of
    // waiting, when a second fiber meets an initialiser that suspends.
    if (__libc_single_threaded) // later hubs only read it, and may do that at the same time
        __libc_single_threaded = 0;
}

scheduler::~scheduler()
{
    while (posting_.load(std::memory_order_acquire) != 0)
        std::this_thread::yield();
    take_requests(); // inquiries that came when the loop had ended
    stacks_.close();
}

// ---- starting fibers ------------------------------------------------------------------------------------------------

void scheduler::offer(fiber_state& fiber) noexcept
{
    group_.add_work();
    unstarted_.push(fiber);
    group_.unstarted();
}

void scheduler::take_unstarted() noexcept
{
    // A share and not all: the others may be idle, and who has been taken in never moves.
    auto taken = unstarted_.take(group_.size());
    if (taken.empty() && ready_.empty())
        taken = group_.steal(*this);
    while (!taken.empty())
        take_in(taken.pop());
}

void scheduler::take_in(fiber_state& fiber) noexcept
{
    try {
        make_room();
    } catch (const std::bad_alloc&) {
        fiber.terminate("there is no memory for its timer, and who started it cannot be told any more");
    }
    if (std::exchange(counted_, true))
        group_.work_done(); // never the last unit: that is ours
    fiber.settle(*this);
    add(fiber);
}

void scheduler::take_in(scheduler& hub, hub_request& request) noexcept
{
    request.act = &scheduler::make_ready; // from now on, it wakes
    hub.take_in(static_cast<fiber_request&>(request).fiber);
}

// ---- the loop -------------------------------------------------------------------------------------------------------

namespace {

/// Of the calling thread, for as long as it lives.
std::uint32_t number_of_thread() noexcept
{
    static constinit std::atomic<std::uint32_t> last{0};
    static constinit thread_local std::uint32_t number = 0;
    if (number == 0)
        number = last.fetch_add(1, std::memory_order_relaxed) + 1;
    return number;
}

} // namespace

void scheduler::run()
{
    struct mark {
        explicit mark(scheduler* hub) noexcept
        {
            current_scheduler = hub;
            this_hub_number = hub->thread_number_ = number_of_thread();
        }
        ~mark()
        {
            current_scheduler = nullptr;
            this_hub_number = 0;
        }
    } const running{this};
    const overflow_report overflows;
    audited_hub audit{*this};
    audit_ = &audit;
    context loop;
    loop_ = &loop;
    globals_ = thread_globals::of_this_thread();

    for (;;) {
        turn_time_ = driver_.now();
        take_requests();
        wake_due();
        take_unstarted();
        tend_stacks();
        if (!ready_.empty()) {
            run_ready();
            // Also when none are ready any more: other threads may keep us from blocking for ever.
            if (++turns_without_poll_ == turns_without_poll_max || turn_time_ - last_poll_ >= time_without_poll_max) {
                driver_.poll();
                turns_without_poll_ = 0;
                last_poll_ = turn_time_;
            }
            continue;
        }
        if (live_ == 0) {
            if (std::exchange(counted_, false))
                group_.work_done();
            if (!group_.has_work())
                break;
        }
        if (group_.idle(*this)) {
            wait();
            group_.busy(*this);
        }
    }
    cancelling_ = false;
    if (!deadlock_.empty())
        throw deadlock{std::exchange(deadlock_, {})};
}

void scheduler::run_ready()
{
    if (!plan_) {
        switches_left_ = turn_length;
        audit_->enter_fibers();
        switch_to(*loop_, next());
        audit_->enter_loop();
        return;
    }
    plan_->choose(ready_);
    switches_left_ = 1; // back here after each
    const auto id = ready_.front().id;
    audit_->enter_fibers();
    switch_to(*loop_, next());
    audit_->enter_loop();
    for (auto* fiber = all_.first(); fiber; fiber = all_.next(*fiber))
        if (fiber->id == id && fiber != all_.first()) // the first is main
            plan_->has_run(*fiber);
}

void scheduler::follow(testing::schedule* plan)
{
    if (plan)
        plan_ = std::make_unique<testing_plan>(*plan);
}

/// After a peak the memory of stacks goes back: a second after it, and then as it turns out to be unused.
void scheduler::tend_stacks() noexcept
{
    if (!stacks_.has_many()) {
        tend_at_ = never;
    } else if (tend_at_ == never) {
        stacks_.look_from_now();
        tend_at_ = turn_time_ + tend_every;
    } else if (turn_time_ >= tend_at_ && !stacks_.give_back()) {
        tend_at_ = turn_time_ + tend_every;
    }
}

void scheduler::wait()
{
    auto deadline = timers_.next();
    deadline += std::min(timer_slack_, never - deadline);
    // An executor's work may be what our own fibers do, too: it keeps nobody from waiting for a time.
    const bool outside = outside_work.load(std::memory_order_relaxed) != 0 || group_.goes_on() ||
                         (deadline == never && group_.has_outside_work());
    if (!driver_.wait(std::min(deadline, tend_at_), outside))
        on_deadlock();
}

// ---- from other threads ---------------------------------------------------------------------------------------------

/// A thread that has something for this hub. The hub may act on it, finish and be destroyed before the thread is done
/// with it; its destructor waits for that, and a fork too.
class scheduler::posting {
public:
    explicit posting(scheduler& hub) noexcept : hub_{hub}
    {
        while (hub_.posting_.fetch_add(1, std::memory_order_acquire) & posts_closed) {
            hub_.posting_.fetch_sub(1, std::memory_order_release);
            std::this_thread::yield();
        }
    }
    ~posting()
    {
        hub_.driver_.wake();
        hub_.posting_.fetch_sub(1, std::memory_order_release);
    }
    posting(const posting&) = delete;
    posting& operator=(const posting&) = delete;

private:
    scheduler& hub_;
};

void scheduler::post(hub_request& request) noexcept
{
    const posting guard{*this};
    request.next = requests_.load(std::memory_order_relaxed);
    while (!requests_.compare_exchange_weak(request.next, &request, std::memory_order_release,
                                            std::memory_order_relaxed)) {}
}

void scheduler::wake_up() noexcept
{
    const posting guard{*this};
}

void scheduler::cancel_all() noexcept
{
    const posting guard{*this};
    cancel_all_.store(true, std::memory_order_release);
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
        request.act(*this, request);
    }
}

void scheduler::make_ready(scheduler& hub, hub_request& request) noexcept
{
    hub.make_ready(static_cast<fiber_request&>(request).fiber);
}

void scheduler::interrupt(scheduler&, hub_request& request) noexcept
{
    auto& fiber = static_cast<fiber_request&>(request).fiber;
    // Who still finds it posted has set its flag before, and this exchange makes us see that.
    fiber.interrupt_posted.exchange(false, std::memory_order_acq_rel);
    fiber.interrupt_if_cancelled();
    fiber.release();
}

// ---- waking and ending ----------------------------------------------------------------------------------------------

void scheduler::wake_due() noexcept
{
    while (auto* due = timers_.pop_due(turn_time_)) {
        auto& fiber = static_cast<fiber_state::sleep_timer*>(due)->fiber;
        if (fiber.parked->claim())
            fiber.parked->wake(fiber.timer_cause);
    }
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

std::vector<fiber_info> scheduler::fibers() const
{
    std::vector<fiber_info> result;
    for (auto* fiber = all_.first(); fiber; fiber = all_.next(*fiber)) {
        using state = fiber_info::state;
        const auto doing = fiber == current_fiber ? state::running : fiber->waits() ? state::waiting : state::ready;
        result.push_back({.id = fiber->id,
                          .name = fiber->name,
                          .hub = index_,
                          .doing = doing,
                          .waiting_for = fiber->parked ? fiber->waiting->reason : wait_reason{},
                          .since = fiber->waiting_since,
                          .deadline = fiber->parked ? fiber->waiting->deadline : never});
    }
    return result;
}

std::string scheduler::describe() const
{
    std::ostringstream text;
    const auto now = driver_.now(); // a hub that sleeps has not looked for as long as its fibers wait
    for (auto* fiber = all_.first(); fiber; fiber = all_.next(*fiber)) {
        text << "  fiber " << fiber->id;
        if (*fiber->name)
            text << " (" << fiber->name << ')';
        if (fiber == current_fiber) {
            text << ": running\n";
        } else if (!fiber->waits()) {
            text << ": ready\n";
        } else {
            const auto& reason = fiber->waiting->reason;
            text << ": waits for ";
            if (reason.descriptor >= 0)
                text << "descriptor " << reason.descriptor << " to be ";
            text << reason.what;
            if (reason.object)
                text << ' ' << reason.object;
            const auto age = now - fiber->waiting_since;
            text << ", " << std::chrono::duration_cast<std::chrono::milliseconds>(age).count() << " ms";
            if (!fiber->waiting->interruptible)
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
