// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/cancellation.hpp>
#include <coir/channel.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <exception>
#include <string>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("cancellation");

TEST_CASE("cancelled is no std::exception, so that catching those does not swallow it") {
    static_assert(!std::is_base_of_v<std::exception, cancelled>);
    testing::run([] {
        bool swallowed = false;
        fiber worker{[&] {
            try {
                this_fiber::sleep_for(1h);
            } catch (const std::exception&) {
                swallowed = true;
            }
        }};
        this_fiber::yield();
        worker.cancel();
        worker.join();
        CHECK(!swallowed);
    });
    CHECK(std::string{cancelled{}.what()}.find("cancelled") != std::string::npos);
}

TEST_CASE("cancellation is level-triggered: every later wait throws again") {
    testing::run([] {
        event never_set;
        int thrown = 0;
        fiber stubborn{[&] {
            for (int i = 0; i < 5; ++i) {
                try {
                    never_set.wait();
                } catch (const cancelled&) {
                    ++thrown;
                }
                CHECK_THROWS_AS(this_fiber::yield(), cancelled);
                CHECK_THROWS_AS(this_fiber::check_cancelled(), cancelled);
            }
        }};
        this_fiber::yield();
        stubborn.cancel();
        stubborn.join();
        CHECK(thrown == 5);
    });
}

TEST_CASE("a cancelled fiber goes on with what does not wait") {
    testing::run([] {
        event set;
        set.set();
        bool passed = false;
        fiber worker{[&] {
            set.wait();
            passed = true;
        }};
        worker.cancel();
        worker.join();
        CHECK(passed);
    });
}

TEST_CASE("check_cancelled throws only in a cancelled fiber") {
    testing::run([] {
        this_fiber::check_cancelled();
        fiber worker{[] {
            this_fiber::check_cancelled();
            CHECK_THROWS_AS(this_fiber::sleep_for(1h), cancelled);
            CHECK_THROWS_AS(this_fiber::check_cancelled(), cancelled);
        }};
        this_fiber::yield();
        worker.cancel();
    });
}

TEST_CASE("a fiber is not cancelled with the one that started it") {
    testing::run([] {
        bool ended = false;
        fiber child;
        fiber parent{[&] {
            child = fiber{[&] {
                this_fiber::sleep_for(1s);
                ended = true;
            }};
            this_fiber::sleep_for(1h);
        }};
        this_fiber::yield();
        parent.cancel();
        parent.join();
        CHECK(!ended);
        child.join();
        CHECK(ended);
    });
}

TEST_CASE("cancelling several fibers ends them in order, on their own stacks") {
    testing::run([] {
        std::string log;
        auto wait = [&](char letter) {
            try {
                this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
                log += letter;
                throw;
            }
        };
        fiber a{wait, 'a'};
        fiber b{wait, 'b'};
        this_fiber::yield();
        b.cancel();
        a.cancel();
        CHECK(log.empty());
        a.join();
        b.join();
        CHECK(log == "ba");
    });
}

TEST_CASE("a fiber is cancelled from another thread, however it waits") {
    for (int round = 0; round < 100; ++round) {
        channel<fiber*> victims{1};
        event done; // joining the handle while another thread uses it would not be safe
        std::thread canceller{[&] {
            (*victims.receive())->cancel();
            done.set();
        }};
        coir::run([&] {
            bool ended = false;
            fiber sleeper{[&] {
                try {
                    if (round % 2)
                        this_fiber::sleep_for(1h);
                    else
                        for (;;)
                            this_fiber::yield();
                } catch (const cancelled&) {
                    ended = true;
                    throw;
                }
            }};
            if (round % 3)
                this_fiber::yield();
            victims.send(&sleeper);
            done.wait();
            sleeper.join();
            CHECK(ended);
        });
        canceller.join();
    }
}

TEST_CASE("another thread may cancel a fiber that ends at the same time") {
    for (int round = 0; round < 200; ++round) {
        std::atomic<int> stage{0};
        fiber quick;
        std::thread hub{[&] {
            coir::run([&] {
                quick = fiber{[&] { this_fiber::yield(); }};
                stage = 1;
                while (stage < 2)
                    this_fiber::yield();
            });
        }};
        while (stage < 1)
            std::this_thread::yield();
        quick.cancel();
        stage = 2;
        quick.join(); // across threads, too
        hub.join();
    }
}

TEST_SUITE_END();
