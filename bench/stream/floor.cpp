// SPDX-License-Identifier: BSL-1.0
#include "floor.hpp"
#include "bench.hpp"

int main(int argc, char** argv)
{
    namespace bare = bench::bare;
    const auto count = bench::argument(argc, argv, 1, 5'000'000);
    bare::channel<bench::number, 128> numbers;
    bare::spawn([&] {
        for (bench::number i = 1; i <= count; ++i)
            numbers.send(i);
        numbers.send(0);
        bare::park();
    });
    bench::stopwatch watch;
    bench::number sum = 0;
    while (const auto value = numbers.receive())
        sum += value;
    watch.report(count, {{"checked", sum == count * (count + 1) / 2}});
}
