// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/generator.hpp>
#include <coir/map.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <list>
#include <memory>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("map");

TEST_CASE("map returns the results in the range's order, whichever call ends first") {
    testing::run([] {
        const auto start = clock::now();
        const std::vector seconds{3, 1, 2};
        auto doubled = coir::map(seconds, [](int each) {
            this_fiber::sleep_for(std::chrono::seconds{each});
            return each * 2;
        });
        static_assert(std::is_same_v<decltype(doubled), std::vector<int>>);
        CHECK(doubled == std::vector{6, 2, 4});
        CHECK(clock::now() - start == 3s);
        CHECK(coir::map(std::vector<int>{}, [](int each) { return each; }).empty());
    });
}

TEST_CASE("no more calls run at a time than allowed") {
    testing::run([] {
        const auto start = clock::now();
        int running = 0;
        int most = 0;
        coir::for_each(std::views::iota(0, 10),
                       [&](int) {
                           most = std::max(most, ++running);
                           this_fiber::sleep_for(1s);
                           --running;
                       },
                       {.concurrency = 4});
        CHECK(most == 4);
        CHECK(clock::now() - start == 3s);
    });
}

TEST_CASE("the first failure cancels the others and is rethrown") {
    testing::run([] {
        const auto start = clock::now();
        int started = 0;
        int cancelled_others = 0;
        auto work = [&](int each) {
            ++started;
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
        CHECK_THROWS_WITH(coir::map(std::views::iota(1, 1000), work, {.concurrency = 3}), "two");
        CHECK(started == 4); // 1, 2, 3, and 4 when 1 had ended
        CHECK(cancelled_others == 2);
        CHECK(clock::now() - start == 2s);
    });
}

TEST_CASE("an endless range is gone through as far as there is room") {
    testing::run([] {
        int given = 0;
        generator<int> naturals{[&](auto& yield) {
            for (;;)
                yield(given++);
        }};
        CHECK_THROWS_AS(coir::for_each(naturals,
                                       [](int each) {
                                           if (each == 50)
                                               throw std::out_of_range{"enough"};
                                           this_fiber::yield();
                                       },
                                       {.concurrency = 5}),
                        std::out_of_range);
        CHECK(given <= 50 + 5 + 2);
    });
}

TEST_CASE("elements that can be moved only, and results too") {
    testing::run([] {
        generator<std::unique_ptr<int>> owners{[](auto& yield) {
            for (int i = 0; i < 5; ++i)
                yield(std::make_unique<int>(i));
        }};
        auto more = coir::map(owners, [](std::unique_ptr<int> each) {
            this_fiber::yield();
            ++*each;
            return each;
        });
        REQUIRE(more.size() == 5);
        CHECK(*more[0] == 1);
        CHECK(*more[4] == 5);
    });
}

TEST_CASE("elements of a range that keeps them are referred to, others are taken along") {
    testing::run([] {
        std::list<std::string> words{"a", "b"};
        coir::for_each(words, [](std::string& word) { word += "!"; });
        CHECK(words == std::list<std::string>{"a!", "b!"});

        std::istringstream text{"1 2 3"}; // whose iterator has one place for all
        auto numbers = coir::map(std::ranges::istream_view<int>(text), [](int each) {
            this_fiber::yield();
            return each;
        });
        CHECK(numbers == std::vector{1, 2, 3});

        auto squares = words | std::views::transform([](const std::string& word) { return word + word; });
        CHECK(coir::map(squares, [](std::string&& word) { return std::move(word); }) ==
              std::vector<std::string>{"a!a!", "b!b!"});
    });
}

TEST_CASE("what the range throws ends the calls") {
    testing::run([] {
        const auto start = clock::now();
        generator<int> failing{[](auto& yield) {
            yield(1);
            throw std::runtime_error{"no more"};
        }};
        CHECK_THROWS_WITH(coir::for_each(failing, [](int) { this_fiber::sleep_for(1h); }), "no more");
        CHECK(clock::now() == start);
    });
}

TEST_CASE("who is cancelled takes the calls along") {
    testing::run([] {
        const auto start = clock::now();
        int cancelled_calls = 0;
        fiber caller{[&] {
            coir::for_each(std::views::iota(0, 100),
                           [&](int) {
                               try {
                                   this_fiber::sleep_for(1h);
                               } catch (const cancelled&) {
                                   ++cancelled_calls;
                                   throw;
                               }
                           },
                           {.concurrency = 10});
            FAIL("went on");
        }};
        this_fiber::sleep_for(1s);
        caller.cancel();
        caller.join();
        CHECK(cancelled_calls == 10);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("calls may be offloaded, or spread over hubs") {
    coir::run({.hubs = 2}, [] {
        auto squared = coir::map(std::views::iota(0, 100), offloaded([](int each) { return each * each; }));
        auto spread = coir::map(std::views::iota(0, 100),
                                [](int each) {
                                    this_fiber::yield();
                                    return each * each;
                                },
                                {.fibers = {.on = placement::any_hub}});
        CHECK(squared == spread);
        CHECK(squared[99] == 99 * 99);
    });
}

TEST_SUITE_END();
