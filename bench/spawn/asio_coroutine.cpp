// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 1'000'000) / batch;
    asio::io_context context{1};
    bench::number ran = 0;
    auto body = [&]() -> asio::awaitable<void> {
        ++ran;
        co_return;
    };
    auto run_batch = [&] {
        for (bench::number i = 0; i < batch; ++i)
            asio::co_spawn(context, body(), asio::detached);
        context.restart();
        context.run();
    };
    run_batch();
    bench::stopwatch watch;
    for (bench::number i = 0; i < batches; ++i)
        run_batch();
    watch.report(batch * batches, {{"checked", ran == batch * (batches + 1)}});
}
