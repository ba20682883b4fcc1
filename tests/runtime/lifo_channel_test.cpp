// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/lifo_channel.hpp>
#include <coir/testing.hpp>

#include <memory>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("lifo_channel");

TEST_CASE("a lifo channel gives out the newest value first") {
    testing::run([] {
        lifo_channel<std::unique_ptr<int>> numbers;
        for (int i = 0; i < 100; ++i)
            numbers.send(std::make_unique<int>(i));
        for (int i = 99; i > 0; --i)
            CHECK(**numbers.receive() == i);
        CHECK(numbers.size() == 1); // destroyed with the channel
    });
}

TEST_CASE("a full lifo channel takes the values of senders that wait in the order of their arrival") {
    testing::run([] {
        lifo_channel<int> numbers{1};
        std::vector<fiber> senders;
        for (int i = 1; i <= 3; ++i)
            senders.emplace_back([&, i] { numbers.send(i); });
        this_fiber::yield();
        for (int i = 1; i <= 3; ++i)
            CHECK(numbers.receive() == i);
    });
}

TEST_SUITE_END();
