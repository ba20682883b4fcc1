// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <coir/runtime.hpp>

#include <vector>

int main(int argc, char** argv)
{
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 1'000'000) / batch;
    coir::run([&] {
        bench::number ran = 0;
        std::vector<coir::fiber> fibers;
        auto run_batch = [&] {
            for (bench::number i = 0; i < batch; ++i)
                fibers.emplace_back([&] { ++ran; });
            for (auto& fiber : fibers)
                fiber.join();
            fibers.clear();
        };
        run_batch(); // the stacks are then there
        bench::stopwatch watch;
        for (bench::number i = 0; i < batches; ++i)
            run_batch();
        watch.report(batch * batches, {{"checked", ran == batch * (batches + 1)}});
    });
}
