// SPDX-License-Identifier: BSL-1.0
// Who runs next: the order that docs/guide/waiting-and-waking.md promises, and that nobody starves.
#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

constexpr int overtakes_max = 32; // the guide's figure

} // namespace

TEST_SUITE_BEGIN("ready_queue");

// ---- the order ------------------------------------------------------------------------------------------------------

TEST_CASE("who is started runs before those that were ready already, in the order of starting") {
    testing::run([] {
        std::string log;
        fiber a{[&] {
            log += 'a';
            fiber c{[&] { log += 'c'; }};
            fiber d{[&] { log += 'd'; }};
            log += '-';
            c.join();
            d.join();
            log += 'A';
        }};
        fiber b{[&] { log += 'b'; }};
        a.join();
        b.join();
        CHECK(log == "a-cdAb");
    });
}

TEST_CASE("who is woken runs after those that became ready with its waker, and before all others") {
    testing::run([] {
        std::string log;
        event wake;
        fiber sleeper{[&] {
            wake.wait();
            log += 's';
        }};
        this_fiber::yield();
        fiber parent{[&] {
            fiber first{[&] {
                log += '1';
                wake.set();
            }};
            fiber second{[&] { log += '2'; }};
            first.join();
            second.join();
        }};
        fiber other{[&] { log += 'o'; }};
        for (auto* each : {&sleeper, &parent, &other})
            each->join();
        CHECK(log == "12so");
    });
}

TEST_CASE("who gathers from ten that were started together is woken once") {
    testing::run([] {
        channel<int> parts{10};
        std::vector<fiber> children;
        int ran = 0;
        int seen_at_first = 0;
        for (int i = 0; i < 10; ++i)
            children.emplace_back([&, i] {
                ++ran;
                parts.send(i);
            });
        int sum = *parts.receive();
        seen_at_first = ran;
        for (int i = 1; i < 10; ++i)
            sum += *parts.receive();
        CHECK(sum == 45);
        CHECK(seen_at_first == 10);
    });
}

TEST_CASE("those that one fiber wakes run in the order of waking") {
    testing::run([] {
        std::string log;
        event wake;
        fiber_group sleepers;
        for (char letter = 'a'; letter <= 'j'; ++letter)
            sleepers.spawn([&, letter] {
                wake.wait();
                log += letter;
            });
        this_fiber::yield();
        fiber waker{[&] { wake.set(); }};
        waker.join();
        sleepers.join();
        CHECK(log == "abcdefghij");
    });
}

TEST_CASE("yield lets all run first that are ready, wherever they stand") {
    testing::run([] {
        int ran = 0;
        fiber_group group;
        for (int i = 0; i < 100; ++i)
            group.spawn([&] {
                ++ran;
                group.spawn([] {}); // may come later
            });
        this_fiber::yield();
        CHECK(ran == 100);
        group.join();
    });
}

TEST_CASE("nobody waits: then any number are started in order, and they are the next") {
    testing::run([] {
        std::vector<int> log;
        fiber_group group;
        for (int i = 0; i < 1000; ++i)
            group.spawn([&, i] { log.push_back(i); });
        group.join();
        std::vector<int> expected(1000);
        std::iota(expected.begin(), expected.end(), 0);
        CHECK(log == expected);
    });
}

TEST_CASE("a tree of fibers is walked in depth: few are alive at a time") {
    testing::run([] {
        int alive = 0;
        int most = 0;
        int leaves = 0;
        std::function<void(int)> walk = [&](int depth) {
            most = std::max(most, ++alive);
            if (depth == 0) {
                ++leaves;
            } else {
                std::vector<fiber> children;
                for (int i = 0; i < 10; ++i)
                    children.emplace_back([&, depth] { walk(depth - 1); });
                for (auto& each : children)
                    each.join();
            }
            --alive;
        };
        walk(4);
        CHECK(leaves == 10'000);
        CHECK(most <= 10); // those that run or wait; of 11,111
    });
}

// ---- nobody starves -------------------------------------------------------------------------------------------------

namespace {

/// The most that `counter` grew by while the caller waited for its turn once.
int longest_wait(const int& counter, int turns)
{
    int longest = 0;
    for (int i = 0; i < turns; ++i) {
        const int before = counter;
        this_fiber::yield();
        longest = std::max(longest, counter - before);
    }
    return longest;
}

} // namespace

TEST_CASE("a pair that wakes each other for ever lets others have their turn") {
    testing::run([] {
        counting_semaphore<> there{0};
        counting_semaphore<> back{0};
        int turns = 0;
        fiber one{[&] {
            for (;;) {
                ++turns;
                there.release();
                back.acquire();
            }
        }};
        fiber two{[&] {
            for (;;) {
                ++turns;
                there.acquire();
                back.release();
            }
        }};
        this_fiber::yield(); // both were ready before
        const int longest = longest_wait(turns, 1000);
        CHECK(longest > 1);
        CHECK(longest <= overtakes_max + 1);
        one.cancel();
        two.cancel();
    });
}

TEST_CASE("a line of fibers that each start the next lets others have their turn") {
    testing::run([] {
        int generations = 0;
        bool stop = false;
        fiber_group line;
        std::function<void()> next = [&] {
            ++generations;
            if (!stop)
                line.spawn([&] { next(); });
        };
        line.spawn([&] { next(); });
        this_fiber::yield();
        const int longest = longest_wait(generations, 1000);
        CHECK(longest > 1);
        CHECK(longest <= overtakes_max + 1);
        stop = true;
        line.join();
    });
}

TEST_CASE("a tree that grows for ever lets each of many others have its turn, in their order") {
    testing::run([] {
        bool stop = false;
        int started = 0;
        fiber_group tree;
        std::function<void()> grow = [&] {
            ++started;
            for (int i = 0; i < 2 && !stop; ++i)
                tree.spawn([&] {
                    grow();
                    this_fiber::yield();
                });
        };
        std::vector<int> log;
        fiber_group others;
        for (int i = 0; i < 20; ++i)
            others.spawn([&, i] {
                this_fiber::yield();
                log.push_back(i);
            });
        this_fiber::yield(); // they are in the queue
        tree.spawn([&] { grow(); });
        others.join();
        CHECK(log.size() == 20);
        CHECK(std::is_sorted(log.begin(), log.end()));
        CHECK(started <= 21 * (overtakes_max + 1));
        stop = true;
        tree.join();
    });
}

TEST_CASE("with somebody in the queue, a crowd that is woken overtakes by 32, and stays in order") {
    testing::run([] {
        std::vector<int> log;
        event wake;
        fiber_group crowd;
        for (int i = 0; i < 100; ++i)
            crowd.spawn([&, i] {
                wake.wait();
                log.push_back(i);
            });
        this_fiber::yield();
        fiber waker{[&] {
            this_fiber::yield(); // behind the other
            wake.set();
        }};
        fiber other{[&] {
            this_fiber::yield();
            log.push_back(-1);
        }};
        crowd.join();
        other.join();
        const auto turn = std::find(log.begin(), log.end(), -1);
        CHECK(turn - log.begin() == overtakes_max);
        log.erase(turn);
        CHECK(log.size() == 100);
        CHECK(std::is_sorted(log.begin(), log.end()));
    });
}

TEST_CASE("time goes on for others while a pair wakes each other") {
    coir::run([] { // would not end if the loop had no turn
        counting_semaphore<> there{0};
        counting_semaphore<> back{0};
        bool stop = false;
        fiber two{[&] {
            while (!stop) {
                there.acquire();
                back.release();
            }
        }};
        fiber clock{[&] {
            this_fiber::sleep_for(1ms);
            stop = true;
        }};
        while (!stop) {
            there.release();
            back.acquire();
        }
        there.release();
        two.join();
        clock.join();
    });
}

TEST_SUITE_END();
