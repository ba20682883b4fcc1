// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/barrier.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("barrier");

TEST_CASE("nobody goes on before everybody has arrived, phase after phase") {
    testing::run([] {
        barrier step{3};
        std::array<int, 3> at{};
        fiber_group group;
        for (std::size_t i = 0; i < 3; ++i)
            group.spawn([&, i] {
                for (int phase = 0; phase < 5; ++phase) {
                    this_fiber::sleep_for((i + 1) * 1s);
                    at[i] = phase;
                    step.arrive_and_wait();
                    for (int other : at)
                        CHECK(other >= phase);
                }
            });
        const auto start = clock::now();
        group.join();
        CHECK(clock::now() - start == 15s); // each phase takes as long as its slowest
    });
}

TEST_CASE("the completion runs once in each phase, before anyone goes on") {
    testing::run([] {
        std::string log;
        barrier step{2, [&]() noexcept { log += '|'; }};
        auto work = [&] {
            for (int phase = 0; phase < 3; ++phase) {
                log += 'a';
                step.arrive_and_wait();
                log += 'w';
            }
        };
        fiber one{work};
        fiber two{work};
        one.join();
        two.join();
        // Who arrives last goes on at once, and arrives in the next phase before the other has been woken.
        CHECK(std::count(log.begin(), log.end(), '|') == 3);
        int arrived = 0;
        int phases = 0;
        int gone_on = 0;
        for (char each : log) {
            arrived += each == 'a';
            gone_on += each == 'w';
            if (each == '|')
                CHECK(arrived == 2 * ++phases);
            CHECK(gone_on <= 2 * phases);
        }
    });
}

TEST_CASE("a completion may suspend, and cancellation does not reach it") {
    testing::run([] {
        bool completed = false;
        auto completion = [&]() noexcept {
            this_fiber::sleep_for(1s);
            completed = true;
        };
        barrier step{2, completion};
        fiber waits{[&] {
            step.arrive_and_wait();
            CHECK(completed);
        }};
        fiber last{[&] {
            this_fiber::yield();
            step.arrive_and_wait(); // completes, and has nothing to wait for any more
            CHECK(completed);
            CHECK_THROWS_AS(this_fiber::yield(), cancelled);
        }};
        this_fiber::sleep_for(500ms);
        CHECK(!completed);
        last.cancel();
        waits.join();
        last.join();
        CHECK(completed);
    });
}

TEST_CASE("arrive does not wait, and its token waits later, or not at all if the phase is over") {
    testing::run([] {
        barrier step{2};
        auto token = step.arrive();
        bool through = false;
        fiber other{[&] {
            step.arrive_and_wait();
            through = true;
        }};
        this_fiber::yield();
        {
            const no_suspend here;
            step.wait(std::move(token));
        }
        other.join();
        CHECK(through);
        auto both = step.arrive(2);
        const no_suspend here;
        step.wait(std::move(both));
    });
}

TEST_CASE("who drops out is counted once more, and not expected afterwards") {
    testing::run([] {
        int phases = 0;
        barrier step{3, [&]() noexcept { ++phases; }};
        fiber_group group;
        for (int i = 0; i < 2; ++i)
            group.spawn([&] {
                for (int phase = 0; phase < 3; ++phase)
                    step.arrive_and_wait();
            });
        group.spawn([&] { step.arrive_and_drop(); });
        group.join();
        CHECK(phases == 3);
    });
}

TEST_CASE("who is cancelled or cut off while waiting has arrived, and the others go on without it") {
    testing::run([] {
        int phases = 0;
        barrier step{3, [&]() noexcept { ++phases; }};
        fiber is_cancelled{[&] { CHECK_THROWS_AS(step.arrive_and_wait(), cancelled); }};
        fiber late{[&] {
            {
                const timeout limit{1s};
                CHECK_THROWS_AS(step.arrive_and_wait(), timed_out);
            }
            this_fiber::sleep_for(1s);
            step.arrive_and_wait(); // the next phase
            CHECK(phases == 2);
        }};
        this_fiber::yield();
        is_cancelled.cancel();
        is_cancelled.join();
        this_fiber::sleep_for(1500ms);
        CHECK(phases == 0);
        step.arrive_and_wait();
        CHECK(phases == 1);
        step.arrive_and_drop(); // for the one that was cancelled
        step.arrive_and_wait();
        CHECK(phases == 2);
    });
}

TEST_CASE("a token is good for another wait when the first was cut off, and so one can leave in order") {
    testing::run([] {
        int phases = 0;
        barrier step{2, [&]() noexcept { ++phases; }};
        fiber leaves{[&] {
            auto token = step.arrive();
            try {
                step.wait(std::move(token));
            } catch (const cancelled&) {
                const shield in_order;
                step.wait(std::move(token)); // NOLINT(bugprone-use-after-move): it has not been used up
                CHECK(phases == 1);
                step.arrive_and_drop();
                throw;
            }
        }};
        this_fiber::yield();
        leaves.cancel();
        this_fiber::sleep_for(1s);
        CHECK(phases == 0);
        for (int phase = 1; phase <= 3; ++phase) {
            step.arrive_and_wait();
            CHECK(phases == phase);
        }
    });
}

TEST_CASE("fibers of two hubs and plain threads go in step, and the completion sees all of their work") {
    constexpr int phases = 200;
    std::array<long, 6> work{}; // not atomic: each is its worker's, and in between the completion's
    long sum = 0;
    long expected = 0;
    int wrong = 0;
    auto completion = [&]() noexcept {
        expected += 6;
        sum = 0;
        for (long each : work)
            sum += each;
        wrong += sum != expected;
    };
    barrier step{6, completion};
    auto loop = [&](std::size_t index) {
        for (int phase = 0; phase < phases; ++phase) {
            ++work[index];
            step.arrive_and_wait();
            if (sum != 6L * (phase + 1))
                FAIL_CHECK("the phase went on before its completion");
        }
    };
    auto hub = [&](std::size_t index) {
        coir::run([&] {
            fiber a{loop, index};
            fiber b{loop, index + 1};
        });
    };
    std::thread one{loop, 4U};
    std::thread two{loop, 5U};
    std::thread other{hub, 2U};
    hub(0);
    one.join();
    two.join();
    other.join();
    CHECK(wrong == 0);
    CHECK(sum == 6L * phases);
}

TEST_CASE("the last to leave may destroy the barrier") {
    for (int i = 0; i < 200; ++i) {
        auto step = std::make_unique<barrier<>>(2);
        std::thread other{[&shared = *step] { static_cast<void>(shared.arrive()); }};
        step->arrive_and_wait();
        step.reset();
        other.join();
    }
    CHECK(true); // TSan and ASan look on
}

TEST_SUITE_END();
