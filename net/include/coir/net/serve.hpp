// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <coir/cancel_scope.hpp>
#include <coir/fiber_group.hpp>
#include <coir/latch.hpp>
#include <coir/net/error.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/outcome.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace coir::net {

struct serve_options {
    /// Connections at a time. At the limit nothing is accepted: who comes waits in the kernel's backlog.
    std::size_t connections_max = 10'000;
    /// A connection whose fiber has waited so long for its peer, in one wait, is cut off, so that silent peers do not
    /// keep the others out. Whether it has is looked at twice in that time. 0: never.
    clock::duration idle_max{};
    /// Ends the service: nothing is accepted any more, and connections have `drain` to come to their end.
    std::stop_token stop{};
    clock::duration drain = std::chrono::seconds{10};
    /// Told of what a handler threw, and, every now and then, of what keeps `accept` from accepting. Must not throw.
    /// Without it: a line on the standard error.
    std::function<void(std::exception_ptr)> on_error{};
    /// For each connection's fiber.
    std::string name = "connection";
    std::size_t stack_size = 0;
};

/// How a service went.
struct serve_report {
    std::uint64_t accepted = 0;
    std::uint64_t failed = 0;    ///< of those, handlers that threw
    std::uint64_t idle = 0;      ///< cut off because they were silent
    std::uint64_t cancelled = 0; ///< had not ended when the time to drain was over
};

/// What `serve` keeps while it serves. One fiber's, on its stack.
class service {
public:
    explicit service(const serve_options& options);
    service(const service&) = delete;
    service& operator=(const service&) = delete;
    /// Suspends until every connection has ended; cancels them if it runs because of an exception.
    ~service();

    /// Until the service is to stop, `accept` says error::bad_descriptor, or the caller is cancelled. `accept(ec)`
    /// starts a connection, or says why not.
    template <class Accept> void accept_connections(Accept&& accept)
    {
        cancel_scope accepting{options_.stop};
        accepting.run([&] {
            for (;;) {
                slots_.acquire();
                slot_taken_ = true;
                error_code ec;
                accept(ec);
                if (std::exchange(slot_taken_, false))
                    slots_.release(); // nobody has come for it
                if (ec == error::bad_descriptor)
                    return;
                if (ec.failed())
                    wait_out(ec);
            }
        });
    }

    /// A fiber for a connection. Never suspends. Fails with error::no_memory where there is no stack for one.
    template <class Function> void start(Function&& function, error_code& ec)
    {
        try {
            group_.spawn({.name = options_.name, .stack_size = options_.stack_size},
                         [this, work = std::forward<Function>(function), slot = slot_of_connection{*this}]() mutable {
                             run(work);
                         });
            ++report_.accepted;
        } catch (const std::system_error&) {
            ec = error::no_memory;
        } catch (const std::bad_alloc&) {
            ec = error::no_memory;
        }
    }

    /// Suspends until all have ended, or the time to drain is over and the rest has been cancelled.
    serve_report finish();

private:
    /// A place among the connections, given back when it is over, or has not even begun.
    struct slot_of_connection {
        service* owner;
        explicit slot_of_connection(service& of) noexcept : owner{&of} { of.slot_taken_ = false; }
        slot_of_connection(slot_of_connection&& other) noexcept : owner{std::exchange(other.owner, nullptr)} {}
        slot_of_connection& operator=(slot_of_connection&&) = delete;
        ~slot_of_connection()
        {
            if (owner)
                owner->give_back();
        }
    };

    template <class Function> void run(Function& function)
    {
        cancel_scope scope;
        const enlisted here{*this, scope};
        try {
            if (!scope.run([&] { function(); }))
                ++report_.idle;
        } catch (const timed_out&) {
            failed(std::current_exception());
        } catch (const cancelled&) {
            ++report_.cancelled;
            throw;
        } catch (...) {
            failed(std::current_exception());
        }
    }

    /// Known to who looks for silent connections.
    struct enlisted {
        service& owner;
        std::uint64_t id;
        enlisted(service& of, cancel_scope& scope);
        enlisted(const enlisted&) = delete;
        enlisted& operator=(const enlisted&) = delete;
        ~enlisted() { owner.connections_.erase(id); }
    };

    void give_back() noexcept;
    void failed(const std::exception_ptr& failure) noexcept;
    void report_error(const std::exception_ptr& failure) noexcept;
    void wait_out(const error_code& ec);
    void cut_off_idle();

    serve_options options_;
    serve_report report_;
    counting_semaphore<> slots_;
    counting_semaphore<> ended_{0}; ///< released when a connection ends, while somebody waits for its descriptor
    bool waits_for_end_ = false;
    bool slot_taken_ = false;
    clock::time_point told_{}; ///< when it was told what keeps `accept` from accepting
    std::unordered_map<std::uint64_t, cancel_scope*> connections_;
    fiber_group group_;
    fiber watch_; ///< looks for silent connections
};

/// Accepts connections and calls `handler` with each, in a fiber of its own on the caller's hub, until it is told to
/// stop.
///
///     coir::net::tcp_listener listener{{make_address("::"), 8080}};
///     coir::net::stop_on_signal ending;
///     coir::net::serve(listener, [](coir::net::tcp_stream client) { talk_to(client); }, {.stop = ending.get_token()});
///
/// Suspends. Returns when `options.stop` has stopped, or somebody has closed the listener, and all connections have
/// ended; closes the listener first. If the caller is cancelled, all connections are, and `cancelled` is thrown once
/// they have ended. In a fiber only.
///
/// The handler is called by many fibers at a time; it gets the accepted stream as an rvalue. What it throws ends its
/// connection and nothing else. When there are no descriptors, or no memory, to accept with, the service goes on when a
/// connection has ended, and tries again every now and then; who has connected waits in the backlog meanwhile. Listener
/// is any type with `accept(error_code&)`, which returns something that converts to true, and `close(error_code&)`.
template <class Listener, class Handler>
serve_report serve(Listener&& listener, Handler&& handler, const serve_options& options = {})
{
    service connections{options};
    connections.accept_connections([&](error_code& ec) {
        auto stream = listener.accept(ec);
        if (!ec.failed())
            connections.start([&handler, stream = std::move(stream)]() mutable { handler(std::move(stream)); }, ec);
    });
    error_code ignored;
    listener.close(ignored);
    return connections.finish();
}

/// Listeners that share a port by SO_REUSEPORT, one for each hub. Port 0: the same for all. Never suspends. Throws as
/// tcp_listener does.
std::vector<tcp_listener> listen_on_hubs(const runtime& hubs, const tcp_endpoint& at, tcp_listen_options options = {});

/// `serve` on several hubs of a runtime, each with a listener of its own: the kernel spreads the connections (by a hash
/// of the addresses, socket(7)). As many listeners as hubs at most. `connections_max` is for all of them together. The
/// handler is copied for each hub and called on all of them; `on_error` is called on all of them too.
///
///     coir::runtime hubs{{.hubs = 4}};
///     coir::run_in(hubs, [&] {
///         coir::net::serve_on_hubs(hubs, coir::net::listen_on_hubs(hubs, {make_address("::"), 8080}), talk);
///     });
template <class Listener, class Handler>
serve_report serve_on_hubs(const runtime& hubs, std::vector<Listener> listeners, Handler handler,
                           const serve_options& options = {})
{
    struct shard {
        Listener listener;
        Handler handler;
        cancel_scope scope{};
        outcome<serve_report> report{};
    };
    auto each = options;
    each.connections_max =
        (options.connections_max + listeners.size() - 1) / std::max<std::size_t>(listeners.size(), 1);
    std::vector<std::unique_ptr<shard>> shards;
    for (auto& listener : listeners)
        shards.push_back(std::unique_ptr<shard>{new shard{std::move(listener), handler}});

    latch left{static_cast<std::ptrdiff_t>(shards.size())};
    const auto serve_shard = [&](shard& mine) {
        mine.report.run([&] {
            serve_report report;
            mine.scope.run([&] { report = serve(mine.listener, mine.handler, each); });
            return report;
        });
        left.count_down();
    };
    std::size_t started = 0;
    try {
        for (; started < shards.size(); ++started)
            hubs.hub(started % hubs.hub_count()).post({.name = "serve"}, [&serve_shard, mine = shards[started].get()] {
                const shield to_the_end; // only its scope cuts it off, so that it counts down
                serve_shard(*mine);
            });
        left.wait();
    } catch (...) {
        for (auto& one : shards)
            one->scope.cancel();
        left.count_down(static_cast<std::ptrdiff_t>(shards.size() - started));
        const shield until_all_have_ended;
        left.wait();
        throw;
    }
    serve_report total;
    for (auto& one : shards) {
        const auto part = one->report.take();
        total.accepted += part.accepted;
        total.failed += part.failed;
        total.idle += part.idle;
        total.cancelled += part.cancelled;
    }
    return total;
}

} // namespace coir::net
