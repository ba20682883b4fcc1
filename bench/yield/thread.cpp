// SPDX-License-Identifier: BSL-1.0
// Threads that share one core and call sched_yield, which lets another of them run.
#include "bench.hpp"

#include <barrier>
#include <thread>
#include <vector>

int main(int argc, char** argv)
{
    const auto threads = bench::argument(argc, argv, 1, 2);
    const auto rounds = bench::argument(argc, argv, 2, 200'000) / threads;
    bench::stopwatch watch;
    std::barrier started{threads, [&]() noexcept { watch.restart(); }};
    {
        std::vector<std::jthread> all;
        for (bench::number i = 0; i < threads; ++i)
            all.emplace_back([&] {
                started.arrive_and_wait();
                for (bench::number round = 0; round < rounds; ++round)
                    std::this_thread::yield();
            });
    }
    watch.report(threads * rounds);
}
