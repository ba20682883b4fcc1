// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/async.hpp>
#include <coir/fiber.hpp>
#include <coir/future.hpp>
#include <coir/promise.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("future");

TEST_CASE("a future gives the value that its promise is given") {
    testing::run([] {
        promise<int> answer;
        auto result = answer.get_future();
        CHECK(result.wait_for(0s) == future_status::timeout);
        fiber thinker{[&] { answer.set_value(42); }};
        CHECK(result.get() == 42);
        CHECK(!result.valid());
    });
}

TEST_CASE("a result that is there is taken without suspending") {
    testing::run([] {
        promise<std::string> answer;
        auto result = answer.get_future();
        answer.set_value("now");
        const no_suspend here;
        result.wait();
        CHECK(result.wait_for(1h) == future_status::ready);
        CHECK(result.get() == "now");
    });
}

TEST_CASE("a future's wait gives up at its deadline") {
    testing::run([] {
        promise<void> answer;
        auto result = answer.get_future();
        const auto start = clock::now();
        CHECK(result.wait_for(1h) == future_status::timeout);
        CHECK(clock::now() - start == 1h);
        CHECK(result.wait_until(start + 2h) == future_status::timeout);
        CHECK(clock::now() - start == 2h);
        answer.set_value();
        CHECK(result.wait_for(1h) == future_status::ready);
        CHECK(clock::now() - start == 2h);
    });
}

TEST_CASE("a wait for a future that is cancelled loses nothing") {
    testing::run([] {
        promise<std::unique_ptr<int>> answer;
        auto result = answer.get_future();
        fiber other{[&] { CHECK_THROWS_AS(result.get(), cancelled); }};
        this_fiber::yield();
        other.cancel();
        other.join();
        CHECK(result.valid());
        {
            const timeout limit{1s};
            CHECK_THROWS_AS(result.get(), timed_out);
        }
        answer.set_value(std::make_unique<int>(7));
        CHECK(*result.get() == 7);
    });
}

TEST_CASE("who is cancelled after the result has come has it") {
    testing::run([] {
        promise<int> answer;
        auto result = answer.get_future();
        int seen = 0;
        fiber other{[&] { seen = result.get(); }};
        this_fiber::yield();
        answer.set_value(7);
        other.cancel();
        other.join();
        CHECK(seen == 7);
    });
}

TEST_CASE("a promise that dies breaks the promise for all who wait") {
    testing::run([] {
        auto answer = std::make_unique<promise<int>>();
        const shared_future result = answer->get_future().share();
        int broken = 0;
        std::vector<fiber> waiters;
        for (int i = 0; i < 3; ++i)
            waiters.emplace_back([&] {
                try {
                    result.get();
                } catch (const future_error& error) {
                    broken += error.code() == future_errc::broken_promise;
                }
            });
        this_fiber::yield();
        answer.reset();
        for (auto& waiter : waiters)
            waiter.join();
        CHECK(broken == 3);
    });
}

TEST_CASE("a fiber that is cancelled breaks the promise it holds") {
    testing::run([] {
        promise<int> answer;
        auto result = answer.get_future();
        fiber thinker{[answer = std::move(answer)]() mutable {
            this_fiber::sleep_for(1h);
            answer.set_value(1);
        }};
        this_fiber::yield();
        thinker.cancel();
        CHECK_THROWS_AS(result.get(), future_error);
    });
}

TEST_CASE("a shared result is given to every fiber that waits, in the order of their arrival") {
    testing::run([] {
        promise<std::string> answer;
        const shared_future result = answer.get_future().share();
        std::string log;
        std::vector<fiber> waiters;
        for (char letter : {'a', 'b', 'c'})
            waiters.emplace_back([&, letter, result] { log += letter + result.get(); });
        this_fiber::yield();
        answer.set_value("!");
        for (auto& waiter : waiters)
            waiter.join();
        CHECK(log == "a!b!c!");
    });
}

TEST_CASE("a promise may be destroyed by who has its result") {
    for (int round = 0; round < 200; ++round) {
        auto answer = std::make_unique<promise<int>>();
        auto result = answer->get_future();
        std::thread thinker{[&promise = *answer] { promise.set_value(1); }};
        CHECK(result.get() == 1);
        answer.reset();
        thinker.join();
    }
}

TEST_CASE("a plain thread waits for a fiber's result, and a fiber for a plain thread's") {
    promise<int> of_fiber;
    promise<int> of_thread;
    std::thread plain{[&] {
        CHECK(of_fiber.get_future().get() == 1);
        of_thread.set_value(2);
    }};
    coir::run([&] {
        of_fiber.set_value(1);
        CHECK(of_thread.get_future().get() == 2);
    });
    plain.join();
}

TEST_CASE("two hubs and plain threads see one result each time, or the time-out") {
    constexpr int rounds = 300;
    for (int round = 0; round < rounds; ++round) {
        promise<int> answer;
        const shared_future result = answer.get_future().share();
        auto wait = [result, round] {
            while (result.wait_for(std::chrono::microseconds{10}) != future_status::ready) {}
            CHECK(result.get() == round);
        };
        std::thread plain{wait};
        std::thread hub{[&] { coir::run(wait); }};
        coir::run([&] {
            fiber other{wait};
            fiber unlucky{[&] { result.wait(); }};
            this_fiber::yield();
            unlucky.cancel();
            answer.set_value(round);
        });
        plain.join();
        hub.join();
    }
}

TEST_CASE("of many who set a result at the same time, one has set it") {
    for (int round = 0; round < 100; ++round) {
        promise<int> answer;
        auto result = answer.get_future();
        std::atomic<int> winner{0};
        auto set = [&](int who) {
            try {
                answer.set_value(who);
                CHECK(winner.exchange(who) == 0);
            } catch (const future_error& error) {
                CHECK(error.code() == future_errc::promise_already_satisfied);
            }
        };
        std::thread a{set, 1};
        std::thread b{set, 2};
        const int seen = result.get();
        a.join();
        b.join();
        CHECK(seen == winner);
    }
}

TEST_CASE("a value whose move throws was not set") {
    struct reluctant {
        explicit reluctant(bool allowed) : may_move{allowed} {}
        reluctant(reluctant&& other) : may_move{other.may_move}
        {
            if (!may_move)
                throw 1;
        }
        reluctant(const reluctant& other) = default;
        bool may_move;
    };
    promise<reluctant> answer;
    auto result = answer.get_future();
    CHECK_THROWS_AS(answer.set_value(reluctant{false}), int);
    answer.set_value(reluctant{true});
    CHECK(result.get().may_move);
}

TEST_SUITE_END();
