// SPDX-License-Identifier: BSL-1.0
#include "timer_queue.hpp"

#include "seed.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("timer_queue");

TEST_CASE("timers come out in the order of their deadlines, when they are due") {
    timer_queue queue;
    queue.reserve(3);
    timer a;
    timer b;
    timer c;
    const clock::time_point zero{};
    CHECK(queue.empty());
    CHECK(queue.next() == never);
    queue.arm(b, zero + 2s);
    queue.arm(c, zero + 3s);
    queue.arm(a, zero + 1s);
    CHECK(queue.next() == zero + 1s);
    CHECK(queue.pop_due(zero) == nullptr);
    CHECK(queue.pop_due(zero + 2s) == &a);
    CHECK(!a.armed());
    CHECK(queue.pop_due(zero + 2s) == &b);
    CHECK(queue.pop_due(zero + 2s) == nullptr);
    CHECK(c.armed());
    CHECK(c.at() == zero + 3s);
    queue.disarm(c);
    CHECK(!c.armed());
    CHECK(queue.empty());
}

TEST_CASE("whatever is armed and disarmed, the queue agrees with a sorted map") {
    std::mt19937_64 random{support::seed()};
    CAPTURE(*support::seed_in_use);
    timer_queue queue;
    std::vector<timer> timers(200);
    queue.reserve(timers.size());
    std::multimap<clock::time_point, timer*> model;
    clock::time_point now{};

    for (int step = 0; step < 50'000; ++step) {
        auto& any = timers[random() % timers.size()];
        if (!any.armed()) {
            const auto at = now + std::chrono::nanoseconds{random() % 1000}; // many are equal
            queue.arm(any, at);
            model.emplace(at, &any);
        } else if (random() % 2) {
            const auto [begin, end] = model.equal_range(any.at());
            for (auto it = begin; it != end; ++it)
                if (it->second == &any) {
                    model.erase(it);
                    break;
                }
            queue.disarm(any);
        }
        if (random() % 16 == 0) {
            now += std::chrono::nanoseconds{random() % 100};
            while (auto* due = queue.pop_due(now)) {
                REQUIRE(!model.empty());
                REQUIRE(due->at() == model.begin()->first);
                const auto [begin, end] = model.equal_range(due->at());
                auto it = begin;
                while (it != end && it->second != due)
                    ++it;
                REQUIRE(it != end);
                model.erase(it);
            }
            REQUIRE((model.empty() || model.begin()->first > now));
        }
        REQUIRE(queue.empty() == model.empty());
        REQUIRE(queue.next() == (model.empty() ? never : model.begin()->first));
    }
}

TEST_SUITE_END();
