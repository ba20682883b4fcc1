// SPDX-License-Identifier: BSL-1.0
// Asio's own stackful coroutines.
#include "bench.hpp"

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/spawn.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 2);
    const auto rounds = bench::argument(argc, argv, 2, 2'000'000) / fibers;
    asio::io_context context{1};
    bench::stopwatch watch;
    for (bench::number i = 0; i < fibers; ++i)
        asio::spawn(
            context,
            [&, i](asio::yield_context yield) {
                asio::post(context, yield); // until all have started
                if (i == 0)
                    watch.restart();
                for (bench::number round = 0; round < rounds; ++round)
                    asio::post(context, yield);
            },
            asio::detached);
    context.run();
    watch.report(fibers * rounds);
}
