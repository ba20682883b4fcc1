// SPDX-License-Identifier: BSL-1.0
#pragma once
// The real driver: everything that blocks ends in one io_context, its own or one that somebody lends it.
//
// Deadlines reach it as a timerfd, armed at most once a turn and only before blocking: Asio's own waits have a
// resolution of a millisecond, and its steady_timer costs an aborted handler each time an earlier deadline comes.
#include <coir/driver.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>

namespace coir {

class asio_driver final : public driver {
public:
    asio_driver();
    /// On a context that outlives it and that nobody else runs meanwhile.
    explicit asio_driver(boost::asio::io_context& lent);
    ~asio_driver() override;

    clock::time_point now() noexcept override;
    void poll() override;
    bool wait(clock::time_point deadline, bool outside_work) override;
    void wake() noexcept override;
    void set_event_source(event_source& source) noexcept override { events_ = &source; }
    void after_fork_in_child() noexcept override;

    boost::asio::io_context* io_context() noexcept override { return &context_; }

private:
    struct shared_state;
    struct waker;
    void arm(clock::time_point deadline);
    bool take_events() noexcept;

    event_source* events_ = nullptr;
    bool looked_ = true; ///< Asio has been told of events that `events_` may not have been asked for since
    std::unique_ptr<boost::asio::io_context> own_; ///< none if it was lent
    boost::asio::io_context& context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
    boost::asio::posix::stream_descriptor timer_;
    std::shared_ptr<shared_state> state_; ///< with our handlers: they may be left in a context that was lent
};

} // namespace coir
