// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/clock.hpp>

namespace boost::asio {
class io_context;
}

namespace coir {

class event_source;

/// What the scheduler asks of an event loop. The Asio driver waits in the kernel; the virtual driver
/// (testing.hpp) makes time jump. One driver belongs to one hub, and only `wake` may be called from elsewhere.
class driver {
public:
    driver() = default;
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;
    virtual ~driver() = default;

    /// The current time, as fresh as the clock behind it.
    virtual clock::time_point now() noexcept = 0;

    /// Delivers what is ready, unless `wait` has done that since; does not block.
    virtual void poll() = 0;

    /// Blocks the thread until `deadline`, until something is delivered or until `wake`. With `outside_work`,
    /// another thread is known to be going to call `wake`. Returns false when nothing can ever happen any more.
    virtual bool wait(clock::time_point deadline, bool outside_work) = 0;

    /// Makes the current or the next `wait` return. Any thread; coalesces; does not allocate.
    virtual void wake() noexcept = 0;

    /// The io_context whose handlers it runs; null if there is none. Any thread.
    virtual boost::asio::io_context* io_context() noexcept { return nullptr; }

    /// Tells the source of its events; see event_source.hpp. Returns an epoll instance's descriptor, or below 0 if the
    /// driver has none.
    virtual int set_event_source(event_source&) noexcept { return -1; }

    /// In a child, before `fork` returns to the fiber that called it: what the parent's kernel objects are for must not
    /// be done through them here.
    virtual void after_fork_in_child() noexcept {}
};

} // namespace coir
