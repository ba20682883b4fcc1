// SPDX-License-Identifier: BSL-1.0
// Asio's own stackful coroutines, with its default stacks: there is no pooled allocator for std::allocator_arg in it.
#include "bench.hpp"

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/spawn.hpp>

namespace asio = boost::asio;

int main(int argc, char** argv)
{
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 1'000'000) / batch;
    asio::io_context context{1};
    bench::number ran = 0;
    auto run_batch = [&] {
        for (bench::number i = 0; i < batch; ++i)
            asio::spawn(
                context, [&](asio::yield_context) { ++ran; }, asio::detached);
        context.restart();
        context.run();
    };
    run_batch();
    bench::stopwatch watch;
    for (bench::number i = 0; i < batches; ++i)
        run_batch();
    watch.report(batch * batches, {{"checked", ran == batch * (batches + 1)}});
}
