// SPDX-License-Identifier: BSL-1.0
#include "hubs.hpp"

#include <doctest/doctest.h>

#include <coir/condition_variable.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("condition_variable");

TEST_CASE("a waiter gives the mutex up and has it again when it has been notified") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        bool ready = false;
        fiber waiter{[&] {
            std::unique_lock lock{guard};
            changed.wait(lock, [&] { return ready; });
            CHECK(lock.owns_lock());
            CHECK(!guard.try_lock());
        }};
        this_fiber::yield();
        {
            std::scoped_lock lock{guard};
            ready = true;
        }
        changed.notify_one();
        waiter.join();
        CHECK(guard.try_lock());
        guard.unlock();
    });
}

TEST_CASE("notify_one wakes who has waited longest, notify_all everyone in order") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        std::string log;
        auto wait = [&](char letter) {
            std::unique_lock lock{guard};
            changed.wait(lock);
            log += letter;
        };
        fiber a{wait, 'a'};
        fiber b{wait, 'b'};
        fiber c{wait, 'c'};
        fiber d{wait, 'd'};
        this_fiber::yield();
        changed.notify_one();
        this_fiber::sleep_for(1s);
        CHECK(log == "a");
        changed.notify_all();
        this_fiber::sleep_for(1s);
        CHECK(log == "abcd");
    });
}

TEST_CASE("a notification that nobody waits for is not kept") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        changed.notify_one();
        changed.notify_all();
        std::unique_lock lock{guard};
        CHECK(changed.wait_for(lock, 1s) == std::cv_status::timeout);
    });
}

TEST_CASE("wait_for and wait_until give up at their deadline with the mutex held") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        std::unique_lock lock{guard};
        const auto start = clock::now();
        CHECK(changed.wait_for(lock, 1h) == std::cv_status::timeout);
        CHECK(clock::now() - start == 1h);
        CHECK(!guard.try_lock());
        CHECK(changed.wait_until(lock, start + 2h) == std::cv_status::timeout);
        CHECK(clock::now() - start == 2h);
        CHECK(!changed.wait_for(lock, 1h, [] { return false; }));
        CHECK(clock::now() - start == 3h);
        CHECK(changed.wait_for(lock, 1h, [] { return true; }));
        CHECK(clock::now() - start == 3h);
    });
}

TEST_CASE("a predicate that holds at the deadline counts though nobody notified") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        bool ready = false;
        fiber silent{[&] {
            this_fiber::sleep_for(1s);
            ready = true;
        }};
        std::unique_lock lock{guard};
        CHECK(changed.wait_for(lock, 1min, [&] { return ready; }));
    });
}

TEST_CASE("the predicate's deadline is one for all of its wake-ups") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        const auto start = clock::now();
        fiber noisy{[&] {
            for (int i = 0; i < 20; ++i) {
                this_fiber::sleep_for(100ms);
                changed.notify_all();
            }
        }};
        std::unique_lock lock{guard};
        CHECK(!changed.wait_for(lock, 1s, [] { return false; }));
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("who is cancelled while waiting holds the mutex while it unwinds") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        std::string log;
        fiber waiter{[&] {
            std::unique_lock lock{guard};
            try {
                changed.wait(lock);
            } catch (const cancelled&) {
                CHECK(lock.owns_lock());
                CHECK(!guard.try_lock());
                log += "cancelled with the mutex";
                throw;
            }
        }};
        this_fiber::yield();
        std::unique_lock lock{guard};
        waiter.cancel();
        this_fiber::sleep_for(1s);
        CHECK(log.empty()); // it wants the mutex back first
        lock.unlock();
        waiter.join();
        CHECK(log == "cancelled with the mutex");
        CHECK(guard.try_lock());
        guard.unlock();
    });
}

TEST_CASE("a notification is not lost on a waiter that has been cancelled") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        std::string log;
        auto wait = [&](char letter) {
            std::unique_lock lock{guard};
            changed.wait(lock);
            log += letter;
        };
        fiber a{wait, 'a'};
        fiber b{wait, 'b'};
        this_fiber::yield();
        a.cancel();
        changed.notify_one(); // a has not left the queue yet
        b.join();
        CHECK(log == "b");
    });
}

TEST_CASE("a cancellation is not lost on a waiter that has been notified") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        std::string log;
        fiber a{[&] {
            std::unique_lock lock{guard};
            changed.wait(lock);
            log += "notified, ";
            CHECK_THROWS_AS(changed.wait(lock), cancelled);
            log += "cancelled";
        }};
        this_fiber::yield();
        changed.notify_one();
        a.cancel();
        a.join();
        CHECK(log == "notified, cancelled");
    });
}

TEST_CASE("a timeout around the wait cuts it off") {
    testing::run([] {
        mutex guard;
        condition_variable changed;
        std::unique_lock lock{guard};
        const auto start = clock::now();
        timeout limit{1s};
        CHECK_THROWS_AS(changed.wait_for(lock, 1h), timed_out);
        CHECK(clock::now() - start == 1s);
        CHECK(lock.owns_lock());
    });
}

TEST_CASE("jobs handed through a condition from a plain thread to two hubs are each done once") {
    constexpr int jobs = 2000;
    mutex guard;
    condition_variable changed;
    std::deque<int> queue;
    bool finished = false;
    std::vector<int> done(jobs, 0);
    auto work = [&] {
        std::unique_lock lock{guard};
        for (;;) {
            changed.wait(lock, [&] { return finished || !queue.empty(); });
            if (queue.empty())
                return;
            const int job = queue.front();
            queue.pop_front();
            lock.unlock();
            ++done[static_cast<std::size_t>(job)];
            lock.lock();
        }
    };
    std::thread one{[&] { support::in_two_fibers(work); }};
    std::thread two{[&] { support::in_two_fibers(work); }};
    for (int job = 0; job < jobs; ++job) {
        std::scoped_lock lock{guard};
        queue.push_back(job);
        changed.notify_one();
    }
    {
        std::scoped_lock lock{guard};
        finished = true;
    }
    changed.notify_all();
    one.join();
    two.join();
    CHECK(done == std::vector<int>(jobs, 1));
}

TEST_SUITE_END();
