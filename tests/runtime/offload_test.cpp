// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
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

TEST_CASE("offload returns references") {
    coir::run([] {
        int target = 1;
        offload([&]() -> int& { return target; }) = 2;
        CHECK(target == 2);
        const std::string text = "constant";
        CHECK(&offload([&]() -> const std::string& { return text; }) == &text);
    });
}

TEST_CASE("a pool of one's own has no more threads than it may have, and they end with it") {
    coir::run([] {
        std::atomic<int> running{0};
        std::atomic<int> most{0};
        std::vector<fiber> fibers;
        {
            offload_pool pool{2};
            CHECK(pool.threads_max() == 2);
            int sum = 0;
            for (int i = 0; i < 100; ++i)
                fibers.emplace_back([&] {
                    sum += offload(pool, [&] {
                        const int now = ++running;
                        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {}
                        std::this_thread::yield();
                        --running;
                        return 1;
                    });
                });
            for (auto& each : fibers)
                each.join();
            CHECK(sum == 100);
        }
        CHECK(most <= 2);
        CHECK(running == 0);
        const offload_pool never_used{3};
    });
}

TEST_CASE("a pool is destroyed when what it was given has been done") {
    coir::run([] {
        std::binary_semaphore go{0};
        std::atomic<bool> finished{false};
        std::optional<offload_pool> pool{1};
        fiber worker{[&] {
            CHECK_THROWS_AS(offload_abandonable(*pool,
                                                [&] {
                                                    go.acquire();
                                                    finished = true;
                                                }),
                            cancelled);
        }};
        this_fiber::yield();
        worker.cancel();
        worker.join();
        go.release();
        pool.reset();
        CHECK(finished);
    });
    // And by a plain thread.
    const offload_pool pool{1};
}

TEST_CASE("offloaded makes a function whose calls are offloaded") {
    coir::run([] {
        const auto here = std::this_thread::get_id();
        const auto add = offloaded([here](int a, const std::string& b) {
            CHECK(std::this_thread::get_id() != here);
            return a + static_cast<int>(b.size());
        });
        CHECK(add(1, "abc") == 4);
        offload_pool pool{1};
        int target = 0;
        offloaded(pool, [](int& value) -> int& { return value; })(target) = 3;
        CHECK(target == 3);
        CHECK_THROWS_AS(offloaded([] { throw 1; })(), int);
    });
}

TEST_CASE("abandonable work returns and throws as other work does") {
    coir::run([] {
        CHECK(offload_abandonable([] { return 7; }) == 7);
        CHECK(*offload_abandonable([value = std::make_unique<int>(8)]() mutable { return std::move(value); }) == 8);
        CHECK_THROWS_WITH(offload_abandonable([] { throw std::runtime_error{"over there"}; }), "over there");
        CHECK(!offload_abandonable([](std::stop_token stop) { return stop.stop_requested(); }));
        offload_abandonable([] {});
    });
    CHECK(offload_abandonable([](std::stop_token) { return std::this_thread::get_id(); }) ==
          std::this_thread::get_id());
}

TEST_CASE("who is cancelled abandons abandonable work, whose token stops, and which owns its state") {
    struct shared_state {
        std::binary_semaphore begun{0};
        std::binary_semaphore stopped{0};
        std::atomic<bool> finished{false};
    };
    const auto state = std::make_shared<shared_state>();
    coir::run([&] {
        fiber worker{[&] {
            offload_abandonable([state](std::stop_token stop) {
                const std::stop_callback told{stop, [&] { state->stopped.release(); }};
                state->begun.release();
                state->stopped.acquire();
                state->finished = true;
                throw std::runtime_error{"nobody looks"};
            });
            FAIL("went on");
        }};
        offload([&] { state->begun.acquire(); });
        worker.cancel();
        worker.join();
    });
    while (state.use_count() > 1) // the helper thread's
        std::this_thread::yield();
    CHECK(state->finished);
}

TEST_CASE("a timeout abandons abandonable work") {
    const auto go = std::make_shared<std::binary_semaphore>(0);
    coir::run([&] {
        CHECK_THROWS_AS(with_timeout(1ms, [&] { offload_abandonable([go] { go->acquire(); }); }), std::system_error);
    });
    go->release();
    while (go.use_count() > 1)
        std::this_thread::yield();
}

TEST_CASE("on a plain thread offload just calls the function") {
    CHECK(offload([] { return std::this_thread::get_id(); }) == std::this_thread::get_id());
    CHECK_THROWS_AS(offload([] { throw 1; }), int);
    CHECK(offload_threads_max() >= 1);
}

TEST_SUITE_END();
