// SPDX-License-Identifier: BSL-1.0
#pragma once
// The real driver: everything that blocks ends in one io_context.
//
// Deadlines reach it as a timerfd, armed at most once a turn and only before blocking: Asio's own waits have a
// resolution of a millisecond, and its steady_timer costs an aborted handler each time an earlier deadline comes.
#include <coir/driver.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <atomic>
#include <cstddef>

namespace coir {

class asio_driver final : public driver {
public:
    asio_driver();

    clock::time_point now() noexcept override;
    void poll() override;
    bool wait(clock::time_point deadline, bool outside_work) override;
    void wake() noexcept override;
    void after_fork_in_child() noexcept override;

    boost::asio::io_context& context() noexcept { return context_; }

private:
    struct waker;
    void arm(clock::time_point deadline);

    boost::asio::io_context context_{1}; // one thread runs it; others only post
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
    boost::asio::posix::stream_descriptor timer_;
    clock::time_point armed_for_ = never;
    bool timer_watched_ = false;
    std::atomic<bool> wake_posted_{false};
    alignas(std::max_align_t) std::byte wake_memory_[256]; ///< for the one posted handler: waking does not allocate
};

} // namespace coir
