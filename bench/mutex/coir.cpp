// SPDX-License-Identifier: BSL-1.0
#include "hand_off.hpp"

#include <coir/condition_variable.hpp>
#include <coir/runtime.hpp>

int main(int argc, char** argv)
{
    const auto turns = bench::argument(argc, argv, 1, 1'000'000) / 2;
    coir::run([&] {
        bench::hand_off<coir::mutex, coir::condition_variable> game;
        bench::stopwatch watch;
        coir::fiber partner{[&] { game.play(false, turns); }};
        game.play(true, turns);
        partner.join();
        watch.report(2 * turns);
    });
}
