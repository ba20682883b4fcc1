// SPDX-License-Identifier: BSL-1.0
#include "sleeps.hpp"

#include <boost/fiber/fiber.hpp>
#include <boost/fiber/operations.hpp>

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    std::vector<boost::fibers::fiber> all;
    bench::sleeps sleeps{milliseconds};
    for (bench::number i = 0; i < fibers; ++i)
        all.emplace_back([&, i] { sleeps.run(i, [](auto length) { boost::this_fiber::sleep_for(length); }); });
    for (auto& fiber : all)
        fiber.join();
    sleeps.report();
}
