// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/testing.hpp>

#include <future>
#include <memory>
#include <stdexcept>
#include <string>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("fiber_group");

TEST_CASE("a group's join waits for all of its fibers") {
    testing::run([] {
        const auto start = clock::now();
        int ended = 0;
        fiber_group group;
        for (int i = 1; i <= 100; ++i)
            group.spawn([&, i] {
                this_fiber::sleep_for(std::chrono::seconds{i});
                ++ended;
            });
        CHECK(group.size() == 100);
        group.join();
        CHECK(ended == 100);
        CHECK(group.size() == 0);
        CHECK(clock::now() - start == 100s);
    });
}

TEST_CASE("an empty group is joined at once, and as often as one likes") {
    testing::run([] {
        fiber_group group;
        group.join();
        group.spawn([] {});
        group.join();
        group.join();
        group.spawn([] {});
        group.join();
    });
}

TEST_CASE("a group's fibers have names and tokens, and take arguments") {
    testing::run([] {
        std::string name;
        int sum = 0;
        fiber_group group;
        group.spawn(
            {.name = "adder"},
            [&](std::stop_token stop, int a, int b) {
                name = this_fiber::get_name();
                sum = stop.stop_requested() ? 0 : a + b;
            },
            2, 3);
        group.join();
        CHECK(name == "adder");
        CHECK(sum == 5);
    });
}

TEST_CASE("the first failure cancels the siblings and is rethrown by join once they have ended") {
    testing::run([] {
        const auto start = clock::now();
        std::string log;
        fiber_group group;
        for (char letter : {'a', 'b', 'c'})
            group.spawn([&, letter] {
                try {
                    this_fiber::sleep_for(1h);
                } catch (const cancelled&) {
                    log += letter;
                    throw;
                }
            });
        group.spawn([] {
            this_fiber::sleep_for(1s);
            throw std::runtime_error{"first"};
        });
        group.spawn([&] {
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                throw std::runtime_error{"second"};
            }
        });
        CHECK_THROWS_WITH_AS(group.join(), "first", std::runtime_error);
        CHECK(log.size() == 3);
        CHECK(group.size() == 0);
        CHECK(clock::now() - start == 1s);
        CHECK_NOTHROW(group.join()); // it has been reported
    });
}

TEST_CASE("a failure before anybody joins is kept for join") {
    testing::run([] {
        fiber_group group;
        group.spawn([] { throw 7; });
        this_fiber::sleep_for(1s);
        CHECK(group.size() == 0);
        CHECK_THROWS_AS(group.join(), int);
    });
}

TEST_CASE("cancelling a group cancels its fibers, and that is no failure") {
    testing::run([] {
        const auto start = clock::now();
        fiber_group group;
        for (int i = 0; i < 10; ++i)
            group.spawn([] { this_fiber::sleep_for(1h); });
        this_fiber::yield();
        group.cancel();
        CHECK_NOTHROW(group.join());
        CHECK(clock::now() == start);
    });
}

TEST_CASE("what is spawned into a cancelled group is cancelled") {
    testing::run([] {
        const auto start = clock::now();
        bool slept = false;
        fiber_group group;
        group.cancel();
        group.spawn([&] {
            this_fiber::sleep_for(1h);
            slept = true;
        });
        group.join();
        CHECK(!slept);
        CHECK(clock::now() == start);
    });
}

TEST_CASE("fibers of a group may spawn into it while it is being joined") {
    testing::run([] {
        int ended = 0;
        fiber_group group;
        std::function<void(int)> grow = [&](int depth) {
            this_fiber::sleep_for(1s);
            ++ended;
            if (depth > 0) {
                group.spawn(grow, depth - 1);
                group.spawn(grow, depth - 1);
            }
        };
        group.spawn(grow, 5);
        group.join();
        CHECK(ended == 63);
    });
}

TEST_CASE("join does not return while the group has fibers, though it was empty in between") {
    testing::run([] {
        bool late_ended = false;
        fiber_group group;
        event go;
        fiber outsider{[&] {
            go.wait();
            group.spawn([&] {
                this_fiber::sleep_for(1s);
                late_ended = true;
            });
        }};
        group.spawn([&] {
            this_fiber::sleep_for(1s);
            go.set(); // the outsider is ready before who joins is
        });
        group.join();
        CHECK(group.size() == 0);
        CHECK(late_ended);
    });
}

TEST_CASE("who is cancelled while joining takes the group along and is told once it has ended") {
    testing::run([] {
        const auto start = clock::now();
        std::string log;
        fiber joiner{[&] {
            fiber_group group;
            group.spawn([&] {
                try {
                    this_fiber::sleep_for(1h);
                } catch (const cancelled&) {
                    shield clean_up;
                    this_fiber::sleep_for(5s);
                    log += "cleaned up, ";
                }
            });
            try {
                group.join();
            } catch (const cancelled&) {
                log += group.size() == 0 ? "joiner cancelled" : "too early";
                throw;
            }
        }};
        this_fiber::sleep_for(1s);
        joiner.cancel();
        joiner.join();
        CHECK(log == "cleaned up, joiner cancelled");
        CHECK(clock::now() - start == 6s);
    });
}

TEST_CASE("a timeout around join cancels the group") {
    testing::run([] {
        const auto start = clock::now();
        bool slept = false;
        auto work = [&] {
            fiber_group group;
            group.spawn([&] {
                this_fiber::sleep_for(1h);
                slept = true;
            });
            group.join();
        };
        CHECK_THROWS_AS(with_timeout(1s, work), std::system_error);
        CHECK(!slept);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("the destructor waits for the fibers") {
    testing::run([] {
        int ended = 0;
        {
            fiber_group group;
            for (int i = 0; i < 3; ++i)
                group.spawn([&] {
                    this_fiber::sleep_for(1h);
                    ++ended;
                });
        }
        CHECK(ended == 3);
    });
}

TEST_CASE("the destructor cancels the fibers when it runs because of an exception, which goes on") {
    testing::run([] {
        const auto start = clock::now();
        std::string log;
        try {
            fiber_group group;
            group.spawn([&] {
                try {
                    this_fiber::sleep_for(1h);
                } catch (const cancelled&) {
                    log += "cancelled, ";
                    throw std::logic_error{"theirs"};
                }
            });
            this_fiber::yield();
            throw std::runtime_error{"mine"};
        } catch (const std::runtime_error& error) {
            log += error.what();
        }
        CHECK(log == "cancelled, mine");
        CHECK(clock::now() == start);
    });
}

TEST_CASE("groups nest: a failure inside ends the outer group through its members") {
    testing::run([] {
        const auto start = clock::now();
        fiber_group outer;
        outer.spawn([] { this_fiber::sleep_for(1h); });
        outer.spawn([] {
            fiber_group inner;
            inner.spawn([] { this_fiber::sleep_for(1h); });
            inner.spawn([] {
                this_fiber::sleep_for(1s);
                throw std::runtime_error{"deep"};
            });
            inner.join();
        });
        CHECK_THROWS_WITH(outer.join(), "deep");
        CHECK(clock::now() - start == 1s);
    });
}

TEST_CASE("async gives a future of what a member returns") {
    testing::run([] {
        fiber_group group;
        auto sum = group.async([](int a, int b) { return a + b; }, 2, 3);
        auto owner = group.async({.name = "owner"}, [] {
            this_fiber::sleep_for(1s);
            return std::make_unique<int>(7);
        });
        auto nothing = group.async([] {});
        int target = 0;
        auto reference = group.async([&]() -> int& { return target; });
        CHECK(sum.get() == 5);
        CHECK(*owner.get() == 7);
        nothing.get();
        CHECK(&reference.get() == &target);
        group.join();
    });
}

TEST_CASE("an async member's failure is seen by its future and by the group, and cancels the others") {
    testing::run([] {
        const auto start = clock::now();
        fiber_group group;
        auto failing = group.async([]() -> int {
            this_fiber::sleep_for(1s);
            throw std::runtime_error{"mine"};
        });
        auto cut_off = group.async([] {
            this_fiber::sleep_for(1h);
            return 1;
        });
        CHECK_THROWS_WITH(group.join(), "mine");
        CHECK_THROWS_WITH(failing.get(), "mine");
        CHECK_THROWS_AS(cut_off.get(), std::future_error);
        CHECK(clock::now() - start == 1s);
    });
}

TEST_SUITE_END();
