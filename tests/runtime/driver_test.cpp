// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/driver.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// What a loop was asked for.
struct record {
    std::vector<clock::time_point> waits;
    int polls = 0;
};

/// Its time goes on only in `wait`, half of the way at a time: as a loop does that wakes for reasons of its own.
class recording_driver final : public driver {
public:
    explicit recording_driver(record& into) : into_{into} {}
    clock::time_point now() noexcept override { return now_; }
    void poll() override { ++into_.polls; }
    bool wait(clock::time_point deadline, bool) override
    {
        if (std::exchange(woken_, false))
            return true;
        into_.waits.push_back(deadline);
        if (deadline == never)
            return false;
        now_ += (deadline - now_ + 1ns) / 2;
        return true;
    }
    void wake() noexcept override { woken_ = true; }

private:
    record& into_;
    clock::time_point now_{1h};
    bool woken_ = false;
};

} // namespace

TEST_SUITE_BEGIN("driver");

TEST_CASE("a hub waits for its first deadline, and waits again if it was woken too early") {
    record seen;
    runtime hub{std::make_unique<recording_driver>(seen)};
    run_in(hub, [&] {
        const auto start = clock::now();
        fiber late{[&] { this_fiber::sleep_for(1h); }};
        this_fiber::sleep_for(1s);
        CHECK(clock::now() - start == 1s);
        late.join();
        CHECK(clock::now() - start == 1h);
    });
    REQUIRE(seen.waits.size() > 20);
    CHECK(seen.waits.front() == clock::time_point{1h} + 1s);
    CHECK(seen.waits.back() == clock::time_point{2h});
}

TEST_CASE("with timer slack a hub waits a little longer, and wakes once for several deadlines") {
    record seen;
    runtime hub{std::make_unique<recording_driver>(seen), nullptr, 1ms};
    std::vector<clock::duration> woken;
    run_in(hub, [&] {
        const auto start = clock::now();
        std::vector<fiber> sleepers;
        for (const auto length : {1000us, 1300us, 2000us, 2001us})
            sleepers.emplace_back([&, length] {
                this_fiber::sleep_until(start + length);
                woken.push_back(clock::now() - start);
            });
        for (auto& each : sleepers)
            each.join();
    });
    REQUIRE(woken.size() == 4);
    // Half of the way at a time, it comes to look at some moment between a deadline and its slack.
    CHECK(woken[0] >= 1000us);
    CHECK(woken[0] <= 2000us);
    CHECK(woken[1] >= 1300us);
    CHECK(woken[3] <= 3001us);
    CHECK(seen.waits.front() == clock::time_point{1h} + 2ms);
}

TEST_CASE("a hub with ready fibers polls its driver now and then, and never waits") {
    record seen;
    runtime hub{std::make_unique<recording_driver>(seen)};
    run_in(hub, [] {
        for (int i = 0; i < 100'000; ++i)
            this_fiber::yield();
    });
    CHECK(seen.waits.empty());
    CHECK(seen.polls > 10);
    CHECK(seen.polls < 1000);
}

TEST_CASE("a driver that says that nothing can happen any more makes it a deadlock") {
    record seen;
    runtime hub{std::make_unique<recording_driver>(seen)};
    CHECK_THROWS_AS(run_in(hub, [] { park_until({}); }), deadlock);
    CHECK(seen.waits == std::vector{never});
}

TEST_SUITE_END();
