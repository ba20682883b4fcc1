// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("event");

TEST_CASE("setting an event wakes everyone in the order of their arrival") {
    testing::run([] {
        event ready;
        std::string log;
        auto wait = [&](char letter) {
            ready.wait();
            log += letter;
        };
        fiber a{wait, 'a'};
        fiber b{wait, 'b'};
        fiber c{wait, 'c'};
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        ready.set();
        this_fiber::yield();
        CHECK(log == "abc");
    });
}

TEST_CASE("an event stays set until it is reset") {
    testing::run([] {
        event ready;
        CHECK(!ready.is_set());
        ready.set();
        ready.set();
        CHECK(ready.is_set());
        {
            no_suspend here;
            ready.wait();
            CHECK(ready.wait_for(0s));
        }
        ready.reset();
        CHECK(!ready.is_set());
        CHECK(!ready.wait_for(1s));
    });
}

TEST_CASE("who was woken by set has been let through though reset follows at once") {
    testing::run([] {
        event ready;
        bool through = false;
        fiber waiter{[&] {
            ready.wait();
            through = true;
        }};
        this_fiber::yield();
        ready.set();
        ready.reset();
        waiter.join();
        CHECK(through);
    });
}

TEST_CASE("an event's timed waits give up at their deadline") {
    testing::run([] {
        event ready;
        const auto start = clock::now();
        CHECK(!ready.wait_for(1h));
        CHECK(clock::now() - start == 1h);
        CHECK(!ready.wait_until(start + 2h));
        CHECK(clock::now() - start == 2h);
    });
}

TEST_CASE("who is cancelled while waiting for an event is not woken by it") {
    testing::run([] {
        event ready;
        std::string log;
        fiber waiter{[&] {
            CHECK_THROWS_AS(ready.wait(), cancelled);
            log += "cancelled";
        }};
        this_fiber::yield();
        waiter.cancel();
        ready.set();
        waiter.join();
        CHECK(log == "cancelled");
    });
}

TEST_CASE("an event may be destroyed by who it has woken") {
    testing::run([] {
        auto ready = std::make_unique<event>();
        fiber waiter{[&] {
            ready->wait();
            ready.reset();
        }};
        this_fiber::yield();
        ready->set();
        waiter.join();
        CHECK(!ready);
    });
}

TEST_CASE("an event set by a plain thread wakes the fibers of two hubs and another thread") {
    for (int round = 0; round < 50; ++round) {
        event go;
        std::atomic<int> through{0};
        auto wait = [&] {
            go.wait();
            through.fetch_add(1);
        };
        auto hub = [&] {
            coir::run([&] {
                fiber a{wait};
                fiber b{wait};
                a.join();
                b.join();
            });
        };
        std::thread setter{[&] { go.set(); }};
        std::thread plain{wait};
        std::thread other_hub{hub};
        hub();
        setter.join();
        plain.join();
        other_hub.join();
        CHECK(through == 5);
    }
}

TEST_SUITE_END();
