// SPDX-License-Identifier: BSL-1.0
#include "hand_off.hpp"

#include <coir/channel.hpp>
#include <coir/condition_variable.hpp>
#include <coir/latch.hpp>
#include <coir/runtime.hpp>

namespace {

void by_channel(coir::runtime& hubs, bench::number rounds)
{
    coir::channel<int> there{1};
    coir::channel<int> back{1};
    coir::latch ended{1};
    hubs.hub(1).post([&] {
        for (int value : there)
            back.send(value + 1);
        ended.count_down();
    });
    bench::stopwatch watch;
    int value = 0;
    for (bench::number i = 0; i < rounds; ++i) {
        there.send(value);
        value = *back.receive();
    }
    watch.report(2 * rounds, {{"checked", value == rounds}});
    there.close();
    ended.wait();
}

void by_mutex(coir::runtime& hubs, bench::number rounds)
{
    bench::hand_off<coir::mutex, coir::condition_variable> game;
    coir::latch ended{1};
    hubs.hub(1).post([&] {
        game.play(false, rounds);
        ended.count_down();
    });
    bench::stopwatch watch;
    game.play(true, rounds);
    ended.wait();
    watch.report(2 * rounds);
}

} // namespace

int main(int argc, char** argv)
{
    const bool mutex = bench::argument(argc, argv, 1, 0);
    const auto rounds = bench::argument(argc, argv, 2, 100'000) / 2;
    coir::runtime hubs{{.hubs = 2}};
    coir::run_in(hubs, [&] { mutex ? by_mutex(hubs, rounds) : by_channel(hubs, rounds); });
}
