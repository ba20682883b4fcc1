// SPDX-License-Identifier: BSL-1.0
// [thread.coord]: latch and barrier.
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>

using namespace conformance;

TEST_SUITE_BEGIN("coordination");

// ---- latch ----------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a latch is made at compile time from its count [thread.latch.class]", World, COIR_WORLDS) {
    using latch = typename World::latch;
    static_assert(latch::max() > 0);
    static_assert(!std::is_convertible_v<std::ptrdiff_t, latch>);
    static_assert(!std::is_copy_constructible_v<latch>);
    static_assert(!std::is_copy_assignable_v<latch>);
    static constinit latch made{3};
    CHECK(!std::as_const(made).try_wait());
}

TEST_CASE_TEMPLATE("wait returns when the count is 0, and what came before each count_down is seen then "
                   "[thread.latch.class]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::latch done{3};
        std::array<int, 3> work{};
        auto part = [&](std::size_t index) {
            work[index] = 1;
            done.count_down();
        };
        typename World::thread a{part, 0U};
        typename World::thread b{part, 1U};
        typename World::thread c{part, 2U};
        std::as_const(done).wait();
        CHECK(work == std::array<int, 3>{1, 1, 1});
        while (!done.try_wait()) // may fail without reason
            World::yield();
        done.wait();
        a.join();
        b.join();
        c.join();
    });
}

TEST_CASE_TEMPLATE("nobody gets through before the count is 0 [thread.latch.class]", World, COIR_WORLDS) {
    World::run([] {
        typename World::latch done{3};
        std::atomic<int> through{0};
        auto wait = [&] {
            done.wait();
            ++through;
        };
        typename World::thread a{wait};
        typename World::thread b{wait};
        done.count_down(2);
        done.count_down(0);
        World::let_others_run();
        CHECK(!done.try_wait());
        CHECK(through == 0);
        done.count_down();
        a.join();
        b.join();
        CHECK(through == 2);
    });
}

TEST_CASE_TEMPLATE("arrive_and_wait counts down and waits [thread.latch.class]", World, COIR_WORLDS) {
    World::run([] {
        typename World::latch all{4};
        std::atomic<int> arrived{0};
        auto meet = [&](std::ptrdiff_t as_many) {
            arrived += static_cast<int>(as_many);
            all.arrive_and_wait(as_many);
            CHECK(arrived == 4);
        };
        typename World::thread a{meet, 2};
        typename World::thread b{meet, 1};
        ++arrived;
        all.arrive_and_wait();
        a.join();
        b.join();
    });
}

TEST_CASE_TEMPLATE("a latch that expects nobody is open [thread.latch.class]", World, COIR_WORLDS) {
    World::run([] {
        const typename World::latch open{0};
        open.wait();
        while (!open.try_wait())
            World::yield();
        CHECK(true);
    });
}

// ---- barrier --------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a barrier is neither copyable nor movable, its token is movable [thread.barrier.class]", World,
                   COIR_WORLDS) {
    using barrier = typename World::template barrier<>;
    using token = typename barrier::arrival_token;
    static_assert(barrier::max() > 0);
    static_assert(!std::is_convertible_v<std::ptrdiff_t, barrier>);
    static_assert(!std::is_copy_constructible_v<barrier>);
    static_assert(!std::is_copy_assignable_v<barrier>);
    static_assert(std::is_nothrow_move_constructible_v<token>);
    static_assert(std::is_nothrow_move_assignable_v<token>);
    static_assert(std::is_nothrow_destructible_v<token>);
    static_assert(std::is_same_v<decltype(std::declval<barrier&>().arrive()), token>);
    World::run([] {
        barrier alone{1};
        alone.wait(alone.arrive());
        alone.arrive_and_wait();
        CHECK(true);
    });
}

TEST_CASE_TEMPLATE("nobody begins a phase before all have ended the one before [thread.barrier.class]", World,
                   COIR_WORLDS) {
    World::run([] {
        constexpr int phases = 20;
        typename World::template barrier<> step{3};
        std::array<int, 3> at{}; // each is written before the barrier, and read by the others behind it
        std::array<int, 3> wrong{};
        auto work = [&](std::size_t index) {
            for (int phase = 1; phase <= phases; ++phase) {
                at[index] = phase;
                step.arrive_and_wait();
                for (int other : at)
                    wrong[index] += other != phase;
                step.arrive_and_wait();
            }
        };
        typename World::thread a{work, 0U};
        typename World::thread b{work, 1U};
        work(2U);
        a.join();
        b.join();
        CHECK(wrong == std::array<int, 3>{});
        CHECK(at == std::array<int, 3>{phases, phases, phases});
    });
}

TEST_CASE_TEMPLATE("the completion runs once in each phase, after all arrivals and before anyone goes on "
                   "[thread.barrier.class]",
                   World, COIR_WORLDS) {
    World::run([] {
        constexpr int phases = 20;
        int completed = 0; // the completion's; the others read it in between
        std::array<int, 3> work{};
        int incomplete = 0;
        auto completion = [&]() noexcept {
            ++completed;
            for (int each : work)
                incomplete += each != completed;
        };
        typename World::template barrier<decltype(completion)> step{3, completion};
        auto run = [&](std::size_t index) {
            for (int phase = 1; phase <= phases; ++phase) {
                ++work[index];
                step.arrive_and_wait();
                CHECK(completed == phase);
            }
        };
        typename World::thread a{run, 0U};
        typename World::thread b{run, 1U};
        run(2U);
        a.join();
        b.join();
        CHECK(completed == phases);
        CHECK(incomplete == 0);
    });
}

TEST_CASE_TEMPLATE("arrive does not wait, and counts as often as it says [thread.barrier.class]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template barrier<> step{4};
        std::atomic<bool> through{false};
        auto token = step.arrive(2);
        typename World::thread other{[&] {
            step.arrive_and_wait();
            through = true;
        }};
        World::let_others_run();
        CHECK(!through);
        auto last = step.arrive();
        step.wait(std::move(token));
        step.wait(std::move(last)); // of the phase before the present one
        other.join();
        CHECK(through);
    });
}

TEST_CASE_TEMPLATE("who drops is counted in this phase and not expected in the next [thread.barrier.class]", World,
                   COIR_WORLDS) {
    World::run([] {
        int completed = 0;
        auto completion = [&]() noexcept { ++completed; };
        typename World::template barrier<decltype(completion)> step{3, completion};
        typename World::thread drops{[&] { step.arrive_and_drop(); }};
        auto stay = [&] {
            for (int phase = 0; phase < 3; ++phase)
                step.arrive_and_wait();
        };
        typename World::thread a{stay};
        typename World::thread b{stay};
        drops.join();
        a.join();
        b.join();
        CHECK(completed == 3);
    });
}

TEST_SUITE_END();
