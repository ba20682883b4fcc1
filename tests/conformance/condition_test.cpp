// SPDX-License-Identifier: BSL-1.0
// [thread.condition]: what condition_variable and condition_variable_any have in common, and what only the latter has.
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

using namespace conformance;
using namespace std::chrono_literals;

namespace {

template <class World, class Condition, class Mutex = typename World::mutex> struct in {
    using world = World;
    using condition = Condition;
    using mutex = Mutex;
};

} // namespace

#define IN(WORLD)                                                                                                      \
    in<WORLD, WORLD::condition_variable>, in<WORLD, WORLD::condition_variable_any>,                                    \
        in<WORLD, WORLD::condition_variable_any, WORLD::shared_timed_mutex>
#define BOTH IN(std_world), IN(fiber_world), IN(hub_world), IN(thread_world)

TEST_SUITE_BEGIN("condition");

TEST_CASE_TEMPLATE("wait gives the lock up and has it again when it returns [thread.condition.condvar]", In, BOTH) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        typename In::condition changed;
        int state = 0;
        typename world::thread other{[&] {
            std::unique_lock lock{door};
            state = 1;
            changed.notify_all();
            changed.wait(lock, [&] { return state == 2; });
            CHECK(lock.owns_lock());
            state = 3;
            changed.notify_all();
        }};
        std::unique_lock lock{door};
        changed.wait(lock, [&] { return state == 1; });
        CHECK(lock.owns_lock());
        state = 2;
        changed.notify_one();
        while (state != 3)
            changed.wait(lock);
        lock.unlock();
        other.join();
    });
}

// The three parts of a wait are atomic: giving up the lock and beginning to wait, so that a notification sent under the
// lock, after the predicate was found false, always arrives.
TEST_CASE_TEMPLATE("no notification is lost between the predicate and the wait [thread.condition.general]", In, BOTH) {
    using world = typename In::world;
    world::run([] {
        constexpr int rounds = 100;
        typename In::mutex door;
        typename In::condition changed;
        int turn = 0;
        auto play = [&](int mine) {
            for (int i = 0; i < rounds; ++i) {
                std::unique_lock lock{door};
                changed.wait(lock, [&] { return turn % 2 == mine; });
                ++turn;
                changed.notify_one();
            }
        };
        typename world::thread other{play, 1};
        play(0);
        other.join();
        CHECK(turn == 2 * rounds);
    });
}

TEST_CASE_TEMPLATE("notify_all unblocks everyone who waits [thread.condition.condvar]", In, BOTH) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        typename In::condition changed;
        typename In::condition came;
        int waiting = 0;
        bool open = false;
        auto wait = [&] {
            std::unique_lock lock{door};
            ++waiting;
            came.notify_one();
            changed.wait(lock, [&] { return open; });
            --waiting;
        };
        typename world::thread a{wait};
        typename world::thread b{wait};
        typename world::thread c{wait};
        {
            std::unique_lock lock{door};
            came.wait(lock, [&] { return waiting == 3; });
            open = true;
        }
        changed.notify_all();
        a.join();
        b.join();
        c.join();
        CHECK(waiting == 0);
    });
}

TEST_CASE_TEMPLATE("each notify_one unblocks at least one of those who wait [thread.condition.condvar]", In, BOTH) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        typename In::condition changed;
        int waiting = 0;
        int tokens = 0;
        auto take = [&] {
            std::unique_lock lock{door};
            ++waiting;
            changed.wait(lock, [&] { return tokens > 0; });
            --tokens;
        };
        typename world::thread a{take};
        typename world::thread b{take};
        for (bool both = false; !both;) {
            world::let_others_run();
            std::unique_lock lock{door};
            both = waiting == 2;
        }
        for (int i = 0; i < 2; ++i) {
            {
                std::unique_lock lock{door};
                ++tokens;
            }
            changed.notify_one();
        }
        a.join();
        b.join();
        CHECK(tokens == 0);
    });
}

TEST_CASE_TEMPLATE("wait_for and wait_until return timeout, or what the predicate says, with the lock held "
                   "[thread.condition.condvar]",
                   In, BOTH) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        typename In::condition changed;
        std::unique_lock lock{door};
        while (changed.wait_for(lock, 1ms) != std::cv_status::timeout) {} // may wake without reason
        CHECK(lock.owns_lock());
        while (changed.wait_until(lock, std::chrono::steady_clock::now() + 1ms) != std::cv_status::timeout) {}
        while (changed.wait_until(lock, std::chrono::system_clock::now() + 1ms) != std::cv_status::timeout) {}
        while (changed.wait_until(lock, std::chrono::steady_clock::now() - 1h) != std::cv_status::timeout) {}
        CHECK(!changed.wait_for(lock, 1ms, [] { return false; }));
        CHECK(changed.wait_for(lock, 1ms, [] { return true; }));
        CHECK(!changed.wait_until(lock, std::chrono::steady_clock::now() - 1h, [] { return false; }));
        CHECK(changed.wait_until(lock, std::chrono::steady_clock::now() - 1h, [] { return true; }));
        int calls = 0; // at the end of the time the predicate is asked once more
        CHECK(changed.wait_for(lock, 1ms, [&] { return ++calls == 2; }));
        CHECK(lock.owns_lock());
    });
}

TEST_CASE_TEMPLATE("a notification ends a limited wait before its time [thread.condition.condvar]", In, BOTH) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        typename In::condition changed;
        bool ready = false;
        typename world::thread other{[&] {
            std::unique_lock lock{door};
            ready = true;
            changed.notify_one();
        }};
        std::unique_lock lock{door};
        CHECK(changed.wait_for(lock, 1h, [&] { return ready; }));
        lock.unlock();
        other.join();
    });
}

// The destructor only requires that all have been notified: they need not have returned from wait.
TEST_CASE_TEMPLATE("a condition may be destroyed when everyone has been notified [thread.condition.condvar]", In,
                   BOTH) {
    using world = typename In::world;
    world::run([] {
        for (int i = 0; i < 20; ++i) {
            typename In::mutex door;
            auto changed = std::make_unique<typename In::condition>();
            bool waits = false;
            typename world::thread other{[&] {
                std::unique_lock lock{door};
                waits = true;
                changed->wait(lock); // with a predicate it would be used once more
            }};
            for (bool in = false; !in;) {
                world::yield();
                std::unique_lock lock{door};
                in = waits;
                if (in)
                    changed->notify_all();
            }
            changed.reset();
            other.join();
        }
    });
}

TEST_CASE_TEMPLATE("a condition_variable_any takes any lock [thread.condition.condvarany]", World, COIR_WORLDS) {
    World::run([] {
        auto with = [](auto& lock) {
            typename World::condition_variable_any changed;
            bool ready = false;
            typename World::thread other{[&] {
                lock.lock();
                ready = true;
                lock.unlock();
                changed.notify_one();
            }};
            lock.lock();
            changed.wait(lock, [&] { return ready; });
            lock.unlock();
            other.join();
        };
        typename World::mutex plain;
        typename World::timed_mutex timed;
        typename World::recursive_mutex recursive;
        typename World::shared_mutex shared;
        with(plain);
        with(timed);
        with(recursive);
        with(shared);
    });
}

// ---- interruptible waits --------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a stop request ends a wait, which returns what the predicate says "
                   "[thread.condvarany.intwait]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::mutex door;
        typename World::condition_variable_any changed;
        bool waits = false;
        typename World::thread other{[&](std::stop_token stop) {
            std::unique_lock lock{door};
            waits = true;
            CHECK(!changed.wait(lock, stop, [] { return false; }));
            CHECK(lock.owns_lock());
            CHECK(stop.stop_requested());
        }};
        for (bool in = false; !in;) {
            World::yield();
            std::unique_lock lock{door};
            in = waits;
        }
        other.request_stop();
        other.join();
    });
}

TEST_CASE_TEMPLATE("with a stop requested already, the predicate is asked once, and nobody waits "
                   "[thread.condvarany.intwait]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::mutex door;
        typename World::condition_variable_any changed;
        std::stop_source source;
        source.request_stop();
        std::unique_lock lock{door};
        int calls = 0;
        CHECK(!changed.wait(lock, source.get_token(), [&] {
            ++calls;
            return false;
        }));
        CHECK(calls == 1);
        CHECK(changed.wait(lock, source.get_token(), [] { return true; }));
        CHECK(!changed.wait_for(lock, source.get_token(), 1h, [] { return false; }));
        CHECK(
            !changed.wait_until(lock, source.get_token(), std::chrono::steady_clock::now() + 1h, [] { return false; }));
    });
}

TEST_CASE_TEMPLATE("with a stop_token, a wait still ends by a notification, or in time "
                   "[thread.condvarany.intwait]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::mutex door;
        typename World::condition_variable_any changed;
        std::stop_source source;
        bool ready = false;
        typename World::thread other{[&] {
            std::unique_lock lock{door};
            ready = true;
            changed.notify_one();
        }};
        std::unique_lock lock{door};
        CHECK(changed.wait(lock, source.get_token(), [&] { return ready; }));
        CHECK(!changed.wait_for(lock, source.get_token(), 1ms, [] { return false; }));
        CHECK(!changed.wait_until(lock, source.get_token(), std::chrono::steady_clock::now() + 1ms,
                                  [] { return false; }));
        CHECK(changed.wait_for(lock, source.get_token(), 1h, [&] { return ready; }));
        lock.unlock();
        other.join();
    });
}

TEST_CASE_TEMPLATE("however a stop request and a wait meet, the wait ends [thread.condvarany.intwait]", World,
                   COIR_WORLDS) {
    World::run([] {
        for (int i = 0; i < 50; ++i) {
            typename World::mutex door;
            typename World::condition_variable_any changed;
            typename World::thread other{[&](std::stop_token stop) {
                std::unique_lock lock{door};
                CHECK(!changed.wait(lock, stop, [] { return false; }));
            }};
            if (i % 2 == 0)
                World::yield();
            other.request_stop();
            other.join();
        }
    });
}

TEST_SUITE_END();
