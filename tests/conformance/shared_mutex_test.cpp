// SPDX-License-Identifier: BSL-1.0
// [thread.sharedmutex.requirements], [thread.sharedtimedmutex.requirements] and [thread.lock.shared].
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <vector>

using namespace conformance;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("shared_mutex");

TEST_CASE_TEMPLATE("shared mutex types are default constructible, and neither copyable nor movable "
                   "[thread.sharedmutex.class]",
                   World, COIR_WORLDS) {
    auto check = []<class Mutex>(Mutex*) {
        static_assert(std::is_default_constructible_v<Mutex>);
        static_assert(!std::is_copy_constructible_v<Mutex>);
        static_assert(!std::is_copy_assignable_v<Mutex>);
        static_assert(!std::is_move_constructible_v<Mutex>);
        static_assert(std::is_same_v<decltype(std::declval<Mutex&>().try_lock_shared()), bool>);
        const Mutex unused;
        CHECK(sizeof unused > 0);
    };
    check(static_cast<typename World::shared_mutex*>(nullptr));
    check(static_cast<typename World::shared_timed_mutex*>(nullptr));
}

TEST_CASE_TEMPLATE("several hold it shared at the same time [thread.sharedmutex.requirements]", World, COIR_WORLDS) {
    World::run([] {
        typename World::shared_mutex door;
        typename World::latch together{3}; // each waits, inside, until all are inside
        auto read = [&] {
            std::shared_lock lock{door};
            together.arrive_and_wait();
        };
        typename World::thread a{read};
        typename World::thread b{read};
        read();
        a.join();
        b.join();
        CHECK(together.try_wait());
    });
}

TEST_CASE_TEMPLATE("nobody else holds it while one holds it alone [thread.sharedmutex.requirements]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::shared_mutex door;
        long left = 0;
        long right = 0;
        auto work = [&](int first) {
            for (int i = first; i < 100 + first; ++i)
                if (i % 3 == 0) {
                    std::unique_lock lock{door};
                    ++left;
                    if (i % 16 == 0)
                        World::yield();
                    ++right;
                } else {
                    std::shared_lock lock{door};
                    CHECK(left == right);
                }
        };
        typename World::thread a{work, 0};
        typename World::thread b{work, 3};
        typename World::thread c{work, 6};
        a.join();
        b.join();
        c.join();
        CHECK(left == 102);
        CHECK(right == 102);
    });
}

TEST_CASE_TEMPLATE("the try functions fail against who holds it alone, and try_lock against who holds it shared "
                   "[thread.sharedmutex.requirements]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::shared_mutex door;
        {
            std::unique_lock alone{door};
            typename World::thread other{[&] {
                CHECK(!door.try_lock());
                CHECK(!door.try_lock_shared());
                CHECK(!std::shared_lock{door, std::try_to_lock}.owns_lock());
            }};
            other.join();
        }
        std::shared_lock shared{door};
        typename World::thread other{[&] {
            CHECK(!door.try_lock());
            while (!door.try_lock_shared())
                World::yield();
            door.unlock_shared();
        }};
        other.join();
    });
}

TEST_CASE_TEMPLATE("limited attempts fail once their time is over [thread.sharedtimedmutex.requirements]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::shared_timed_mutex door;
        {
            std::unique_lock alone{door};
            typename World::thread other{[&] {
                CHECK(!door.try_lock_for(1ms));
                CHECK(!door.try_lock_shared_for(1ms));
                CHECK(!door.try_lock_until(std::chrono::steady_clock::now() + 1ms));
                CHECK(!door.try_lock_shared_until(std::chrono::system_clock::now() + 1ms));
                CHECK(!door.try_lock_shared_for(-1s));
                CHECK(!std::shared_lock{door, 1ms}.owns_lock());
            }};
            other.join();
        }
        std::shared_lock shared{door};
        typename World::thread other{[&] {
            CHECK(!door.try_lock_for(1ms));
            CHECK(std::shared_lock{door, 1h}.owns_lock());
        }};
        other.join();
    });
}

TEST_CASE_TEMPLATE("limited attempts obtain it when it is given up in time [thread.sharedtimedmutex.requirements]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::shared_timed_mutex door;
        bool given_up = false;
        std::unique_lock lock{door};
        typename World::thread writer{[&] {
            std::unique_lock inner{door, 1h};
            CHECK(inner.owns_lock());
            CHECK(given_up);
        }};
        typename World::thread reader{[&] {
            std::shared_lock inner{door, 1h};
            CHECK(inner.owns_lock());
            CHECK(given_up);
        }};
        World::let_others_run();
        given_up = true;
        lock.unlock();
        writer.join();
        reader.join();
    });
}

TEST_CASE_TEMPLATE("shared_lock takes, passes on and releases shared ownership [thread.lock.shared]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::shared_mutex door;
        std::shared_lock first{door, std::defer_lock};
        first.lock();
        std::shared_lock second{std::move(first)};
        CHECK(!first.owns_lock()); // NOLINT(bugprone-use-after-move): that is what is tested
        CHECK(second.owns_lock());
        CHECK(second.release() == &door);
        {
            const std::shared_lock adopted{door, std::adopt_lock};
        }
        typename World::thread other{[&] { std::unique_lock lock{door}; }};
        other.join();
    });
}

TEST_SUITE_END();
