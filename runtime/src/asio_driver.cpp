// SPDX-License-Identifier: BSL-1.0
#include "asio_driver.hpp"

#include "scheduler.hpp"

#include <coir/event_source.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/outside_fiber.hpp>
#include <coir/own_descriptors.hpp>
#include <coir/run_on.hpp>

#include <stdexcept>
#include <utility>

namespace coir {

asio_driver::asio_driver()
    : own_{std::make_unique<boost::asio::io_context>(1)}, // one thread runs it; others only post
      context_{*own_}
{
}

asio_driver::asio_driver(boost::asio::io_context& lent) : handed_out_{true}, context_{lent} {}

asio_driver::~asio_driver()
{
    if (watched_.is_open())
        watched_.release(); // epoll_ closes it
}

clock::time_point asio_driver::now() noexcept
{
    return clock::time_point{std::chrono::steady_clock::now().time_since_epoch()};
}

int asio_driver::set_event_source(event_source& source) noexcept
{
    epoll_.set_source(source);
    return epoll_.descriptor();
}

// ---- asleep and awake -----------------------------------------------------------------------------------------------
//
// `wake` must not be lost, and costs a system call only if the hub sleeps. Both sides only exchange `state_`, so of a
// `wake` and of the hub's falling asleep one comes first. If that is `wake`, the hub finds `woken` and does not fall
// asleep; else `wake` finds `asleep`, and rings. The bell has an edge for each ring, which epoll keeps until it is
// taken, also when the hub had not come to block yet.
//
// As every access exchanges, the hub's acquires what each `wake` before it has released, however many there were: so
// it sees what was done before them. A store in its place could overwrite a `wake` that it has not seen.

void asio_driver::wake() noexcept
{
    if (state_.exchange(state::woken, std::memory_order_acq_rel) == state::asleep)
        epoll_.ring();
}

class asio_driver::sleeping {
public:
    explicit sleeping(std::atomic<state>& of) noexcept : state_{of}
    {
        auto expected = state::awake;
        asleep_ = state_.compare_exchange_strong(expected, state::asleep, std::memory_order_acq_rel);
    }
    ~sleeping() { state_.exchange(state::awake, std::memory_order_acq_rel); }
    sleeping(const sleeping&) = delete;
    sleeping& operator=(const sleeping&) = delete;
    /// False if it was woken: then there is something to do first.
    explicit operator bool() const noexcept { return asleep_; }

private:
    std::atomic<state>& state_;
    bool asleep_;
};

// ---- blocking -------------------------------------------------------------------------------------------------------

boost::asio::io_context* asio_driver::io_context() noexcept
{
    // The hub may be blocked where nobody would tell it of handlers that are posted from now on.
    if (!handed_out_.load(std::memory_order_acquire) && !handed_out_.exchange(true, std::memory_order_acq_rel))
        wake();
    return &context_;
}

bool asio_driver::uses_asio()
{
    if (!handed_out_.load(std::memory_order_acquire))
        return false;
    if (!watched_.is_open())
        watched_.assign(epoll_.descriptor());
    return true;
}

// Asio watches the epoll instance edge-triggered and without an operation: each new event there ends `run_one`, and
// costs no epoll_ctl. But Asio is told only once: whenever it may have been told, the events are taken before the next
// time that we block.

bool asio_driver::take_events() noexcept
{
    told_ = false;
    return epoll_.take_events();
}

void asio_driver::poll()
{
    if (std::exchange(looked_, false))
        return;
    if (uses_asio()) {
        if (context_.stopped())
            context_.restart();
        context_.poll();
        told_ = true;
    }
    take_events();
}

bool asio_driver::wait(clock::time_point deadline, bool)
{
    if (uses_asio()) {
        wait_in_asio(deadline);
    } else if (const sleeping now{state_}) {
        epoll_.wait(deadline);
        looked_ = true;
    }
    return true;
}

void asio_driver::wait_in_asio(clock::time_point deadline)
{
    if (context_.stopped())
        context_.restart();
    if ((told_ || !own_) && take_events()) { // who has lent the context may have polled it
        context_.poll();
        told_ = true;
        return;
    }
    {
        const sleeping now{state_};
        if (!now)
            return;
        epoll_.arm(deadline);
        context_.run_one();
    }
    looked_ = true;
    if (!take_events()) {
        context_.poll(); // it was none of ours: perhaps there are more of the others
        told_ = true;
    }
}

void asio_driver::after_fork_in_child() noexcept
{
    const outside_fiber guard;
    const own_descriptors_scope theirs;
    context_.notify_fork(boost::asio::execution_context::fork_child); // Asio makes its own descriptors anew, and then
    if (watched_.is_open())                                           // takes this one out of those, not the parent's
        watched_.release();
    epoll_.start_over();
    state_.store(state::awake, std::memory_order_relaxed); // no other thread is here
    looked_ = false;
    told_ = true;
}

// ---- the calling hub's ----------------------------------------------------------------------------------------------

namespace {

[[noreturn]] void throw_no_io()
{
    throw std::logic_error{scheduler::of_this_thread() ? "coir: this runtime has virtual time and no I/O"
                                                       : "coir: no runtime runs on this thread"};
}

} // namespace

boost::asio::io_context* find_this_hub_io_context() noexcept
{
    auto* hub = scheduler::of_this_thread();
    return hub ? hub->events().io_context() : nullptr;
}

boost::asio::io_context& this_hub_io_context()
{
    if (auto* context = find_this_hub_io_context())
        return *context;
    throw_no_io();
}

int set_event_source(event_source& source)
{
    auto* hub = scheduler::of_this_thread();
    const int descriptor = hub ? hub->events().set_event_source(source) : -1;
    if (descriptor < 0)
        throw_no_io();
    return descriptor;
}

std::unique_ptr<driver> driver_on(boost::asio::io_context& context)
{
    const own_descriptors_scope ours;
    return std::make_unique<asio_driver>(context);
}

} // namespace coir
