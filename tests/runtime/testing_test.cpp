// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/channel.hpp>
#include <coir/condition_variable.hpp>
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <mutex>
#include <set>
#include <string>

using namespace coir;
using namespace std::chrono_literals;

namespace {

bool mentions(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

std::string deadlock_of(auto&& main)
{
    try {
        testing::run(main);
    } catch (const deadlock& found) {
        return found.what();
    }
    return {};
}

} // namespace

TEST_SUITE_BEGIN("testing");

TEST_CASE("time jumps to the next deadline when every fiber waits") {
    testing::run([] {
        const auto start = clock::now();
        this_fiber::sleep_for(24h * 365);
        CHECK(clock::now() - start == 24h * 365);
    });
}

TEST_CASE("time stops at every deadline on its way") {
    testing::run([] {
        const auto start = clock::now();
        int ticks = 0;
        fiber ticker{[&] {
            for (;;) {
                this_fiber::sleep_for(1s);
                ++ticks;
                CHECK(clock::now() - start == std::chrono::seconds{ticks});
            }
        }};
        this_fiber::sleep_for(1h + 1ms);
        CHECK(ticks == 3600);
        ticker.cancel();
    });
}

TEST_CASE("a deadlock names each fiber and what it waits for") {
    mutex door;
    event never_set;
    counting_semaphore<> empty{0};
    channel<int> silent;
    const auto report = deadlock_of([&] {
        fiber_group group;
        std::scoped_lock lock{door};
        group.spawn({.name = "at the door"}, [&] { std::scoped_lock inner{door}; });
        group.spawn({.name = "eventful"}, [&] { never_set.wait(); });
        group.spawn({.name = "counting"}, [&] { empty.acquire(); });
        group.spawn({.name = "listening"}, [&] { silent.receive(); });
        group.spawn([&] {
            mutex guard;
            condition_variable changed;
            std::unique_lock inner{guard};
            changed.wait(inner);
        });
        group.join();
    });
    CAPTURE(report);
    CHECK(mentions(report, "every fiber waits"));
    CHECK(mentions(report, "(main): waits for fiber_group"));
    CHECK(mentions(report, "(at the door): waits for mutex"));
    CHECK(mentions(report, "(eventful): waits for event"));
    CHECK(mentions(report, "(counting): waits for semaphore"));
    CHECK(mentions(report, "(listening): waits for channel receive"));
    CHECK(mentions(report, ": waits for condition"));
}

TEST_CASE("a deadlock cancels the fibers, so that everything is unwound") {
    std::string log;
    const auto report = deadlock_of([&] {
        event never_set;
        fiber other{{.name = "other"}, [&] {
                        try {
                            never_set.wait();
                        } catch (const cancelled&) {
                            log += "other ";
                            throw;
                        }
                    }};
        try {
            never_set.wait();
        } catch (const cancelled&) {
            log += "main ";
            throw;
        }
    });
    CHECK(mentions(report, "other"));
    CHECK(log == "main other ");
}

TEST_CASE("after a deadlock the runtime can be used again") {
    runtime hub{std::make_unique<testing::virtual_driver>()};
    event never_set;
    CHECK_THROWS_AS(run_in(hub, [&] { never_set.wait(); }), deadlock);
    CHECK(run_in(hub, [] {
              this_fiber::sleep_for(1s);
              return 4;
          }) == 4);
}

TEST_CASE("a deadlock is reported even if main swallows the cancellation") {
    event never_set;
    const auto report = deadlock_of([&] {
        try {
            never_set.wait();
        } catch (const cancelled&) {
        }
    });
    CHECK(mentions(report, "main"));
}

TEST_CASE("a fiber that sleeps is no deadlock, however many others wait") {
    testing::run([] {
        event done;
        fiber setter{[&] {
            this_fiber::sleep_for(1000h);
            done.set();
        }};
        done.wait();
    });
}

TEST_CASE("a sequencer fixes the order of fibers") {
    testing::run([] {
        testing::sequencer order;
        std::string log;
        auto step = [&](int number, const char* what) {
            order.at(number);
            log += what;
        };
        fiber c{step, 2, "c"};
        fiber a{step, 0, "a"};
        fiber d{step, 3, "d"};
        fiber b{step, 1, "b"};
        for (auto* each : {&a, &b, &c, &d})
            each->join();
        CHECK(log == "abcd");
    });
}

TEST_CASE("a sequencer lets one fiber pass several steps") {
    testing::run([] {
        testing::sequencer order;
        std::string log;
        fiber odd{[&] {
            order.at(1);
            log += "1";
            order.at(3);
            log += "3";
        }};
        order.at(0);
        log += "0";
        order.at(2);
        log += "2";
        odd.join();
        CHECK(log == "0123");
    });
}

TEST_CASE("who waits for a step that never comes is a deadlock") {
    testing::sequencer order;
    CHECK(mentions(deadlock_of([&] { order.at(1); }), "sequencer"));
}

// ---- schedules ------------------------------------------------------------------------------------------------------

namespace {

std::string order_under(std::uint64_t seed)
{
    std::string log;
    testing::schedule plan{.seed = seed};
    testing::run(plan, [&] {
        fiber_group group;
        for (char letter : {'a', 'b', 'c', 'd'})
            group.spawn([&, letter] {
                log += letter;
                this_fiber::yield();
                log += letter;
            });
        group.join();
    });
    return log;
}

} // namespace

TEST_CASE("a schedule runs the same fibers in another order for another seed, and in the same for the same") {
    std::set<std::string> orders;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const auto order = order_under(seed);
        CHECK(order.size() == 8);
        CHECK(order_under(seed) == order);
        orders.insert(order);
    }
    CHECK(orders.size() > 10);
}

TEST_CASE("cancel_each_wait cancels each wait of each fiber once, and main's never") {
    std::multiset<std::string> cut_off;
    const auto waits = testing::cancel_each_wait(7, [&] {
        fiber_group group;
        for (char letter : {'a', 'b', 'c'})
            group.spawn([&, letter] {
                int done = 0;
                try {
                    for (; done < 2; ++done)
                        this_fiber::sleep_for(1s);
                } catch (const cancelled&) {
                    cut_off.insert(letter + std::to_string(done));
                    throw;
                }
            });
        this_fiber::sleep_for(1h);
        group.join();
    });
    CHECK(waits == 6);
    CHECK(cut_off == std::multiset<std::string>{"a0", "a1", "b0", "b1", "c0", "c1"});
}

TEST_SUITE_END();
