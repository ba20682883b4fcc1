// SPDX-License-Identifier: BSL-1.0
// With pooled stacks, its best case; the default allocator is 25 times slower.
#include "bench.hpp"

#include <memory>
#include <vector>

#include <boost/fiber/fiber.hpp>
#include <boost/fiber/pooled_fixedsize_stack.hpp>

int main(int argc, char** argv)
{
    const auto batch = bench::argument(argc, argv, 1, 1000);
    const auto batches = bench::argument(argc, argv, 2, 1'000'000) / batch;
    boost::fibers::pooled_fixedsize_stack stacks;
    bench::number ran = 0;
    std::vector<boost::fibers::fiber> fibers;
    auto run_batch = [&] {
        for (bench::number i = 0; i < batch; ++i)
            fibers.emplace_back(std::allocator_arg, stacks, [&] { ++ran; });
        for (auto& fiber : fibers)
            fiber.join();
        fibers.clear();
    };
    run_batch(); // the stacks are then there
    bench::stopwatch watch;
    for (bench::number i = 0; i < batches; ++i)
        run_batch();
    watch.report(batch * batches, {{"checked", ran == batch * (batches + 1)}});
}
