// SPDX-License-Identifier: BSL-1.0
// What a recursive mutex adds; what it has in common with the others is in mutex_test.cpp, and one body does both.
#include "hubs.hpp"

#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/recursive_mutex.hpp>
#include <coir/testing.hpp>

#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("recursive_mutex");

TEST_CASE_TEMPLATE("the owner locks again without suspending, and is rid of it after as many unlocks", Mutex,
                   recursive_mutex, recursive_timed_mutex) {
    testing::run([] {
        Mutex door;
        auto others_may = [&] {
            bool taken = false;
            fiber{[&] {
                taken = door.try_lock();
                if (taken)
                    door.unlock();
            }}.join();
            return taken;
        };
        {
            const no_suspend here;
            door.lock();
            door.lock();
            CHECK(door.try_lock());
        }
        CHECK(!others_may());
        door.unlock();
        CHECK(!others_may());
        door.unlock();
        CHECK(!others_may());
        door.unlock();
        CHECK(others_may());
    });
}

TEST_CASE("a recursive mutex is handed over in order of arrival, at the last unlock") {
    testing::run([] {
        recursive_mutex door;
        std::string log;
        door.lock();
        door.lock();
        auto enter = [&](char letter) {
            std::scoped_lock outer{door};
            std::scoped_lock inner{door};
            this_fiber::yield();
            log += letter;
        };
        fiber a{enter, 'a'};
        fiber b{enter, 'b'};
        this_fiber::yield();
        door.unlock();
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        door.unlock();
        b.join();
        CHECK(log == "ab");
        CHECK(door.try_lock());
        door.unlock();
    });
}

TEST_CASE("two fibers of one thread are two owners") {
    testing::run([] {
        recursive_mutex door;
        int inside = 0;
        auto work = [&] {
            for (int i = 0; i < 10; ++i) {
                std::scoped_lock outer{door};
                std::scoped_lock inner{door};
                CHECK(++inside == 1);
                this_fiber::yield();
                --inside;
            }
        };
        fiber a{work};
        fiber b{work};
        a.join();
        b.join();
    });
}

TEST_CASE("an owner that is cancelled gives a recursive mutex up as it unwinds, as often as it had it") {
    testing::run([] {
        recursive_mutex door;
        fiber holder{[&] {
            std::scoped_lock outer{door};
            std::scoped_lock inner{door};
            this_fiber::sleep_for(1h);
        }};
        fiber cancelled_waiter{[&] { CHECK_THROWS_AS(door.lock(), cancelled); }};
        bool entered = false;
        fiber next{[&] {
            std::scoped_lock lock{door};
            entered = true;
        }};
        this_fiber::yield();
        cancelled_waiter.cancel();
        cancelled_waiter.join();
        holder.cancel();
        next.join();
        CHECK(entered);
    });
}

TEST_CASE("recursive_timed_mutex: the owner need not wait, others give up when their time is over") {
    testing::run([] {
        recursive_timed_mutex door;
        std::scoped_lock lock{door};
        const auto start = clock::now();
        CHECK(door.try_lock_for(1s));
        CHECK(door.try_lock_until(start));
        CHECK(clock::now() == start);
        door.unlock();
        door.unlock();
        fiber other{[&] {
            CHECK(!door.try_lock_for(1s));
            CHECK(clock::now() - start == 1s);
        }};
        other.join();
    });
}

TEST_CASE("fibers of two hubs and a plain thread lock a recursive mutex twice each, and no count is lost") {
    constexpr int turns = 500;
    recursive_timed_mutex door;
    long count = 0; // not atomic: the mutex guards it
    auto work = [&] {
        for (int i = 0; i < turns; ++i) {
            std::scoped_lock outer{door};
            ++count;
            std::unique_lock inner{door, 1h};
            ++count;
            if (i % 16 == 0)
                this_fiber::yield();
        }
    };
    support::on_two_hubs_and_a_thread(work);
    CHECK(count == 5L * 2 * turns);
}

TEST_SUITE_END();
