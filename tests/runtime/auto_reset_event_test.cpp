// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/auto_reset_event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <string>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("auto_reset_event");

TEST_CASE("each set lets one through, who has waited longest") {
    testing::run([] {
        auto_reset_event bell;
        std::string log;
        fiber_group waiters;
        for (char letter : {'a', 'b', 'c'})
            waiters.spawn([&, letter] {
                bell.wait();
                log += letter;
            });
        this_fiber::yield();
        for (const char* expected : {"a", "ab", "abc"}) {
            bell.set();
            CHECK(!bell.try_wait()); // it was for the one who waited
            this_fiber::sleep_for(1s);
            CHECK(log == expected);
        }
        waiters.join();
    });
}

TEST_CASE("set without a waiter lets the next through at once, and only that one, however often it was set") {
    testing::run([] {
        auto_reset_event bell;
        bell.set();
        bell.set();
        {
            const no_suspend here;
            bell.wait();
        }
        CHECK(!bell.try_wait());
        CHECK(!bell.wait_for(1s));
        bell.set();
        CHECK(bell.try_wait());
        bell.set();
        bell.reset();
        CHECK(!bell.try_wait());
    });
}

TEST_CASE("waiting for an auto_reset_event ends when its time is over") {
    testing::run([] {
        auto_reset_event bell;
        const auto start = clock::now();
        CHECK(!bell.wait_for(1s));
        CHECK(clock::now() - start == 1s);
        CHECK(!bell.wait_until(start + 2s));
        CHECK(clock::now() - start == 2s);
        const timeout limit{1s};
        CHECK_THROWS_AS(bell.wait_for(1h), timed_out);
        CHECK(clock::now() - start == 3s);
        bell.set(); // for nobody who has gone
        CHECK(bell.try_wait());
    });
}

TEST_CASE("a set is not lost on a waiter that has been cancelled") {
    testing::run([] {
        auto_reset_event bell;
        bool through = false;
        fiber gone{[&] { CHECK_THROWS_AS(bell.wait(), cancelled); }};
        fiber next{[&] {
            bell.wait();
            through = true;
        }};
        this_fiber::yield();
        gone.cancel();
        bell.set(); // `gone` has not left the queue yet
        next.join();
        CHECK(through);
    });
}

TEST_CASE("who was let through and cancelled then has been let through") {
    testing::run([] {
        auto_reset_event bell;
        bool through = false;
        fiber waiter{[&] {
            bell.wait();
            through = true;
        }};
        this_fiber::yield();
        bell.set();
        waiter.cancel();
        waiter.join();
        CHECK(through);
        CHECK(!bell.try_wait());
    });
}

TEST_CASE("a plain thread and fibers of two hubs take turns by events") {
    constexpr int rounds = 300;
    auto_reset_event turn[3];
    long count = 0; // not atomic: whose turn it is has it alone
    auto work = [&](std::size_t who) {
        for (int i = 0; i < rounds; ++i) {
            turn[who].wait();
            ++count;
            turn[(who + 1) % 3].set();
        }
    };
    std::thread plain{work, 0U};
    std::thread hub{[&] { coir::run([&] { work(1); }); }};
    turn[0].set();
    coir::run([&] { work(2); });
    plain.join();
    hub.join();
    CHECK(count == 3L * rounds);
    CHECK(turn[0].try_wait());
}

TEST_CASE("who was let through may destroy the event") {
    for (int i = 0; i < 200; ++i) {
        auto bell = std::make_unique<auto_reset_event>();
        std::thread other{[&shared = *bell] { shared.set(); }};
        bell->wait();
        bell.reset();
        other.join();
    }
    CHECK(true); // TSan and ASan look on
}

TEST_SUITE_END();
