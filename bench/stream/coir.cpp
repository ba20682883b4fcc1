// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <coir/channel.hpp>
#include <coir/runtime.hpp>

int main(int argc, char** argv)
{
    const auto count = bench::argument(argc, argv, 1, 5'000'000);
    coir::run([&] {
        coir::channel<bench::number> numbers{128};
        coir::fiber producer{[&] {
            for (bench::number i = 1; i <= count; ++i)
                numbers.send(i);
            numbers.close();
        }};
        bench::stopwatch watch;
        bench::number sum = 0;
        for (const auto value : numbers)
            sum += value;
        watch.report(count, {{"checked", sum == count * (count + 1) / 2}});
    });
}
