// SPDX-License-Identifier: BSL-1.0
// A timer with a callback instead of a fiber. libuv's timers count whole milliseconds.
#include "sleeps.hpp"

#include <uv.h>

namespace {

struct sleeper {
    uv_timer_t timer{};
    std::uint32_t random = 0;
    bench::number slept_at = 0;
    bench::number length = 0;
};

bench::sleeps* sleeps = nullptr;

void wake(uv_timer_t* timer);

void sleep(sleeper& one, bench::number now)
{
    one.slept_at = now;
    one.length = bench::sleeps::next(one.random);
    uv_update_time(one.timer.loop); // or it would count from when the loop last woke
    uv_timer_start(&one.timer, wake, static_cast<std::uint64_t>((one.length + 999'999) / 1'000'000), 0);
}

void wake(uv_timer_t* timer)
{
    auto& one = *static_cast<sleeper*>(timer->data);
    const auto now = bench::time_of(CLOCK_MONOTONIC);
    sleeps->record(now - one.slept_at - one.length, now);
    if (now < sleeps->end())
        sleep(one, now);
}

} // namespace

int main(int argc, char** argv)
{
    const auto fibers = bench::argument(argc, argv, 1, 10'000);
    const auto milliseconds = bench::argument(argc, argv, 2, 1000);
    bench::sleeps all_sleeps{milliseconds};
    sleeps = &all_sleeps;
    uv_loop_t* const loop = uv_default_loop();
    std::vector<sleeper> all(static_cast<std::size_t>(fibers));
    for (std::size_t i = 0; i < all.size(); ++i) {
        uv_timer_init(loop, &all[i].timer);
        all[i].timer.data = &all[i];
        all[i].random = static_cast<std::uint32_t>(i) * 2654435761U + 1;
        sleep(all[i], all_sleeps.begin());
    }
    uv_run(loop, UV_RUN_DEFAULT);
    all_sleeps.report();
}
