// SPDX-License-Identifier: BSL-1.0
#pragma once
// Happy Eyeballs (RFC 8305): several addresses are tried, each with a head start over the next, and the first
// connection counts. Knows nothing of sockets: what it races is a parameter.
//
//     attempt 0  |-----------------------x                  cancelled: 2 was faster
//     attempt 1  |     delay |----x                         failed: 2 starts at once
//     attempt 2  |                |-------> connected
#include <coir/auto_reset_event.hpp>
#include <coir/clock.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/connect.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace coir::net {

/// By turns of each family, `first_count` of the first address's to begin with (section 4); within a family the order
/// stays libc's.
std::vector<boost::asio::ip::tcp::endpoint> interleave(std::span<const boost::asio::ip::tcp::endpoint> sorted,
                                                       std::size_t first_count);

/// The one that says most: how far has the best attempt come?
boost::system::error_code most_telling(std::span<const failed_attempt> failures);

template <class Connection> struct race_result {
    std::optional<Connection> winner;
    std::vector<failed_attempt> failures; ///< in the order in which they failed
};

/// Suspends. `connect(endpoint, ec)` is called in a fiber for each attempt, and in no fiber one after the other. Who
/// loses is cancelled, or closed if it has connected meanwhile. Throws `cancelled` and `timed_out` once all have ended.
template <class Connection, class Connect>
race_result<Connection> race(std::span<const boost::asio::ip::tcp::endpoint> order, clock::duration delay,
                             Connect&& connect)
{
    race_result<Connection> result;
    auto_reset_event changed;
    std::size_t running = 0;
    const auto attempt = [&](const boost::asio::ip::tcp::endpoint& to) {
        boost::system::error_code ec;
        Connection made = connect(to, ec);
        if (ec)
            result.failures.push_back({to, ec});
        else if (!result.winner)
            result.winner.emplace(std::move(made));
    };

    if (!this_fiber::active()) {
        for (auto each = order.begin(); each != order.end() && !result.winner; ++each)
            attempt(*each);
        return result;
    }

    fiber_group attempts; // ends first: its fibers use all of the above
    for (auto next = order.begin(); next != order.end() && !result.winner; ++next) {
        const auto failed_before = result.failures.size();
        ++running;
        attempts.spawn({.name = "connect"}, [&, to = *next] {
            attempt(to);
            --running;
            changed.set();
        });
        const auto until = std::next(next) == order.end() ? never : deadline_after(delay);
        while (!result.winner && running > 0 && (until == never || result.failures.size() == failed_before))
            if (!changed.wait_until(until))
                break;
    }
    attempts.cancel();
    attempts.join();
    return result;
}

} // namespace coir::net
