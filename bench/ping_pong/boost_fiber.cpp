// SPDX-License-Identifier: BSL-1.0
// The smallest buffered_channel there is; it holds one value less than its capacity.
#include "bench.hpp"

#include <boost/fiber/buffered_channel.hpp>
#include <boost/fiber/fiber.hpp>

int main(int argc, char** argv)
{
    const auto rounds = bench::argument(argc, argv, 1, 1'000'000) / 2;
    boost::fibers::buffered_channel<int> there{2};
    boost::fibers::buffered_channel<int> back{2};
    boost::fibers::fiber partner{[&] {
        for (int value : there)
            back.push(value + 1);
    }};
    bench::stopwatch watch;
    int value = 0;
    for (bench::number i = 0; i < rounds; ++i) {
        there.push(value);
        value = back.value_pop();
    }
    watch.report(2 * rounds, {{"checked", value == rounds}});
    there.close();
    partner.join();
}
