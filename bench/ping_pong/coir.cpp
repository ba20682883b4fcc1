// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <coir/channel.hpp>
#include <coir/runtime.hpp>

int main(int argc, char** argv)
{
    const auto rounds = bench::argument(argc, argv, 1, 1'000'000) / 2;
    const auto capacity = static_cast<std::size_t>(bench::argument(argc, argv, 2, 1));
    coir::run([&] {
        coir::channel<int> there{capacity};
        coir::channel<int> back{capacity};
        coir::fiber partner{[&] {
            for (int value : there)
                back.send(value + 1);
        }};
        bench::stopwatch watch;
        int value = 0;
        for (bench::number i = 0; i < rounds; ++i) {
            there.send(value);
            value = *back.receive();
        }
        watch.report(2 * rounds, {{"checked", value == rounds}});
        there.close();
    });
}
