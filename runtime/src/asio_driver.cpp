// SPDX-License-Identifier: BSL-1.0
#include "asio_driver.hpp"

#include "scheduler.hpp"

#include <coir/asio.hpp>
#include <coir/outside_fiber.hpp>
#include <coir/own_descriptors.hpp>

#include <boost/asio/post.hpp>

#include <sys/timerfd.h>

#include <cerrno>
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

struct asio_driver::waker {
    asio_driver* driver;
    using allocator_type = one_place<std::byte>;
    allocator_type get_allocator() const noexcept { return {driver->wake_memory_, sizeof driver->wake_memory_}; }
    void operator()() const noexcept
    {
        // An exchange and not a store: it sees what a thread did before its wake() found this one posted already.
        driver->wake_posted_.exchange(false, std::memory_order_acq_rel);
    }
};

asio_driver::asio_driver() : timer_{context_, make_timer()} {}

clock::time_point asio_driver::now() noexcept
{
    return clock::time_point{std::chrono::steady_clock::now().time_since_epoch()};
}

void asio_driver::poll()
{
    if (context_.stopped())
        context_.restart();
    context_.poll();
}

bool asio_driver::wait(clock::time_point deadline, bool)
{
    if (context_.stopped())
        context_.restart();
    arm(deadline);
    context_.run_one();
    context_.poll();
    return true;
}

void asio_driver::wake() noexcept
{
    if (wake_posted_.exchange(true, std::memory_order_acq_rel))
        return;
    const outside_fiber guard;
    boost::asio::post(context_, waker{this});
}

void asio_driver::arm(clock::time_point deadline)
{
    // A timer that is due too early costs one turn; cheaper than moving it for every wait that ended in time.
    if (deadline >= armed_for_)
        return;
    const auto since_epoch = std::max(deadline.time_since_epoch(), clock::duration{1});
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const itimerspec when{.it_interval = {},
                          .it_value = {.tv_sec = seconds.count(), .tv_nsec = (since_epoch - seconds).count()}};
    ::timerfd_settime(timer_.native_handle(), TFD_TIMER_ABSTIME, &when, nullptr);
    armed_for_ = deadline;
    if (timer_watched_)
        return;
    timer_watched_ = true;
    // Setting the time has also cleared an expiry that was never read, so this waits for the next one.
    timer_.async_wait(boost::asio::posix::descriptor_base::wait_read, [this](const boost::system::error_code& failure) {
        if (failure)
            return; // closed, in a forked child
        timer_watched_ = false;
        armed_for_ = never;
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
    timer_watched_ = false;
    armed_for_ = never;
    wake_posted_.store(false, std::memory_order_relaxed);
}

boost::asio::io_context& this_hub_io_context()
{
    auto* hub = scheduler::of_this_thread();
    auto* driver = hub ? dynamic_cast<asio_driver*>(&hub->events()) : nullptr;
    if (!driver)
        throw std::logic_error{hub ? "coir: this runtime has virtual time and no I/O"
                                   : "coir: no runtime runs on this thread"};
    return driver->context();
}

} // namespace coir
