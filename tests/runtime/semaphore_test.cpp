// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/semaphore.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("semaphore");

TEST_CASE("a semaphore lets as many in as its count says") {
    testing::run([] {
        counting_semaphore<> places{3};
        int inside = 0;
        int most = 0;
        std::vector<fiber> fibers;
        for (int i = 0; i < 20; ++i)
            fibers.emplace_back([&] {
                places.acquire();
                most = std::max(most, ++inside);
                this_fiber::sleep_for(1s);
                --inside;
                places.release();
            });
        for (auto& each : fibers)
            each.join();
        CHECK(most == 3);
    });
}

TEST_CASE("acquire does not suspend while there is a count left") {
    testing::run([] {
        counting_semaphore<> places{2};
        no_suspend here;
        places.acquire();
        CHECK(places.try_acquire());
        CHECK(!places.try_acquire());
        places.release();
        CHECK(places.try_acquire());
    });
}

TEST_CASE("release serves those who wait in their order, before newcomers") {
    testing::run([] {
        binary_semaphore place{0};
        std::string log;
        auto enter = [&](char letter) {
            place.acquire();
            log += letter;
        };
        fiber a{enter, 'a'};
        fiber b{enter, 'b'};
        fiber c{enter, 'c'};
        this_fiber::yield();
        place.release();
        CHECK(!place.try_acquire()); // it is a's already
        place.release(3);
        CHECK(place.try_acquire()); // b and c have two, and one is left
        CHECK(!place.try_acquire());
        this_fiber::yield();
        CHECK(log == "abc");
    });
}

TEST_CASE("a semaphore's timed acquire gives up at its deadline") {
    testing::run([] {
        binary_semaphore place{0};
        const auto start = clock::now();
        CHECK(!place.try_acquire_for(1h));
        CHECK(clock::now() - start == 1h);
        CHECK(!place.try_acquire_until(start + 2h));
        CHECK(clock::now() - start == 2h);
        place.release();
        CHECK(place.try_acquire_for(1h));
        CHECK(clock::now() - start == 2h);
    });
}

TEST_CASE("a count is not lost on who has given up or was cancelled") {
    testing::run([] {
        binary_semaphore place{0};
        std::string log;
        fiber late{[&] { log += place.try_acquire_for(1s) ? "late got it " : "late gave up "; }};
        fiber unlucky{[&] {
            try {
                place.acquire();
            } catch (const cancelled&) {
                log += "cancelled ";
            }
        }};
        fiber patient{[&] {
            place.acquire();
            log += "patient got it ";
        }};
        this_fiber::sleep_for(1s + 1ns);
        unlucky.cancel();
        place.release(); // the cancelled one has not left the queue yet
        patient.join();
        unlucky.join();
        CHECK(log == "late gave up cancelled patient got it ");
        CHECK(!place.try_acquire());
    });
}

TEST_CASE("who is cancelled after the count was handed over has it") {
    testing::run([] {
        binary_semaphore place{0};
        bool acquired = false;
        fiber other{[&] {
            place.acquire();
            acquired = true;
        }};
        this_fiber::yield();
        place.release();
        other.cancel();
        other.join();
        CHECK(acquired);
    });
}

TEST_CASE("a timeout cuts off acquire") {
    testing::run([] {
        binary_semaphore place{0};
        timeout limit{1s};
        CHECK_THROWS_AS(place.acquire(), timed_out);
    });
}

TEST_CASE("a count held by a fiber that ends is not given back by itself") {
    testing::run([] {
        binary_semaphore place{1};
        fiber owner{[&] { place.acquire(); }};
        owner.join();
        CHECK(!place.try_acquire());
    });
}

TEST_CASE("two hubs and a plain thread pass exact counts through semaphores") {
    constexpr int turns = 2000;
    counting_semaphore<> free{5};
    counting_semaphore<> used{0};
    std::atomic<int> inside{0};
    std::atomic<int> consumed{0};
    auto produce = [&] {
        for (int i = 0; i < turns; ++i) {
            free.acquire();
            inside.fetch_add(1);
            used.release();
        }
    };
    auto consume = [&] {
        for (int i = 0; i < turns; ++i) {
            used.acquire();
            CHECK(inside.fetch_sub(1) <= 5);
            free.release();
            consumed.fetch_add(1);
        }
    };
    std::thread plain{produce};
    std::thread hub{[&] {
        coir::run([&] {
            fiber a{produce};
            fiber b{consume};
            a.join();
            b.join();
        });
    }};
    coir::run([&] {
        fiber a{produce};
        fiber b{consume};
        fiber c{consume};
        a.join();
        b.join();
        c.join();
    });
    plain.join();
    hub.join();
    CHECK(consumed == 3 * turns);
    CHECK(inside == 0);
    CHECK(!used.try_acquire());
}

TEST_SUITE_END();
