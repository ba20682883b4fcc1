// SPDX-License-Identifier: BSL-1.0
#include "sleeps.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    asio::io_context context{1};
    bench::sleeps sleeps{milliseconds};
    auto body = [&](bench::number i) -> asio::awaitable<void> {
        asio::steady_timer timer{context};
        auto random = static_cast<std::uint32_t>(i) * 2654435761U + 1;
        for (auto now = sleeps.begin(); now < sleeps.end();) {
            const auto length = bench::sleeps::next(random);
            timer.expires_after(std::chrono::nanoseconds{length});
            co_await timer.async_wait(asio::use_awaitable);
            const auto woken = bench::time_of(CLOCK_MONOTONIC);
            sleeps.record(woken - now - length, woken);
            now = woken;
        }
    };
    for (bench::number i = 0; i < fibers; ++i)
        asio::co_spawn(context, body(i), asio::detached);
    context.run();
    sleeps.report();
}
