// SPDX-License-Identifier: BSL-1.0
#include "floor.hpp"
#include "bench.hpp"

int main(int argc, char** argv)
{
    namespace bare = bench::bare;
    const auto fibers = bench::argument(argc, argv, 1, 2);
    const auto rounds = bench::argument(argc, argv, 2, 2'000'000) / fibers;
    bare::latch done{static_cast<std::size_t>(fibers)};
    bench::stopwatch watch;
    for (bench::number i = 0; i < fibers; ++i)
        bare::spawn([&, i] {
            bare::yield(); // until all have started
            if (i == 0)
                watch.restart();
            for (bench::number round = 0; round < rounds; ++round)
                bare::yield();
            done.done();
        });
    done.wait();
    watch.report(fibers * rounds);
}
