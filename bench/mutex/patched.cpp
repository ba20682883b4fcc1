// SPDX-License-Identifier: BSL-1.0
// std::mutex and std::condition_variable between two fibers, through the patch.
#include "hand_off.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <condition_variable>

int main(int argc, char** argv)
{
    const auto turns = bench::argument(argc, argv, 1, 1'000'000) / 2;
    coir::run([&] {
        bench::hand_off<std::mutex, std::condition_variable> game;
        bench::stopwatch watch;
        coir::fiber partner{[&] { game.play(false, turns); }};
        game.play(true, turns);
        partner.join();
        watch.report(2 * turns);
    });
}
