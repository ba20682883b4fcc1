// SPDX-License-Identifier: BSL-1.0
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/net/hub_timer.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

TEST_CASE("a hub's timer calls once for each start, on the hub's loop, and may start itself again") {
    coir::run([] {
        int calls = 0;
        coir::event third;
        std::optional<coir::net::hub_timer> timer;
        timer.emplace([&] {
            CHECK_FALSE(coir::this_fiber::active());
            if (++calls < 3)
                timer->start(1us);
            else
                third.set();
        });
        timer->start(1ms);
        timer->start(0ms); // asked already
        third.wait();
        CHECK(calls == 3);
        coir::this_fiber::sleep_for(2ms);
        CHECK(calls == 3);
        timer->start(0ms); // at once, but not in here
        CHECK(calls == 3);
        while (calls == 3)
            coir::this_fiber::sleep_for(100us);
    });
}

TEST_CASE("a hub's timer that is gone does not call, and its successor does") {
    coir::run([] {
        bool gone_has_called = false;
        coir::event called;
        auto gone = std::make_unique<coir::net::hub_timer>([&] { gone_has_called = true; });
        gone->start(1us);
        gone.reset();
        coir::net::hub_timer successor{[&] { called.set(); }};
        successor.start(1ms);
        called.wait();
        CHECK_FALSE(gone_has_called);
    });
}

TEST_CASE("a hub's timer calls in a forked child, and in the parent") {
    coir::run([] {
        coir::event called;
        coir::net::hub_timer timer{[&] { called.set(); }};
        timer.start(1ms);
        const pid_t child = ::fork();
        if (child == 0) {
            called.wait();
            ::_exit(3);
        }
        called.wait();
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 3);
    });
}
