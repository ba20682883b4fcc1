// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("offload");

TEST_CASE("offload runs the function on another thread and returns what it returned") {
    coir::run([] {
        const auto here = std::this_thread::get_id();
        CHECK(offload([] { return std::this_thread::get_id(); }) != here);
        CHECK(std::this_thread::get_id() == here);
        CHECK(offload([] { return 7; }) == 7);
        CHECK(*offload([] { return std::make_unique<int>(8); }) == 8);
        bool ran = false;
        offload([&] { ran = true; });
        CHECK(ran);
    });
}

TEST_CASE("an offloaded function is no fiber") {
    coir::run([] {
        CHECK(!offload([] { return this_fiber::active(); }));
        CHECK(offload([] { return offload([] { return 5; }); }) == 5);
    });
}

TEST_CASE("offload throws what the function threw") {
    coir::run([] {
        CHECK_THROWS_WITH_AS(offload([] { throw std::runtime_error{"over there"}; }), "over there", std::runtime_error);
        CHECK_THROWS_AS(offload([]() -> int { throw 1; }), int);
    });
}

TEST_CASE("other fibers run while one has work offloaded") {
    coir::run([] {
        std::binary_semaphore go{0};
        fiber other{[&] { go.release(); }}; // on this thread, while the helper blocks
        offload([&] { go.acquire(); });
        other.join();
    });
}

TEST_CASE("many more jobs than threads are all done, and no more at once than there are threads") {
    coir::run([] {
        constexpr int jobs = 500;
        std::atomic<std::size_t> running{0};
        std::atomic<std::size_t> most{0};
        int results = 0;
        std::vector<fiber> fibers;
        for (int i = 0; i < jobs; ++i)
            fibers.emplace_back([&, i] {
                results += offload([&, i] {
                    const auto now = running.fetch_add(1) + 1;
                    auto seen = most.load();
                    while (seen < now && !most.compare_exchange_weak(seen, now)) {}
                    std::this_thread::yield();
                    running.fetch_sub(1);
                    return i;
                });
            });
        for (auto& each : fibers)
            each.join();
        CHECK(results == jobs * (jobs - 1) / 2);
        CHECK(most <= offload_threads_max());
        CHECK(running == 0);
    });
}

TEST_CASE("two hubs offload at once") {
    auto hub = [] {
        coir::run([] {
            int sum = 0;
            std::vector<fiber> fibers;
            for (int i = 0; i < 100; ++i)
                fibers.emplace_back([&] { sum += offload([] { return 1; }); });
            for (auto& each : fibers)
                each.join();
            CHECK(sum == 100);
        });
    };
    std::thread other{hub};
    hub();
    other.join();
}

TEST_CASE("a fiber that is cancelled waits for what it has offloaded") {
    coir::run([] {
        std::binary_semaphore go{0};
        std::atomic<bool> finished{false};
        bool returned = false;
        fiber worker{[&] {
            offload([&] {
                go.acquire();
                finished = true;
            });
            CHECK(finished);
            returned = true;
            CHECK_THROWS_AS(this_fiber::yield(), cancelled);
        }};
        this_fiber::yield();
        worker.cancel();
        CHECK(!worker.join_for(0s));
        go.release();
        worker.join();
        CHECK(returned);
    });
}

TEST_CASE("a fiber that has been cancelled offloads nothing more") {
    coir::run([] {
        bool ran = false;
        fiber worker{[&] { CHECK_THROWS_AS(offload([&] { ran = true; }), cancelled); }};
        worker.cancel();
        worker.join();
        CHECK(!ran);
    });
}

TEST_CASE("a timeout does not cut offloaded work off") {
    coir::run([] {
        timeout limit{1ms};
        offload([] { std::this_thread::sleep_for(2ms); });
        CHECK_THROWS_AS(this_fiber::yield(), timed_out);
    });
}

TEST_CASE("virtual time stands still while a helper thread is at work") {
    testing::run([] {
        const auto start = clock::now();
        fiber sleeper{[] { this_fiber::sleep_for(1h); }};
        this_fiber::yield();
        CHECK(offload([] {
                  std::this_thread::yield();
                  return 3;
              }) == 3);
        CHECK(clock::now() == start);
        sleeper.join();
        CHECK(clock::now() - start == 1h);
    });
}

TEST_CASE("on a plain thread offload just calls the function") {
    CHECK(offload([] { return std::this_thread::get_id(); }) == std::this_thread::get_id());
    CHECK_THROWS_AS(offload([] { throw 1; }), int);
    CHECK(offload_threads_max() >= 1);
}

TEST_SUITE_END();
