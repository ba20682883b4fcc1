// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/packaged_task.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <stdexcept>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("packaged_task");

TEST_CASE("a packaged task sends what its function returns to a future") {
    testing::run([] {
        packaged_task<int(int)> square{[](int number) { return number * number; }};
        auto result = square.get_future();
        fiber worker{std::move(square), 7};
        CHECK(result.get() == 49);
    });
}

TEST_CASE("a packaged task sends what its function throws to the future") {
    testing::run([] {
        packaged_task<void()> failing{[] { throw std::runtime_error{"no"}; }};
        auto result = failing.get_future();
        fiber worker{std::move(failing)};
        CHECK_THROWS_AS(result.get(), std::runtime_error);
        worker.join();
    });
}

TEST_CASE("a cancelled task breaks its promise and ends its fiber") {
    testing::run([] {
        packaged_task<void()> sleeper{[] { this_fiber::sleep_for(1h); }};
        auto result = sleeper.get_future();
        bool went_on = false;
        fiber worker{[&] {
            sleeper();
            went_on = true;
        }};
        this_fiber::yield();
        worker.cancel();
        worker.join();
        CHECK(!went_on);
        try {
            result.get();
            FAIL_CHECK("there is no result");
        } catch (const future_error& error) {
            CHECK(error.code() == future_errc::broken_promise);
        }
    });
}

TEST_CASE("a task that ran out of time sends that to the future") {
    testing::run([] {
        packaged_task<void()> sleeper{[] {
            const timeout limit{1s};
            this_fiber::sleep_for(1h);
        }};
        auto result = sleeper.get_future();
        fiber worker{std::move(sleeper)};
        CHECK_THROWS_AS(result.get(), timed_out);
    });
}

TEST_CASE("a task is called once, or again after a reset") {
    int calls = 0;
    packaged_task<int()> count{[&calls, own = std::make_unique<int>(10)] { return *own + ++calls; }};
    auto first = count.get_future();
    CHECK_THROWS_AS((void)count.get_future(), future_error);
    count();
    CHECK_THROWS_AS(count(), future_error);
    CHECK(calls == 1);
    CHECK(first.get() == 11);
    count.reset();
    auto second = count.get_future();
    count();
    CHECK(second.get() == 12);
    count.reset();
    auto third = count.get_future();
    count.reset();
    CHECK_THROWS_AS(third.get(), future_error);
}

TEST_CASE("a task may be destroyed by who has its result") {
    for (int round = 0; round < 200; ++round) {
        auto task = std::make_unique<packaged_task<int()>>([] { return 1; });
        auto result = task->get_future();
        std::thread caller{[&called = *task] { called(); }};
        CHECK(result.get() == 1);
        task.reset();
        caller.join();
    }
}

TEST_CASE("an empty task is not valid") {
    packaged_task<int()> none;
    CHECK(!none.valid());
    CHECK_THROWS_AS((void)none.get_future(), future_error);
    CHECK_THROWS_AS(none(), future_error);
    CHECK_THROWS_AS(none.reset(), future_error);
    packaged_task<int()> some{[] { return 1; }};
    swap(none, some);
    CHECK(none.valid());
    CHECK(!some.valid());
}

TEST_SUITE_END();
