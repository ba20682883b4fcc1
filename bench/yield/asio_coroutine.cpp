// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 2);
    const auto rounds = bench::argument(argc, argv, 2, 2'000'000) / fibers;
    asio::io_context context{1};
    bench::stopwatch watch;
    auto body = [&](bench::number i) -> asio::awaitable<void> {
        co_await asio::post(asio::use_awaitable); // until all have started
        if (i == 0)
            watch.restart();
        for (bench::number round = 0; round < rounds; ++round)
            co_await asio::post(asio::use_awaitable);
    };
    for (bench::number i = 0; i < fibers; ++i)
        asio::co_spawn(context, body(i), asio::detached);
    context.run();
    watch.report(fibers * rounds);
}
