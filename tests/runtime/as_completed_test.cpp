// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/as_completed.hpp>
#include <coir/generator.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

int sleep_and_return(int seconds)
{
    this_fiber::sleep_for(std::chrono::seconds{seconds});
    return seconds;
}

} // namespace

TEST_SUITE_BEGIN("as_completed");

TEST_CASE("results come in the order in which the calls return") {
    testing::run([] {
        const auto start = clock::now();
        std::vector<int> seen;
        for (int each : coir::as_completed(std::vector{3, 1, 2}, sleep_and_return)) {
            seen.push_back(each);
            CHECK(clock::now() - start == std::chrono::seconds{each});
        }
        CHECK(seen == std::vector{1, 2, 3});
        for (int each : coir::as_completed(std::vector<int>{}, sleep_and_return))
            FAIL(each);
    });
}

TEST_CASE("who looks at the results slowly slows the calls down") {
    testing::run([] {
        int begun = 0;
        auto results =
            coir::as_completed(std::views::iota(0, 20), [&](int each) { return ++begun, each; }, {.concurrency = 3});
        CHECK(begun == 0);
        int looked_at = 0;
        for ([[maybe_unused]] int each : results) {
            this_fiber::sleep_for(1s);
            CHECK(begun <= ++looked_at + 3);
        }
        CHECK(looked_at == 20);
    });
}

TEST_CASE("results are there while a slow range is still being gone through") {
    testing::run([] {
        const auto start = clock::now();
        generator<int> slow{[](auto& yield) {
            for (int i = 1; i <= 3; ++i) {
                yield(i);
                this_fiber::sleep_for(1h);
            }
        }};
        std::vector<clock::duration> when;
        for ([[maybe_unused]] int each : coir::as_completed(slow, sleep_and_return))
            when.push_back(clock::now() - start);
        CHECK(when == std::vector<clock::duration>{1s, 1h + 2s, 2h + 3s});
    });
}

TEST_CASE("a failure comes out where the next result is wanted, and ends the others") {
    testing::run([] {
        const auto start = clock::now();
        int cancelled_others = 0;
        std::vector<int> seen;
        auto work = [&](int each) {
            try {
                this_fiber::sleep_for(std::chrono::seconds{each});
            } catch (const cancelled&) {
                ++cancelled_others;
                throw;
            }
            if (each == 2)
                throw std::runtime_error{"two"};
            return each;
        };
        auto results = coir::as_completed(std::vector{1, 2, 1000, 2000}, work);
        auto at = results.begin();
        CHECK(*at == 1);
        CHECK_THROWS_WITH(++at, "two");
        CHECK(cancelled_others == 2); // though the results are still there
        CHECK(clock::now() - start == 2s);
    });
}

TEST_CASE("what the range throws comes out too") {
    testing::run([] {
        generator<int> failing{[](auto& yield) {
            yield(5);
            throw std::runtime_error{"no more"};
        }};
        auto results = coir::as_completed(failing, sleep_and_return);
        CHECK_THROWS_WITH(results.begin(), "no more");
    });
}

TEST_CASE("to leave the results early ends the other calls") {
    testing::run([] {
        const auto start = clock::now();
        for (int each : coir::as_completed(std::vector{1000, 1, 2000}, sleep_and_return)) {
            CHECK(each == 1);
            break;
        }
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("who is cancelled while it waits for a result takes the calls along") {
    testing::run([] {
        const auto start = clock::now();
        fiber caller{[] {
            for ([[maybe_unused]] int each : coir::as_completed(std::vector{1000, 2000}, sleep_and_return))
                FAIL("a result");
        }};
        this_fiber::sleep_for(1s);
        caller.cancel();
        caller.join();
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("results that can be moved only are taken out") {
    testing::run([] {
        int sum = 0;
        for (auto& each : coir::as_completed(std::views::iota(0, 10), [](int i) { return std::make_unique<int>(i); })) {
            const std::unique_ptr<int> taken = std::move(each);
            sum += *taken;
        }
        CHECK(sum == 45);
    });
}

TEST_CASE("calls on several hubs complete for the one that asks") {
    coir::run({.hubs = 3}, [] {
        int sum = 0;
        for (int each : coir::as_completed(std::views::iota(0, 500),
                                           [](int i) {
                                               this_fiber::yield();
                                               return i;
                                           },
                                           {.concurrency = 20, .fibers = {.on = placement::any_hub}}))
            sum += each;
        CHECK(sum == 499 * 250);
    });
}

TEST_SUITE_END();
