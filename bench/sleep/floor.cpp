// SPDX-License-Identifier: BSL-1.0
// A binary heap of deadlines, and nanosleep until the earliest when nobody is ready.
#include "floor.hpp"
#include "sleeps.hpp"

#include <queue>

namespace bare = bench::bare;

namespace {

struct deadline {
    bench::number at;
    bare::task* sleeper;
    bool operator<(const deadline& other) const { return at > other.at; }
};

std::priority_queue<deadline> deadlines;

/// What the main task does until `left` is 0: wakes who is due.
void run_timers(const bench::number& left)
{
    while (left > 0) {
        auto now = bench::time_of(CLOCK_MONOTONIC);
        if (bare::ready.empty() && !deadlines.empty() && deadlines.top().at > now) {
            const auto at = deadlines.top().at;
            const timespec until{.tv_sec = at / 1'000'000'000, .tv_nsec = at % 1'000'000'000};
            ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
            now = bench::time_of(CLOCK_MONOTONIC);
        }
        for (; !deadlines.empty() && deadlines.top().at <= now; deadlines.pop())
            bare::ready.push(*deadlines.top().sleeper);
        bare::yield();
    }
}

} // namespace

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    bench::sleeps sleeps{milliseconds};
    auto left = fibers;
    for (bench::number i = 0; i < fibers; ++i)
        bare::spawn([&, i] {
            sleeps.run(i, [](auto length) {
                deadlines.push({bench::time_of(CLOCK_MONOTONIC) + length.count(), bare::current});
                bare::park();
            });
            --left;
        });
    run_timers(left);
    sleeps.report();
}
