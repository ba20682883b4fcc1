// SPDX-License-Identifier: BSL-1.0
// Two threads have the same for both: a mutex and a condition variable.
#include "hand_off.hpp"

#include <condition_variable>
#include <thread>

int main(int argc, char** argv)
{
    const auto rounds = bench::argument(argc, argv, 2, 100'000) / 2;
    bench::hand_off<std::mutex, std::condition_variable> game;
    bench::stopwatch watch;
    std::thread partner{[&] { game.play(false, rounds); }};
    game.play(true, rounds);
    partner.join();
    watch.report(2 * rounds);
}
