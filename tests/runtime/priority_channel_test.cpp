// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/priority_channel.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("priority_channel");

TEST_CASE("a priority channel gives out the greatest value first") {
    testing::run([] {
        priority_channel<int> numbers;
        CHECK(numbers.capacity() == unbounded);
        std::vector<int> sent(500);
        std::mt19937 random{7};
        for (int& number : sent)
            numbers.send(number = static_cast<int>(random() % 100));
        std::sort(sent.begin(), sent.end(), std::greater<>{});
        for (const int number : sent)
            CHECK(numbers.receive() == number);
        CHECK(!numbers.try_receive());
    });
}

TEST_CASE("the order may be another") {
    testing::run([] {
        struct by_value {
            bool operator()(const std::unique_ptr<int>& left, const std::unique_ptr<int>& right) const
            {
                return *left > *right;
            }
        };
        priority_channel<std::unique_ptr<int>, by_value> numbers{8};
        for (int i : {3, 1, 2})
            numbers.send(std::make_unique<int>(i));
        for (int i : {1, 2, 3})
            CHECK(**numbers.receive() == i);
        numbers.send(std::make_unique<int>(4)); // destroyed with the channel
    });
}

TEST_CASE("a full priority channel makes senders wait") {
    testing::run([] {
        priority_channel<int> numbers{2};
        std::vector<fiber> senders;
        for (int i : {1, 2, 9, 4})
            senders.emplace_back([&, i] { numbers.send(i); });
        this_fiber::yield();
        CHECK(numbers.size() == 2);
        CHECK(!numbers.send_for(5, 1s));
        CHECK(numbers.receive() == 2); // of those that are in; then 9 comes in
        CHECK(numbers.receive() == 9);
        CHECK(numbers.receive() == 4);
        CHECK(numbers.receive() == 1);
        numbers.close();
        CHECK(numbers.receive_for(1s).is_closed());
    });
}

TEST_CASE("a receiver that waits for a priority channel gets what comes") {
    testing::run([] {
        priority_channel<int> numbers;
        int received = 0;
        fiber receiver{[&] { received = *numbers.receive(); }};
        this_fiber::yield();
        numbers.send(1);
        numbers.send(2);
        receiver.join();
        CHECK(received == 1);
        CHECK(numbers.receive() == 2);
    });
}

TEST_SUITE_END();
