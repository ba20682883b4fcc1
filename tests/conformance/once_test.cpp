// SPDX-License-Identifier: BSL-1.0
// [thread.once].
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>

using namespace conformance;

TEST_SUITE_BEGIN("once");

TEST_CASE_TEMPLATE("a once_flag is made at compile time, and is not copied [thread.once.onceflag]", World,
                   COIR_WORLDS) {
    using once_flag = typename World::once_flag;
    static_assert(std::is_nothrow_default_constructible_v<once_flag>);
    static_assert(!std::is_copy_constructible_v<once_flag>);
    static_assert(!std::is_copy_assignable_v<once_flag>);
    static constinit once_flag made;
    CHECK(sizeof made > 0);
}

// All calls form an order; the end of each exceptional or returning execution synchronizes with the return of the calls
// that come after it.
TEST_CASE_TEMPLATE("of all calls one is active and returns, and the others return after it [thread.once.callonce]",
                   World, COIR_WORLDS) {
    World::run([] {
        for (int i = 0; i < 20; ++i) {
            typename World::once_flag flag;
            int runs = 0;
            auto work = [&] {
                World::call_once(flag, [&] {
                    World::let_others_run();
                    ++runs;
                });
                CHECK(runs == 1);
            };
            typename World::thread a{work};
            typename World::thread b{work};
            work();
            a.join();
            b.join();
        }
    });
}

TEST_CASE_TEMPLATE("an exceptional call passes its exception to its caller, and another call is tried "
                   "[thread.once.callonce]",
                   World, COIR_WORLDS) {
    World::run([] {
        typename World::once_flag flag;
        int attempts = 0;
        CHECK_THROWS_AS(World::call_once(flag,
                                         [&] {
                                             ++attempts;
                                             throw std::runtime_error{"not yet"};
                                         }),
                        std::runtime_error);
        World::call_once(flag, [&] { ++attempts; });
        World::call_once(flag, [&] { ++attempts; });
        CHECK(attempts == 2);
    });
}

TEST_CASE_TEMPLATE("while others wait, an exceptional call lets one of them try [thread.once.callonce]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::once_flag flag;
        int attempts = 0;
        int failed = 0;
        typename World::mutex door;
        auto work = [&] {
            try {
                World::call_once(flag, [&] {
                    World::let_others_run();
                    if (++attempts < 3)
                        throw attempts;
                });
            } catch (int) {
                std::lock_guard lock{door};
                ++failed;
            }
        };
        typename World::thread a{work};
        typename World::thread b{work};
        typename World::thread c{work};
        typename World::thread d{work};
        a.join();
        b.join();
        c.join();
        d.join();
        CHECK(attempts == 3);
        CHECK(failed == 2);
    });
}

TEST_CASE_TEMPLATE("call_once invokes what std::invoke does, with arguments that are not copied "
                   "[thread.once.callonce]",
                   World, COIR_WORLDS) {
    World::run([] {
        struct counter {
            int value = 0;
            void add(std::unique_ptr<int> what) { value += *what; }
        } total;
        typename World::once_flag flag;
        World::call_once(flag, &counter::add, total, std::make_unique<int>(7));
        CHECK(total.value == 7);
    });
}

TEST_SUITE_END();
