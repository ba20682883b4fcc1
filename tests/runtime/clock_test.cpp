// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/clock.hpp>
#include <coir/testing.hpp>

#include <chrono>

using namespace coir;
using namespace std::chrono_literals;

TEST_CASE("time stands still while fibers run and jumps when all of them wait") {
    testing::run([] {
        const auto start = clock::now();
        for (int i = 0; i < 1000; ++i)
            this_fiber::yield();
        CHECK(clock::now() == start);
        this_fiber::sleep_for(1h);
        CHECK(clock::now() - start == 1h);
    });
}

TEST_CASE("on a plain thread the clock is std::chrono::steady_clock") {
    const auto before = std::chrono::steady_clock::now().time_since_epoch();
    const auto now = clock::now().time_since_epoch();
    const auto after = std::chrono::steady_clock::now().time_since_epoch();
    CHECK(before <= now);
    CHECK(now <= after);
}

TEST_CASE("a duration that is no whole number of nanoseconds is rounded up") {
    testing::run([] {
        const auto now = clock::now();
        CHECK(deadline_after(std::chrono::duration<int, std::pico>{1}) == now + 1ns);
        CHECK(deadline_after(std::chrono::duration<int, std::pico>{1000}) == now + 1ns);
        CHECK(deadline_after(std::chrono::duration<double>{0.5}) == now + 500ms);
    });
}

TEST_CASE("a duration that does not fit into the clock is for ever") {
    testing::run([] {
        CHECK(deadline_after(std::chrono::hours::max()) == never);
        CHECK(deadline_after(clock::duration::max()) == never);
        CHECK(deadline_after(std::chrono::duration<double>{1e300}) == never);
    });
}

TEST_CASE("a duration that is over already is now") {
    testing::run([] {
        CHECK(deadline_after(0ns) == clock::now());
        CHECK(deadline_after(-1h) == clock::now());
        CHECK(deadline_after(clock::duration::min()) == clock::now());
    });
}

TEST_CASE("instants of the fibers' own clock are deadlines as they are") {
    testing::run([] {
        const auto instant = clock::now() + 3h;
        CHECK(deadline_at(instant) == instant);
        CHECK(deadline_at(std::chrono::time_point<coir::clock, std::chrono::hours>{5h}) == clock::time_point{5h});
    });
}

TEST_CASE("instants of other clocks are converted by what is left until them") {
    testing::run([] {
        const auto deadline = deadline_at(std::chrono::system_clock::now() + 24h);
        CHECK(deadline > clock::now() + 23h);
        CHECK(deadline < clock::now() + 25h);
        CHECK(deadline_at(std::chrono::steady_clock::now() - 1h) == clock::now());
    });
}
