// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/joinable_channel.hpp>
#include <coir/select.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("joinable_channel");

TEST_CASE("join waits until every task has been reported as done") {
    testing::run([] {
        joinable_channel<int> jobs;
        jobs.join(); // nothing to wait for
        std::vector<fiber> workers;
        int sum = 0;
        for (int i = 0; i < 3; ++i)
            workers.emplace_back([&] {
                for (const int job : jobs) {
                    this_fiber::sleep_for(1s);
                    sum += job;
                    jobs.task_done();
                }
            });
        this_fiber::yield(); // the first three are handed over, the others wait in the channel
        const auto start = clock::now();
        for (int job = 1; job <= 9; ++job)
            jobs.send(job);
        CHECK(jobs.unfinished() == 9);
        jobs.join();
        CHECK(sum == 45);
        CHECK(clock::now() - start == 3s);
        jobs.close();
    });
}

TEST_CASE("a value counts when it has come in, whichever way") {
    testing::run([] {
        joinable_channel<int> jobs{1};
        CHECK(jobs.try_send(1));
        CHECK(!jobs.try_send(2));
        CHECK(!jobs.send_for(2, 1s));
        CHECK(jobs.unfinished() == 1);
        fiber waiting{[&] { jobs.send(2); }};
        this_fiber::yield();
        CHECK(jobs.unfinished() == 1);
        CHECK(jobs.receive() == 1);
        CHECK(jobs.unfinished() == 2);
        CHECK(jobs.receive() == 2);
        select(on_send(jobs, 3, [] {}));
        CHECK(jobs.unfinished() == 3);

        joinable_channel<int> hand_over{0};
        fiber sender{[&] { hand_over.send(1); }};
        this_fiber::yield();
        CHECK(hand_over.unfinished() == 0);
        CHECK(hand_over.receive() == 1);
        CHECK(hand_over.unfinished() == 1);
    });
}

TEST_CASE("more reports than tasks are a mistake") {
    joinable_channel<int> jobs;
    CHECK_THROWS_AS(jobs.task_done(), std::logic_error);
    jobs.send(1);
    jobs.task_done();
    CHECK_THROWS_AS(jobs.task_done(), std::logic_error);
}

TEST_CASE("joining a channel can be cancelled, and gives up at its deadline") {
    testing::run([] {
        joinable_channel<int> jobs;
        jobs.send(1);
        const auto start = clock::now();
        CHECK(!jobs.join_for(1s));
        CHECK(!jobs.join_until(start + 2s));
        CHECK(clock::now() - start == 2s);
        fiber other{[&] { CHECK_THROWS_AS(jobs.join(), cancelled); }};
        this_fiber::yield();
        other.cancel();
        other.join();
        jobs.task_done();
        CHECK(jobs.join_for(1s));
    });
}

TEST_CASE("a plain thread joins a channel that two hubs work on") {
    constexpr int count = 2000;
    joinable_channel<int> jobs{5};
    std::atomic<int> sum{0};
    auto work = [&] {
        coir::run([&] {
            for (const int job : jobs) {
                sum += job;
                jobs.task_done();
            }
        });
    };
    std::thread one{work};
    std::thread two{work};
    for (int i = 0; i < count; ++i)
        jobs.send(1);
    jobs.join();
    CHECK(sum == count);
    jobs.close();
    one.join();
    two.join();
}

TEST_SUITE_END();
