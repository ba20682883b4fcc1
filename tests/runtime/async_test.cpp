// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/async.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_local.hpp>
#include <coir/promise.hpp>
#include <coir/testing.hpp>
#include <coir/wait_any.hpp>

#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("async");

TEST_CASE("async calls functions in fibers of their own, and gives futures of their results") {
    testing::run([] {
        const auto start = clock::now();
        auto sum = [](const std::vector<int>& numbers) {
            this_fiber::sleep_for(1s);
            return std::accumulate(numbers.begin(), numbers.end(), 0);
        };
        auto left = async(sum, std::vector{1, 2, 3});
        auto right = async({.name = "right"}, sum, std::vector{4, 5});
        CHECK(left.get() + right.get() == 15);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("an async fiber has the name it was given") {
    testing::run([] {
        auto name = [] { return std::string{this_fiber::get_name()}; };
        CHECK(async({.name = "reader"}, name).get() == "reader");
        CHECK(async(launch::async, {.name = "writer"}, name).get() == "writer");
        CHECK(async(name).get() == "async");
    });
}

TEST_CASE("a function's exception is thrown by get") {
    testing::run([] {
        auto failing = async([]() -> int { throw std::runtime_error{"no"}; });
        CHECK_THROWS_AS(failing.get(), std::runtime_error);
    });
}

TEST_CASE("a failure that nobody asks for is let go") {
    testing::run([] { auto failing = async([] { throw std::runtime_error{"no"}; }); });
}

TEST_CASE("the future of an async waits for it in its destructor") {
    testing::run([] {
        const auto start = clock::now();
        bool stopped = false;
        {
            auto work = async([&] {
                this_fiber::sleep_for(1s);
                stopped = this_fiber::get_stop_token().stop_requested();
            });
        }
        CHECK(clock::now() - start == 1s);
        CHECK(!stopped);
        {
            shared_future<void> last;
            {
                const auto first = async([] { this_fiber::sleep_for(1s); }).share();
                last = first;
            }
            CHECK(clock::now() - start == 1s);
        }
        CHECK(clock::now() - start == 2s);
    });
}

TEST_CASE("an exception that passes the future cancels the async fiber") {
    testing::run([] {
        const auto start = clock::now();
        try {
            auto work = async([] { this_fiber::sleep_for(1h); });
            this_fiber::yield();
            throw 1;
        } catch (int) {
        }
        CHECK(clock::now() - start < 1h);
    });
}

TEST_CASE("a cancelled async has no result") {
    testing::run([] {
        auto work = async([]() -> int { throw cancelled{}; });
        try {
            work.get();
            FAIL_CHECK("there is no result");
        } catch (const future_error& error) {
            CHECK(error.code() == future_errc::broken_promise);
        }
    });
}

TEST_CASE("what the fiber keeps to itself is gone when the result is there") {
    testing::run([] {
        static fiber_local<std::shared_ptr<int>> kept;
        auto shared = std::make_shared<int>(1);
        auto work = async([own = shared] { *kept = own; });
        work.get();
        CHECK(shared.use_count() == 1);
    });
}

TEST_CASE("a deferred function is called by who waits first, and the others wait for it") {
    testing::run([] {
        fiber_id caller;
        int calls = 0;
        const auto work = async(launch::deferred, [&] {
                              ++calls;
                              caller = this_fiber::get_id();
                              this_fiber::sleep_for(1s);
                              return 3;
                          }).share();
        CHECK(work.wait_for(1h) == future_status::deferred);
        fiber first{[work] { CHECK(work.get() == 3); }};
        fiber second{[work] { CHECK(work.get() == 3); }};
        this_fiber::yield();
        CHECK(caller == first.get_id());
        CHECK(work.wait_for(0s) == future_status::timeout);
        first.join();
        second.join();
        CHECK(calls == 1);
    });
}

TEST_CASE("a deferred function that nobody asks for is not called") {
    testing::run([] {
        auto work = async(launch::deferred, [] { FAIL_CHECK("called"); });
        CHECK(work.valid());
    });
}

TEST_CASE("on a plain thread async defers, and must not be told to start a fiber") {
    auto work = async([](std::unique_ptr<int> number) { return *number; }, std::make_unique<int>(5));
    CHECK(work.wait_for(0s) == future_status::deferred);
    CHECK(work.get() == 5);
    CHECK_THROWS_AS((void)async(launch::async, [] {}), std::logic_error);
}

TEST_CASE("the future of an async may be waited for and destroyed on a plain thread") {
    for (int round = 0; round < 100; ++round) {
        promise<future<int>> hand_over;
        std::thread plain{[&] {
            auto work = hand_over.get_future().get();
            if (round % 2)
                CHECK(work.get() == round);
        }};
        coir::run([&] {
            hand_over.set_value(async([round] {
                this_fiber::yield();
                return round;
            }));
            this_fiber::yield();
            this_fiber::yield();
        });
        plain.join();
    }
}

TEST_CASE("asyncs that may run on any hub give their results to the one that asks") {
    coir::run({.hubs = 2}, [] {
        constexpr int count = 200;
        std::vector<future<int>> results;
        for (int i = 0; i < count; ++i)
            results.push_back(async({.on = placement::any_hub}, [i] {
                this_fiber::yield();
                return i;
            }));
        results.erase(results.begin()); // waits for it, wherever it is
        int sum = 0;
        while (!results.empty()) {
            const auto first = wait_any(results);
            sum += first->get();
            results.erase(first);
        }
        CHECK(sum == count * (count - 1) / 2);
    });
}

TEST_CASE("an async may return a reference, or nothing") {
    testing::run([] {
        int number = 1;
        auto refer = async([&]() -> int& { return number; });
        CHECK(&refer.get() == &number);
        auto shared = async([&]() -> int& { return number; }).share();
        CHECK(&shared.get() == &number);
        async([&] { number = 2; }).get();
        CHECK(number == 2);
    });
}

TEST_SUITE_END();
