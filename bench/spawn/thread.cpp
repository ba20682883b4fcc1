// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <atomic>
#include <thread>
#include <vector>

int main(int argc, char** argv)
{
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 20'000) / batch;
    std::atomic<bench::number> ran = 0;
    std::vector<std::jthread> threads;
    bench::stopwatch watch;
    for (bench::number i = 0; i < batches; ++i) {
        for (bench::number j = 0; j < batch; ++j)
            threads.emplace_back([&] { ++ran; });
        threads.clear();
    }
    watch.report(batch * batches, {{"checked", ran == batch * batches}});
}
