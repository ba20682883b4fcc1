// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <vector>

#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 2);
    const auto rounds = bench::argument(argc, argv, 2, 2'000'000) / fibers;
    bench::stopwatch watch;
    std::vector<boost::fibers::fiber> all;
    for (bench::number i = 0; i < fibers; ++i)
        all.emplace_back([&, i] {
            boost::this_fiber::yield(); // until all have started
            if (i == 0)
                watch.restart();
            for (bench::number round = 0; round < rounds; ++round)
                boost::this_fiber::yield();
        });
    for (auto& fiber : all)
        fiber.join();
    watch.report(fibers * rounds);
}
