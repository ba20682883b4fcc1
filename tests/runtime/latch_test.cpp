// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/latch.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <string>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("latch");

TEST_CASE("everyone who waits for a latch goes on when its count is 0, in order of arrival") {
    testing::run([] {
        latch ready{3};
        std::string log;
        fiber_group waiters;
        for (char letter : {'a', 'b', 'c'})
            waiters.spawn([&, letter] {
                ready.wait();
                log += letter;
            });
        this_fiber::yield();
        ready.count_down(2);
        this_fiber::sleep_for(1s);
        CHECK(log.empty());
        CHECK(!ready.try_wait());
        ready.count_down();
        CHECK(ready.try_wait());
        waiters.join();
        CHECK(log == "abc");
        const no_suspend from_now_on;
        ready.wait();
    });
}

TEST_CASE("arrive_and_wait counts its caller, and the last to arrive does not suspend") {
    testing::run([] {
        latch ready{3};
        int arrived = 0;
        fiber_group others;
        others.spawn([&] {
            ++arrived;
            ready.arrive_and_wait(2);
            CHECK(arrived == 2);
        });
        this_fiber::yield();
        ++arrived;
        {
            const no_suspend here;
            ready.arrive_and_wait();
        }
        others.join();
    });
}

TEST_CASE("who is cancelled or cut off in arrive_and_wait has been counted all the same") {
    testing::run([] {
        latch ready{3};
        fiber is_cancelled{[&] { CHECK_THROWS_AS(ready.arrive_and_wait(), cancelled); }};
        fiber late{[&] {
            const timeout limit{1s};
            CHECK_THROWS_AS(ready.arrive_and_wait(), timed_out);
        }};
        this_fiber::yield();
        is_cancelled.cancel();
        is_cancelled.join();
        late.join();
        CHECK(!ready.try_wait());
        ready.count_down();
        CHECK(ready.try_wait());
    });
}

TEST_CASE("who is cancelled in wait does not disturb the others") {
    testing::run([] {
        latch ready{1};
        bool through = false;
        fiber is_cancelled{[&] { CHECK_THROWS_AS(ready.wait(), cancelled); }};
        fiber waits{[&] {
            ready.wait();
            through = true;
        }};
        this_fiber::yield();
        is_cancelled.cancel();
        is_cancelled.join();
        CHECK(!through);
        ready.count_down();
        waits.join();
        CHECK(through);
    });
}

TEST_CASE("who has seen the count at 0 may destroy the latch") {
    for (int i = 0; i < 200; ++i) {
        auto done = std::make_unique<latch>(2);
        auto& shared = *done;
        std::thread one{[&] { shared.count_down(); }};
        std::thread two{[&] { shared.count_down(); }};
        if (i % 2 == 0)
            while (!done->try_wait())
                std::this_thread::yield();
        else
            done->wait();
        done.reset();
        one.join();
        two.join();
    }
    CHECK(true); // TSan and ASan look on
}

TEST_CASE("fibers of two hubs and plain threads meet at a latch") {
    for (int i = 0; i < 50; ++i) {
        latch all{5};
        int plain[5] = {}; // each written before the latch, and read after it
        auto arrive = [&](std::size_t index) {
            plain[index] = 1;
            all.arrive_and_wait();
            CHECK(plain[0] + plain[1] + plain[2] + plain[3] + plain[4] == 5);
        };
        auto hub = [&](std::size_t index) {
            coir::run([&] {
                fiber a{arrive, index};
                fiber b{arrive, index + 1};
            });
        };
        std::thread thread{arrive, 4U};
        std::thread other{hub, 2U};
        hub(0);
        thread.join();
        other.join();
    }
}

TEST_SUITE_END();
