// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/async.hpp>
#include <coir/fiber.hpp>
#include <coir/promise.hpp>
#include <coir/testing.hpp>
#include <coir/wait_any.hpp>

#include <list>
#include <system_error>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

fiber sleeper(std::chrono::seconds duration)
{
    return fiber{[duration] { this_fiber::sleep_for(duration); }};
}

} // namespace

TEST_SUITE_BEGIN("wait_any");

TEST_CASE("wait_any tells which of several futures and fibers is done first") {
    testing::run([] {
        auto slow = async([] { this_fiber::sleep_for(3s); });
        auto quick = async([] {
                         this_fiber::sleep_for(1s);
                         return 5;
                     }).share();
        auto middle = sleeper(2s);
        const auto start = clock::now();
        CHECK(wait_any(slow, quick, middle) == 1);
        CHECK(clock::now() - start == 1s);
        CHECK(wait_any(slow, middle) == 1);
        CHECK(clock::now() - start == 2s);
        CHECK(quick.get() == 5);
        CHECK(middle.joinable());
        CHECK(slow.valid());
    });
}

TEST_CASE("wait_any of a range gives an iterator") {
    testing::run([] {
        std::vector<fiber> fibers;
        for (const auto seconds : {3s, 1s, 2s})
            fibers.push_back(sleeper(seconds));
        std::vector<fiber> ended;
        std::vector<std::ptrdiff_t> order;
        while (!fibers.empty()) {
            const auto first = wait_any(fibers);
            REQUIRE(first != fibers.end());
            order.push_back(first - fibers.begin());
            first->join();
            fibers.erase(first);
        }
        CHECK(order == std::vector<std::ptrdiff_t>{1, 1, 0});
        CHECK(wait_any(fibers) == fibers.end());

        std::list<future<int>> futures;
        promise<int> answer;
        futures.push_back(promise<int>{}.get_future()); // broken is done
        futures.push_back(answer.get_future());
        CHECK(wait_any(futures) == futures.begin());
    });
}

TEST_CASE("wait_any gives up at its deadline") {
    testing::run([] {
        auto worker = sleeper(2h);
        promise<void> answer;
        auto result = answer.get_future();
        const auto start = clock::now();
        CHECK(!wait_any_for(1s, worker, result));
        CHECK(!wait_any_until(start + 2s, worker, result));
        std::vector<future<void>> range;
        range.push_back(std::move(result));
        CHECK(wait_any_for(1s, range) == range.end());
        CHECK(wait_any_until(start + 4s, range) == range.end());
        CHECK(clock::now() - start == 4s);
        answer.set_value();
        CHECK(wait_any_for(1s, worker, range.front()) == 1);
        CHECK(clock::now() - start == 4s);
        worker.cancel();
    });
}

TEST_CASE("wait_all waits for the last") {
    testing::run([] {
        const auto start = clock::now();
        auto one = sleeper(1s);
        auto three = async([] { this_fiber::sleep_for(3s); });
        auto two = sleeper(2s);
        CHECK(!wait_all_for(1s, one, three, two));
        wait_all(one, three, two);
        CHECK(clock::now() - start == 3s);
        CHECK(wait_all_for(1s, one, three, two));
        std::vector<fiber> range;
        range.push_back(sleeper(1s));
        range.push_back(sleeper(2s));
        CHECK(!wait_all_until(start + 4s, range));
        CHECK(clock::now() - start == 4s);
        wait_all(range);
        CHECK(clock::now() - start == 5s);
    });
}

TEST_CASE("wait_all does not stop at a failure, and throws none") {
    testing::run([] {
        const auto start = clock::now();
        fiber failing{[] { throw 1; }};
        auto slow = sleeper(1s);
        wait_all(failing, slow);
        CHECK(clock::now() - start == 1s);
        CHECK_THROWS_AS(failing.join(), int);
    });
}

TEST_CASE("who is cancelled in wait_any has left every queue") {
    testing::run([] {
        promise<int> answer;
        const auto result = answer.get_future().share();
        auto worker = sleeper(1h);
        fiber other{[&] { CHECK_THROWS_AS(wait_any(result, worker), cancelled); }};
        fiber late{[&] {
            const timeout limit{1s};
            CHECK_THROWS_AS(wait_all(result, worker), timed_out);
        }};
        this_fiber::yield();
        other.cancel();
        other.join();
        late.join();
        answer.set_value(1);
        worker.cancel();
    });
}

TEST_CASE("a deferred function counts as done, and is not called") {
    testing::run([] {
        auto deferred = async(launch::deferred, [] { return 1; });
        auto worker = sleeper(1s);
        CHECK(wait_any(worker, deferred) == 1);
        wait_all(deferred);
        CHECK(deferred.wait_for(0s) == future_status::deferred);
        CHECK(deferred.get() == 1);
    });
}

TEST_CASE("wait_any refuses what there is nothing to wait for") {
    testing::run([] {
        CHECK_THROWS_AS(wait_any(fiber{}), std::system_error);
        CHECK_THROWS_AS(wait_any(future<int>{}), future_error);
    });
}

TEST_CASE("a plain thread waits for any of the results of two hubs") {
    for (int round = 0; round < 100; ++round) {
        promise<int> left;
        promise<int> right;
        std::vector<future<int>> results;
        results.push_back(left.get_future());
        results.push_back(right.get_future());
        std::thread left_hub{[&] { coir::run([&] { left.set_value(1); }); }};
        std::thread right_hub{[&] { coir::run([&] { right.set_value(1); }); }};
        const auto first = wait_any(results);
        CHECK(first->wait_for(0s) == future_status::ready);
        wait_all(results);
        CHECK(results[0].get() + results[1].get() == 2);
        left_hub.join();
        right_hub.join();
    }
}

TEST_SUITE_END();
