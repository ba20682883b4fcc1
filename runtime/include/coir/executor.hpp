// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/fiber.hpp>
#include <coir/hub.hpp>

#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution/relationship.hpp>
#include <boost/asio/execution_context.hpp>

#include <type_traits>
#include <utility>

namespace coir {

/// A hub as an executor of Boost.Asio: each function that is submitted runs in a fiber of its own there, so it may
/// wait.
///
///     coir::executor here = coir::this_hub_executor();
///     asio::post(here, [] { coir::this_fiber::sleep_for(1s); });          // from any thread
///     socket.async_wait(wait_read, asio::bind_executor(here, handler));   // a handler that may wait
///     asio::co_spawn(here, session(), asio::detached);
///
/// `dispatch` from a fiber of the hub calls the function at once, where it is. The order of functions that wait is
/// theirs; for one at a time put an asio::strand over it. A function that throws terminates, as a detached fiber does.
/// Any thread. Submitting throws what `hub::post` does: also after `runtime::shutdown`.
///
/// A view like `hub`. While outstanding work is tracked (asio::make_work_guard, a handler that waits), the runtime goes
/// on, also after `coir::run`'s main has ended; then each fiber that starts is cancelled. Its execution context is the
/// hub's io_context, where it has one. I/O objects belong on that, not on this executor: their steps need no fibers.
class executor {
public:
    executor(const executor& other) noexcept : executor{other.hub_, other.context_, other.never_blocks_, other.tracks_}
    {
    }
    /// The work goes with it: Asio does not destroy all that it has moved from.
    executor(executor&& other) noexcept
        : hub_{other.hub_},
          context_{other.context_},
          never_blocks_{other.never_blocks_},
          tracks_{std::exchange(other.tracks_, false)}
    {
    }
    executor& operator=(executor other) noexcept
    {
        swap(other);
        return *this;
    }
    ~executor()
    {
        if (tracks_)
            untrack();
    }

    /// Of any thread.
    explicit executor(coir::hub where);

    /// What Asio calls.
    template <class Function> void execute(Function&& function) const
    {
        if (!never_blocks_ && is_this_fibers_hub()) {
            std::decay_t<Function> callable(std::forward<Function>(function));
            callable();
            return;
        }
        hub_.post({.name = "executor"}, [callable = std::decay_t<Function>(
                                             std::forward<Function>(function))]() mutable { std::move(callable)(); });
    }

    coir::hub hub() const noexcept { return hub_; }

    // Asio's properties. Relationship means nothing here, and is accepted.
    boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept { return *context_; }
    boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) const noexcept
    {
        if (never_blocks_)
            return boost::asio::execution::blocking.never;
        return boost::asio::execution::blocking.possibly;
    }
    boost::asio::execution::outstanding_work_t query(boost::asio::execution::outstanding_work_t) const noexcept
    {
        if (tracks_)
            return boost::asio::execution::outstanding_work.tracked;
        return boost::asio::execution::outstanding_work.untracked;
    }
    static constexpr boost::asio::execution::relationship_t query(boost::asio::execution::relationship_t) noexcept
    {
        return boost::asio::execution::relationship.fork;
    }
    executor require(boost::asio::execution::blocking_t::never_t) const noexcept
    {
        return {hub_, context_, true, tracks_};
    }
    executor require(boost::asio::execution::blocking_t::possibly_t) const noexcept
    {
        return {hub_, context_, false, tracks_};
    }
    executor require(boost::asio::execution::outstanding_work_t::tracked_t) const noexcept
    {
        return {hub_, context_, never_blocks_, true};
    }
    executor require(boost::asio::execution::outstanding_work_t::untracked_t) const noexcept
    {
        return {hub_, context_, never_blocks_, false};
    }
    executor require(boost::asio::execution::relationship_t::fork_t) const noexcept { return *this; }
    executor require(boost::asio::execution::relationship_t::continuation_t) const noexcept { return *this; }

    friend bool operator==(const executor& a, const executor& b) noexcept
    {
        return a.hub_ == b.hub_ && a.never_blocks_ == b.never_blocks_ && a.tracks_ == b.tracks_;
    }

private:
    executor(coir::hub where, boost::asio::execution_context* context, bool never_blocks, bool tracks) noexcept
        : hub_{where}, context_{context}, never_blocks_{never_blocks}, tracks_{tracks}
    {
        if (tracks_)
            track();
    }
    void swap(executor& other) noexcept
    {
        std::swap(hub_, other.hub_);
        std::swap(context_, other.context_);
        std::swap(never_blocks_, other.never_blocks_);
        std::swap(tracks_, other.tracks_);
    }
    bool is_this_fibers_hub() const noexcept;
    void track() const noexcept;
    void untrack() const noexcept;

    coir::hub hub_;
    boost::asio::execution_context* context_;
    bool never_blocks_ = false;
    bool tracks_ = false;
};

/// The executor of the hub that the caller runs on. Throws std::logic_error where there is none.
executor this_hub_executor();

} // namespace coir
