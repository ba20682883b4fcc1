// SPDX-License-Identifier: BSL-1.0
// [thread.mutex] and [thread.lock] for the four mutex types.
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace conformance;
using namespace std::chrono_literals;

namespace {

template <class World, class Mutex> struct in {
    using world = World;
    using mutex = Mutex;
};

} // namespace

#define IN_WORLDS(TYPE)                                                                                                \
    in<std_world, std_world::TYPE>, in<fiber_world, fiber_world::TYPE>, in<hub_world, hub_world::TYPE>,                \
        in<thread_world, thread_world::TYPE>
#define PLAIN IN_WORLDS(mutex), IN_WORLDS(timed_mutex)
#define RECURSIVE IN_WORLDS(recursive_mutex), IN_WORLDS(recursive_timed_mutex)
#define TIMED IN_WORLDS(timed_mutex), IN_WORLDS(recursive_timed_mutex)

TEST_SUITE_BEGIN("mutex");

TEST_CASE_TEMPLATE("mutex types are default constructible, and neither copyable nor movable "
                   "[thread.mutex.requirements.mutex]",
                   In, PLAIN, RECURSIVE) {
    using mutex = typename In::mutex;
    static_assert(std::is_default_constructible_v<mutex>);
    static_assert(std::is_nothrow_destructible_v<mutex>);
    static_assert(!std::is_copy_constructible_v<mutex>);
    static_assert(!std::is_copy_assignable_v<mutex>);
    static_assert(!std::is_move_constructible_v<mutex>);
    static_assert(!std::is_move_assignable_v<mutex>);
    static_assert(std::is_void_v<decltype(std::declval<mutex&>().lock())>);
    static_assert(std::is_same_v<decltype(std::declval<mutex&>().try_lock()), bool>);
    static_assert(std::is_void_v<decltype(std::declval<mutex&>().unlock())>);
    const mutex unused;
    CHECK(sizeof unused > 0);
}

TEST_CASE_TEMPLATE("a mutex is initialised at compile time [thread.mutex.class]", World, COIR_WORLDS) {
    static_assert(std::is_nothrow_default_constructible_v<typename World::mutex>);
    static constinit typename World::mutex door;
    World::run([] { std::scoped_lock lock{door}; });
}

// Blocks until ownership can be obtained; what comes before an unlock() synchronizes with the lock() that follows.
TEST_CASE_TEMPLATE("lock keeps all others out, and what was written under it is seen by the next "
                   "[thread.mutex.requirements.mutex]",
                   In, PLAIN, RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        int inside = 0; // guarded by the mutex and nothing else, as TSan can tell
        long visits = 0;
        auto work = [&] {
            for (int i = 0; i < 100; ++i) {
                std::lock_guard lock{door};
                CHECK(++inside == 1);
                if (i % 16 == 0)
                    world::yield();
                --inside;
                ++visits;
            }
        };
        typename world::thread a{work};
        typename world::thread b{work};
        typename world::thread c{work};
        work();
        a.join();
        b.join();
        c.join();
        CHECK(visits == 400);
    });
}

TEST_CASE_TEMPLATE("lock does not return while another holds the mutex [thread.mutex.requirements.mutex]", In, PLAIN,
                   RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        bool given_up = false;
        bool seen = false;
        door.lock();
        typename world::thread other{[&] {
            std::lock_guard lock{door};
            seen = given_up;
        }};
        world::let_others_run();
        given_up = true;
        door.unlock();
        other.join();
        CHECK(seen);
    });
}

// An implementation may fail to obtain a mutex that nobody holds, but should not do so consistently.
TEST_CASE_TEMPLATE("try_lock fails while another holds the mutex, and not for ever when nobody does "
                   "[thread.mutex.requirements.mutex]",
                   In, PLAIN, RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        while (!door.try_lock())
            world::yield();
        typename world::thread other{[&] {
            CHECK(!door.try_lock());
            CHECK(!std::unique_lock{door, std::try_to_lock}.owns_lock());
        }};
        other.join();
        door.unlock();
        typename world::thread third{[&] {
            while (!door.try_lock())
                world::yield();
            door.unlock();
        }};
        third.join();
    });
}

TEST_CASE_TEMPLATE("a thread that owns a recursive mutex may acquire more levels, and must release each "
                   "[thread.mutex.recursive]",
                   In, RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        auto can_another = [&] {
            bool can = false;
            typename world::thread other{[&] {
                can = door.try_lock();
                if (can)
                    door.unlock();
            }};
            other.join();
            return can;
        };
        door.lock();
        door.lock();
        CHECK(door.try_lock());
        for (int levels = 3; levels > 0; --levels) {
            CHECK(!can_another());
            door.unlock();
        }
        while (!can_another())
            world::yield();
    });
}

TEST_CASE_TEMPLATE("try_lock_for and try_lock_until fail, once the time is over, while another holds the mutex "
                   "[thread.timedmutex.requirements]",
                   In, TIMED) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        std::unique_lock lock{door};
        typename world::thread other{[&] {
            CHECK(!door.try_lock_for(1ms));
            CHECK(!door.try_lock_until(std::chrono::steady_clock::now() + 1ms));
            CHECK(!door.try_lock_until(std::chrono::system_clock::now() + 1ms));
            CHECK(!std::unique_lock{door, 1ms}.owns_lock());
        }};
        other.join();
    });
}

TEST_CASE_TEMPLATE("without time left, try_lock_for and try_lock_until are as try_lock "
                   "[thread.timedmutex.requirements]",
                   In, TIMED) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        while (!door.try_lock_for(0s))
            world::yield();
        typename world::thread other{[&] {
            CHECK(!door.try_lock_for(0s));
            CHECK(!door.try_lock_for(-1h));
            CHECK(!door.try_lock_until(std::chrono::steady_clock::now() - 1h));
        }};
        other.join();
        door.unlock();
        while (!door.try_lock_until(std::chrono::steady_clock::now() - 1h))
            world::yield();
        door.unlock();
    });
}

TEST_CASE_TEMPLATE("try_lock_for obtains the mutex when its owner gives it up in time "
                   "[thread.timedmutex.requirements]",
                   In, TIMED) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        bool given_up = false;
        std::unique_lock lock{door};
        typename world::thread other{[&] {
            std::unique_lock inner{door, 1h};
            CHECK(inner.owns_lock());
            CHECK(given_up);
        }};
        world::let_others_run();
        given_up = true;
        lock.unlock();
        other.join();
    });
}

// [thread.lock.scoped], [thread.lock.algorithm]: std::lock does not deadlock, std::try_lock says which one failed.
TEST_CASE_TEMPLATE("std::lock and std::scoped_lock take several mutexes in any order without deadlock "
                   "[thread.lock.algorithm]",
                   In, PLAIN, RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex a;
        typename In::mutex b;
        typename In::mutex c;
        long visits = 0;
        using mutex = typename In::mutex;
        auto work = [&](mutex& first, mutex& second, mutex& third) {
            for (int i = 0; i < 50; ++i) {
                std::scoped_lock all{first, second, third};
                ++visits;
                if (i % 16 == 0)
                    world::yield();
            }
        };
        typename world::thread one{work, std::ref(a), std::ref(b), std::ref(c)};
        typename world::thread two{work, std::ref(b), std::ref(c), std::ref(a)};
        typename world::thread three{work, std::ref(c), std::ref(b), std::ref(a)};
        one.join();
        two.join();
        three.join();
        CHECK(visits == 150);
    });
}

TEST_CASE_TEMPLATE("std::try_lock says which mutex another holds, and holds none then [thread.lock.algorithm]", In,
                   PLAIN, RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex a;
        typename In::mutex b;
        std::unique_lock held{b};
        typename world::thread other{[&] {
            CHECK(std::try_lock(a, b) == 1);
            CHECK(std::try_lock(b, a) == 0);
        }};
        other.join();
        held.unlock();
        typename world::thread third{[&] {
            std::lock(a, b);
            a.unlock();
            b.unlock();
        }};
        third.join();
    });
}

// [thread.lock.unique]: deferred, adopted and released ownership.
TEST_CASE_TEMPLATE("unique_lock takes, adopts, passes on and releases ownership [thread.lock.unique]", In, PLAIN,
                   RECURSIVE) {
    using world = typename In::world;
    world::run([] {
        typename In::mutex door;
        std::unique_lock later{door, std::defer_lock};
        CHECK(!later.owns_lock());
        later.lock();
        std::unique_lock passed{std::move(later)};
        CHECK(!later.owns_lock()); // NOLINT(bugprone-use-after-move): that is what is tested
        CHECK(passed.owns_lock());
        typename In::mutex* const released = passed.release();
        CHECK(released == &door);
        {
            const std::lock_guard adopted{door, std::adopt_lock};
        }
        typename world::thread other{[&] { std::lock_guard lock{door}; }};
        other.join();
        CHECK_THROWS_AS(passed.unlock(), std::system_error);
    });
}

TEST_SUITE_END();
