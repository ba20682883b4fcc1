// SPDX-License-Identifier: BSL-1.0
#include "floor.hpp"
#include "bench.hpp"

int main(int argc, char** argv)
{
    namespace bare = bench::bare;
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 1'000'000) / batch;
    bench::number ran = 0;
    auto run_batch = [&] {
        bare::latch done{static_cast<std::size_t>(batch)};
        for (bench::number i = 0; i < batch; ++i)
            bare::spawn([&] {
                ++ran;
                done.done();
            });
        done.wait();
    };
    run_batch(); // the stacks are then there
    bench::stopwatch watch;
    for (bench::number i = 0; i < batches; ++i)
        run_batch();
    watch.report(batch * batches, {{"checked", ran == batch * (batches + 1)}});
}
