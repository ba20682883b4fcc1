// SPDX-License-Identifier: BSL-1.0
#include "hand_off.hpp"

#include <condition_variable>
#include <thread>

int main(int argc, char** argv)
{
    const auto turns = bench::argument(argc, argv, 1, 100'000) / 2;
    bench::hand_off<std::mutex, std::condition_variable> game;
    bench::stopwatch watch;
    std::thread partner{[&] { game.play(false, turns); }};
    game.play(true, turns);
    partner.join();
    watch.report(2 * turns);
}
