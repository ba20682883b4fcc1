// SPDX-License-Identifier: BSL-1.0
// Asio's own stackful coroutines.
#include "sleeps.hpp"

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/steady_timer.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    asio::io_context context{1};
    bench::sleeps sleeps{milliseconds};
    for (bench::number i = 0; i < fibers; ++i)
        asio::spawn(
            context,
            [&, i](asio::yield_context yield) {
                asio::steady_timer timer{context};
                sleeps.run(i, [&](auto length) {
                    timer.expires_after(length);
                    timer.async_wait(yield);
                });
            },
            asio::detached);
    context.run();
    sleeps.report();
}
