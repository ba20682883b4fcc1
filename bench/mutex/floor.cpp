// SPDX-License-Identifier: BSL-1.0
#include "floor.hpp"
#include "hand_off.hpp"

namespace bare = bench::bare;

/// Takes a std::unique_lock, as the others do.
struct condition : private bare::condition_variable {
    using bare::condition_variable::notify_one;
    void wait(std::unique_lock<bare::mutex>& held) { bare::condition_variable::wait(*held.mutex()); }
};

int main(int argc, char** argv)
{
    const auto turns = bench::argument(argc, argv, 1, 1'000'000) / 2;
    bench::hand_off<bare::mutex, condition> game;
    bare::latch done{1};
    bench::stopwatch watch;
    bare::spawn([&] {
        game.play(false, turns);
        done.done();
    });
    game.play(true, turns);
    done.wait();
    watch.report(2 * turns);
}
