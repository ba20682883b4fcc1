// SPDX-License-Identifier: BSL-1.0
// [thread.stoptoken] as [thread.jthread.class] uses it: a coir::fiber is stopped as a std::jthread is.
#include "worlds.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <system_error>

using namespace conformance;

TEST_SUITE_BEGIN("stop_token");

TEST_CASE_TEMPLATE("a function that takes a stop_token first is given the thread's [thread.jthread.cons]", World,
                   COIR_WORLDS) {
    World::run([] {
        int sum = 0;
        typename World::thread with{[&](std::stop_token token, int a, int b) {
                                        CHECK(token.stop_possible());
                                        CHECK(!token.stop_requested());
                                        sum += a + b;
                                    },
                                    1, 2};
        with.join();
        typename World::thread without{[&](int a) { sum += a; }, 3};
        without.join();
        CHECK(sum == 6);
    });
}

TEST_CASE_TEMPLATE("request_stop says whether it was the first, and its token knows [thread.jthread.stop]", World,
                   COIR_WORLDS) {
    World::run([] {
        typename World::binary_semaphore go{0};
        typename World::thread worker{[&](std::stop_token token) {
            go.acquire();
            CHECK(token.stop_requested());
        }};
        const auto token = worker.get_stop_token();
        CHECK(token.stop_possible());
        CHECK(!token.stop_requested());
        CHECK(worker.request_stop());
        CHECK(token.stop_requested());
        CHECK(!worker.request_stop());
        go.release();
        worker.join();
    });
}

TEST_CASE_TEMPLATE("the destructor requests a stop and joins [thread.jthread.cons]", World, COIR_WORLDS) {
    World::run([] {
        bool ended = false;
        {
            const typename World::thread worker{[&](std::stop_token token) {
                while (!token.stop_requested())
                    World::yield();
                ended = true;
            }};
            World::let_others_run();
        }
        CHECK(ended);
    });
}

TEST_CASE_TEMPLATE("assigning to a thread stops and joins what it was [thread.jthread.cons]", World, COIR_WORLDS) {
    World::run([] {
        bool ended = false;
        typename World::thread worker{[&](std::stop_token token) {
            while (!token.stop_requested())
                World::yield();
            ended = true;
        }};
        typename World::thread next{[] {}};
        worker = std::move(next);
        CHECK(ended);
        CHECK(worker.joinable());
        CHECK(!next.joinable()); // NOLINT(bugprone-use-after-move): that is what is tested
        worker.join();
        CHECK(!worker.joinable());
    });
}

TEST_CASE_TEMPLATE("join and detach of what is not joinable are refused [thread.jthread.mem]", World, COIR_WORLDS) {
    World::run([] {
        typename World::thread worker{[] {}};
        worker.join();
        CHECK_THROWS_AS(worker.join(), std::system_error);
        CHECK_THROWS_AS(worker.detach(), std::system_error);
        try {
            worker.join();
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::invalid_argument);
        }
    });
}

TEST_CASE_TEMPLATE("a stop_callback runs where the stop is requested, and may end a wait [stopcallback]", World,
                   COIR_WORLDS) {
    World::run([] {
        std::atomic<int> calls{0};
        typename World::binary_semaphore woken{0};
        typename World::thread worker{[&](std::stop_token token) {
            const std::stop_callback on_stop{token, [&] {
                                                 ++calls;
                                                 woken.release();
                                             }};
            woken.acquire();
            CHECK(calls == 1);
            const std::stop_callback too_late{token, [&] { ++calls; }}; // called at once
            CHECK(calls == 2);
        }};
        World::let_others_run();
        CHECK(calls == 0);
        worker.request_stop();
        worker.join();
        CHECK(calls == 2);
    });
}

TEST_CASE_TEMPLATE("a stop_callback that is gone is not called [stopcallback]", World, COIR_WORLDS) {
    World::run([] {
        bool called = false;
        typename World::binary_semaphore gone{0};
        typename World::thread worker{[&](std::stop_token token) {
            {
                const std::stop_callback briefly{token, [&] { called = true; }};
            }
            gone.release();
            while (!token.stop_requested())
                World::yield();
        }};
        gone.acquire();
        worker.request_stop();
        worker.join();
        CHECK(called == false);
    });
}

TEST_SUITE_END();
