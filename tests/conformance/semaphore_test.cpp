// SPDX-License-Identifier: BSL-1.0
// [thread.sema].
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>

using namespace conformance;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("semaphore");

TEST_CASE_TEMPLATE("a semaphore is made at compile time from its count, and says how much it holds "
                   "[thread.sema.cnt]",
                   World, COIR_WORLDS) {
    using semaphore = typename World::template counting_semaphore<10>;
    static_assert(semaphore::max() >= 10);
    static_assert(World::binary_semaphore::max() >= 1);
    static_assert(!std::is_convertible_v<std::ptrdiff_t, semaphore>);
    static_assert(!std::is_copy_constructible_v<semaphore>);
    static_assert(!std::is_copy_assignable_v<semaphore>);
    static_assert(!std::is_default_constructible_v<semaphore>);
    if constexpr (!std::is_same_v<World, std_world>) { // libstdc++ 12 has forgotten a constexpr
        static constinit semaphore made{3};
        CHECK(made.try_acquire());
    }
}

TEST_CASE_TEMPLATE("as many get through as the count says, and try_acquire fails then [thread.sema.cnt]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::template counting_semaphore<10> permits{3};
        permits.acquire();
        while (!permits.try_acquire()) // may fail without reason
            World::yield();
        CHECK(permits.try_acquire_for(1h));
        CHECK(!permits.try_acquire());
        CHECK(!permits.try_acquire_for(1ms));
        CHECK(!permits.try_acquire_for(-1h));
        CHECK(!permits.try_acquire_until(std::chrono::steady_clock::now() + 1ms));
        CHECK(!permits.try_acquire_until(std::chrono::system_clock::now() - 1h));
        permits.release();
        permits.acquire();
        permits.release(2);
        permits.acquire();
        permits.acquire();
        CHECK(!permits.try_acquire());
        permits.release(0);
        CHECK(!permits.try_acquire());
    });
}

TEST_CASE_TEMPLATE("acquire waits for release, and what came before the release is seen after it "
                   "[thread.sema.cnt]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::binary_semaphore ping{0};
        typename World::binary_semaphore pong{0};
        int ball = 0; // guarded by the semaphores
        typename World::thread other{[&] {
            for (int i = 0; i < 100; ++i) {
                ping.acquire();
                CHECK(++ball == 2 * i + 2);
                pong.release();
            }
        }};
        for (int i = 0; i < 100; ++i) {
            CHECK(++ball == 2 * i + 1);
            ping.release();
            pong.acquire();
        }
        other.join();
        CHECK(ball == 200);
    });
}

TEST_CASE_TEMPLATE("release of several unblocks as many [thread.sema.cnt]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template counting_semaphore<5> permits{0};
        std::atomic<int> through{0};
        auto wait = [&] {
            permits.acquire();
            ++through;
        };
        typename World::thread a{wait};
        typename World::thread b{[&] {
            CHECK(permits.try_acquire_for(1h));
            ++through;
        }};
        typename World::thread c{wait};
        World::let_others_run();
        CHECK(through == 0);
        permits.release(3);
        a.join();
        b.join();
        c.join();
        CHECK(through == 3);
        CHECK(!permits.try_acquire());
    });
}

TEST_CASE_TEMPLATE("no more are inside than the semaphore lets in [thread.sema.cnt]", World, COIR_WORLDS) {
    World::run([] {
        typename World::template counting_semaphore<2> permits{2};
        std::atomic<int> inside{0};
        auto work = [&] {
            for (int i = 0; i < 50; ++i) {
                permits.acquire();
                CHECK(++inside <= 2);
                if (i % 8 == 0)
                    World::yield();
                --inside;
                permits.release();
            }
        };
        typename World::thread a{work};
        typename World::thread b{work};
        typename World::thread c{work};
        a.join();
        b.join();
        c.join();
        CHECK(inside == 0);
    });
}

TEST_SUITE_END();
