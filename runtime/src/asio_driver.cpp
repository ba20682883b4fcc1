// SPDX-License-Identifier: BSL-1.0
#include "asio_driver.hpp"

#include "scheduler.hpp"

#include <coir/event_source.hpp>
#include <coir/hub_io_context.hpp>
#include <coir/outside_fiber.hpp>
#include <coir/own_descriptors.hpp>
#include <coir/run_on.hpp>

#include <boost/asio/post.hpp>

#include <sys/timerfd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <system_error>

namespace coir {

namespace {

/// Memory for one handler at a time.
template <class T> struct one_place {
    using value_type = T;
    std::byte* memory;
    std::size_t size;

    template <class U> one_place<U> rebound() const noexcept { return {memory, size}; }
    one_place(std::byte* place, std::size_t bytes) noexcept : memory{place}, size{bytes} {}
    template <class U> one_place(const one_place<U>& other) noexcept : memory{other.memory}, size{other.size} {}

    T* allocate(std::size_t count)
    {
        if (count * sizeof(T) > size)
            throw std::bad_alloc{};
        return reinterpret_cast<T*>(memory);
    }
    void deallocate(T*, std::size_t) noexcept {}
    friend bool operator==(const one_place& a, const one_place& b) noexcept { return a.memory == b.memory; }
};

int make_timer()
{
    const int descriptor = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (descriptor < 0)
        throw std::system_error{errno, std::generic_category(), "coir: timerfd_create"};
    return descriptor;
}

} // namespace

struct asio_driver::shared_state {
    clock::time_point armed_for = never;
    bool timer_watched = false;
    std::atomic<bool> wake_posted{false};
    alignas(std::max_align_t) std::byte wake_memory[256]; ///< for the one posted handler: waking does not allocate
};

struct asio_driver::waker {
    std::shared_ptr<shared_state> state;
    using allocator_type = one_place<std::byte>;
    allocator_type get_allocator() const noexcept { return {state->wake_memory, sizeof state->wake_memory}; }
    void operator()() const noexcept
    {
        // An exchange and not a store: it sees what a thread did before its wake() found this one posted already.
        state->wake_posted.exchange(false, std::memory_order_acq_rel);
    }
};

asio_driver::asio_driver()
    : own_{std::make_unique<boost::asio::io_context>(1)}, // one thread runs it; others only post
      context_{*own_},
      timer_{context_, make_timer()},
      state_{std::make_shared<shared_state>()}
{
}

asio_driver::asio_driver(boost::asio::io_context& lent)
    : context_{lent}, timer_{context_, make_timer()}, state_{std::make_shared<shared_state>()}
{
}

asio_driver::~asio_driver() = default;

clock::time_point asio_driver::now() noexcept
{
    return clock::time_point{std::chrono::steady_clock::now().time_since_epoch()};
}

void asio_driver::poll()
{
    if (context_.stopped())
        context_.restart();
    context_.poll();
    looked_ = true;
    take_events();
}

// Asio watches the descriptor that stands for the event source, edge-triggered and without an operation: each new event
// there ends `run_one`, and costs no epoll_ctl. But Asio is told only once: whenever it may have been told, the source
// is asked before the next time that we block.

bool asio_driver::take_events() noexcept
{
    looked_ = false;
    return events_ && events_->take_events();
}

bool asio_driver::wait(clock::time_point deadline, bool)
{
    if (context_.stopped())
        context_.restart();
    if ((looked_ || !own_) && take_events()) { // who has lent the context may have polled it
        context_.poll();
        looked_ = true;
        return true;
    }
    arm(deadline);
    context_.run_one();
    if (!take_events()) {
        context_.poll(); // it was not the source: perhaps there are more of the others
        looked_ = true;
    }
    return true;
}

void asio_driver::wake() noexcept
{
    if (state_->wake_posted.exchange(true, std::memory_order_acq_rel))
        return;
    const outside_fiber guard; // Asio takes pthread locks and writes to descriptors
    boost::asio::post(context_, waker{state_});
}

void asio_driver::arm(clock::time_point deadline)
{
    // A timer that is due too early costs one turn; cheaper than moving it for every wait that ended in time.
    if (deadline >= state_->armed_for)
        return;
    const auto since_epoch = std::max(deadline.time_since_epoch(), clock::duration{1});
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const itimerspec when{.it_interval = {},
                          .it_value = {.tv_sec = seconds.count(), .tv_nsec = (since_epoch - seconds).count()}};
    ::timerfd_settime(timer_.native_handle(), TFD_TIMER_ABSTIME, &when, nullptr);
    state_->armed_for = deadline;
    if (state_->timer_watched)
        return;
    state_->timer_watched = true;
    // Setting the time has also cleared an expiry that was never read, so this waits for the next one.
    timer_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                      [state = state_](const boost::system::error_code& failure) {
                          if (failure)
                              return; // closed: in a forked child, or the driver is gone
                          state->timer_watched = false;
                          state->armed_for = never;
                      });
}

void asio_driver::after_fork_in_child() noexcept
{
    const outside_fiber guard;
    const own_descriptors_scope theirs;
    // The parent's timerfd is the same timer here. Asio makes its own descriptors anew.
    context_.notify_fork(boost::asio::execution_context::fork_child);
    boost::system::error_code ignored;
    timer_.close(ignored);
    timer_.assign(make_timer());
    state_->timer_watched = false;
    state_->armed_for = never;
    state_->wake_posted.store(false, std::memory_order_relaxed);
    looked_ = true;
}

boost::asio::io_context* find_this_hub_io_context() noexcept
{
    auto* hub = scheduler::of_this_thread();
    return hub ? hub->events().io_context() : nullptr;
}

boost::asio::io_context& this_hub_io_context()
{
    if (auto* context = find_this_hub_io_context())
        return *context;
    throw std::logic_error{scheduler::of_this_thread() ? "coir: this runtime has virtual time and no I/O"
                                                       : "coir: no runtime runs on this thread"};
}

void set_event_source(event_source& source)
{
    this_hub_io_context(); // throws
    scheduler::of_this_thread()->events().set_event_source(source);
}

std::unique_ptr<driver> driver_on(boost::asio::io_context& context)
{
    const own_descriptors_scope ours;
    return std::make_unique<asio_driver>(context);
}

} // namespace coir
