// SPDX-License-Identifier: BSL-1.0
#pragma once
// The real driver: an epoll instance, and an io_context, its own or one that somebody lends it.
//
// Asio can be woken by other threads only while it blocks in an epoll instance of its own. Therefore the hub blocks
// there, and Asio watches the hub's, from the moment that anybody may have the io_context; and in the hub's own until
// then, as in a program without Asio it always does.
#include "hub_epoll.hpp"

#include <coir/driver.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <atomic>
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
    int set_event_source(event_source& source) noexcept override;
    void after_fork_in_child() noexcept override;
    boost::asio::io_context* io_context() noexcept override;

private:
    enum class state { awake, woken, asleep };

    class sleeping;
    bool uses_asio();
    void wait_in_asio(clock::time_point deadline);
    bool take_events() noexcept;

    hub_epoll epoll_;
    std::atomic<state> state_{state::awake};
    std::atomic<bool> handed_out_{false}; ///< the io_context
    bool looked_ = false;                 ///< in `wait`, since the last `poll`
    bool told_ = true;                    ///< Asio has been told of events that have perhaps not been taken since
    std::unique_ptr<boost::asio::io_context> own_; ///< none if it was lent
    boost::asio::io_context& context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
    boost::asio::posix::stream_descriptor watched_{context_}; ///< the epoll instance, once Asio watches it
};

} // namespace coir
