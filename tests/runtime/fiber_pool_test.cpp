// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber_pool.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("fiber_pool");

TEST_CASE("no more fibers run at a time than the pool has room for, and all run") {
    testing::run([] {
        const auto start = clock::now();
        int running = 0;
        int most = 0;
        int ended = 0;
        fiber_pool pool{3};
        for (int i = 0; i < 10; ++i)
            CHECK(pool.spawn([&] {
                most = std::max(most, ++running);
                this_fiber::sleep_for(1s);
                --running;
                ++ended;
            }));
        CHECK(pool.size() <= 3);
        CHECK(clock::now() - start == 3s); // spawn has waited
        pool.join();
        CHECK(pool.size() == 0);
        CHECK(most == 3);
        CHECK(ended == 10);
        CHECK(clock::now() - start == 4s);
    });
}

TEST_CASE("try_spawn does not wait for room") {
    testing::run([] {
        fiber_pool pool{1};
        CHECK(pool.try_spawn([] { this_fiber::sleep_for(1s); }));
        CHECK(!pool.try_spawn([] { FAIL("started"); }));
        this_fiber::sleep_for(2s);
        bool ran = false;
        CHECK(pool.try_spawn(
            {.name = "named"}, [&](std::stop_token, int value) { ran = value == 7; }, 7));
        pool.join();
        CHECK(ran);
    });
}

TEST_CASE("a failure ends the others, starts no more and comes out of join") {
    testing::run([] {
        const auto start = clock::now();
        int cancelled_others = 0;
        fiber_pool pool{3};
        auto wait = [&] {
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                ++cancelled_others;
                throw;
            }
        };
        CHECK(pool.spawn(wait));
        CHECK(pool.spawn(wait));
        CHECK(pool.spawn([] {
            this_fiber::sleep_for(1s);
            throw std::runtime_error{"one"};
        }));
        CHECK(!pool.spawn([] { FAIL("started"); })); // waited for room, and then there was a failure
        CHECK(!pool.try_spawn([] { FAIL("started"); }));
        CHECK_THROWS_WITH(pool.join(), "one");
        CHECK(cancelled_others == 2);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("a fiber that runs out of time has failed, one that is cancelled has not") {
    testing::run([] {
        fiber_pool pool{2};
        CHECK(pool.spawn([] {
            timeout limit{1s};
            this_fiber::sleep_for(1h);
        }));
        this_fiber::sleep_for(2s);
        CHECK(!pool.spawn([] {}));
        CHECK_THROWS_AS(pool.join(), timed_out);

        fiber_pool other{2};
        CHECK(other.spawn([] { throw cancelled{}; }));
        this_fiber::sleep_for(1s);
        CHECK(other.spawn([] {}));
        other.join();
    });
}

TEST_CASE("a cancelled pool starts no more") {
    testing::run([] {
        const auto start = clock::now();
        fiber_pool pool{2};
        CHECK(pool.spawn([] { this_fiber::sleep_for(1h); }));
        pool.cancel();
        CHECK(!pool.spawn([] { FAIL("started"); }));
        pool.join();
        CHECK(clock::now() == start);
    });
}

TEST_CASE("who is cancelled while it waits for room leaves the pool as it is") {
    testing::run([] {
        fiber_pool pool{1};
        CHECK(pool.spawn([] { this_fiber::sleep_for(5s); }));
        fiber spawner{[&] { pool.spawn([] { FAIL("started"); }); }};
        this_fiber::sleep_for(1s);
        spawner.cancel();
        spawner.join();
        CHECK(pool.size() == 1);
        pool.join();
        CHECK(pool.spawn([] {}));
        pool.join();
    });
}

TEST_CASE("a pool that is left because of an exception ends its fibers") {
    testing::run([] {
        const auto start = clock::now();
        try {
            fiber_pool pool{2};
            pool.spawn([] { this_fiber::sleep_for(1h); });
            this_fiber::yield();
            throw std::runtime_error{"mine"};
        } catch (const std::runtime_error& error) {
            CHECK(std::string{error.what()} == "mine");
        }
        CHECK(clock::now() == start);
    });
}

TEST_CASE("a pool without room makes no sense") {
    CHECK_THROWS_AS(fiber_pool{0}, std::invalid_argument);
}

TEST_CASE("a pool's fibers may be spread over several hubs") {
    coir::run({.hubs = 3}, [] {
        std::atomic<int> running{0};
        std::atomic<int> most{0};
        std::atomic<int> ended{0};
        fiber_pool pool{5};
        for (int i = 0; i < 300; ++i)
            pool.spawn({.on = placement::any_hub}, [&] {
                const int now = ++running;
                for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {}
                this_fiber::yield();
                --running;
                ++ended;
            });
        pool.join();
        CHECK(ended == 300);
        CHECK(most <= 5);
    });
}

TEST_SUITE_END();
