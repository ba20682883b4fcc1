// SPDX-License-Identifier: BSL-1.0
#include "sleeps.hpp"

#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const std::chrono::microseconds slack{argc > 3 ? bench::argument(argc, argv, 2, 0) : 50};
    const auto milliseconds = bench::argument(argc, argv, argc > 3 ? 3 : 2, 1000);
    coir::run({.hubs = 1, .timer_slack = slack}, [&] {
        bench::sleeps sleeps{milliseconds};
        coir::fiber_group all;
        for (bench::number i = 0; i < fibers; ++i)
            all.spawn([&, i] { sleeps.run(i, [](auto length) { coir::this_fiber::sleep_for(length); }); });
        all.join();
        sleeps.report();
    });
}
