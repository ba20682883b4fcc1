// SPDX-License-Identifier: BSL-1.0
#include "hand_off.hpp"

#include <boost/fiber/condition_variable.hpp>
#include <boost/fiber/fiber.hpp>
#include <boost/fiber/mutex.hpp>

int main(int argc, char** argv)
{
    const auto turns = bench::argument(argc, argv, 1, 1'000'000) / 2;
    bench::hand_off<boost::fibers::mutex, boost::fibers::condition_variable> game;
    bench::stopwatch watch;
    boost::fibers::fiber partner{[&] { game.play(false, turns); }};
    game.play(true, turns);
    partner.join();
    watch.report(2 * turns);
}
