// SPDX-License-Identifier: BSL-1.0
#include "floor.hpp"
#include "bench.hpp"

int main(int argc, char** argv)
{
    namespace bare = bench::bare;
    const auto rounds = bench::argument(argc, argv, 1, 1'000'000) / 2;
    bare::channel<int, 1> there;
    bare::channel<int, 1> back;
    bare::spawn([&] {
        for (;;)
            back.send(there.receive() + 1);
    });
    bench::stopwatch watch;
    int value = 0;
    for (bench::number i = 0; i < rounds; ++i) {
        there.send(value);
        value = back.receive();
    }
    watch.report(2 * rounds, {{"checked", value == rounds}});
}
