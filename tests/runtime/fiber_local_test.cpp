// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_local.hpp>
#include <coir/testing.hpp>

#include <string>
#include <thread>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

/// Notes in which fiber it is destroyed.
struct probe {
    std::vector<fiber_id>* destroyed_in = nullptr;
    int value = 0;
    probe() = default;
    probe(const probe&) = delete;
    probe& operator=(const probe&) = delete;
    ~probe()
    {
        if (destroyed_in)
            destroyed_in->push_back(this_fiber::get_id());
    }
};

const fiber_local<int> number;
const fiber_local<std::string> text;
const fiber_local<probe> probed;

} // namespace

TEST_SUITE_BEGIN("fiber_local");

TEST_CASE("every fiber has a value of its own, made when it first asks") {
    testing::run([] {
        auto keep = [](int mine) {
            CHECK(number.get() == 0);
            CHECK(text->empty());
            *number = mine;
            *text = std::to_string(mine);
            for (int i = 0; i < 3; ++i) {
                this_fiber::yield();
                CHECK(*number == mine);
                CHECK(*text == std::to_string(mine));
            }
        };
        fiber a{keep, 1};
        fiber b{keep, 2};
        *number = 3;
        a.join();
        b.join();
        CHECK(*number == 3);
    });
}

TEST_CASE("a fiber on the stack of one that has ended does not see its values") {
    testing::run([] {
        for (int i = 0; i < 3; ++i) {
            fiber next{[] {
                CHECK(*number == 0);
                *number = 5;
            }};
            next.join();
        }
    });
}

TEST_CASE("a value is destroyed in its fiber when that ends, also by cancellation") {
    testing::run([] {
        std::vector<fiber_id> destroyed_in;
        auto use = [&] {
            probed->destroyed_in = &destroyed_in;
            this_fiber::sleep_for(1s);
        };
        fiber ends{use};
        const auto first = ends.get_id();
        ends.join();
        CHECK(destroyed_in == std::vector{first});
        fiber is_cancelled{use};
        const auto second = is_cancelled.get_id();
        this_fiber::yield();
        is_cancelled.cancel();
        is_cancelled.join();
        CHECK(destroyed_in == std::vector{first, second});
    });
}

TEST_CASE("on a plain thread the value is the thread's, and is destroyed with it") {
    *number = 1;
    std::vector<fiber_id> destroyed_in;
    std::thread{[&] {
        CHECK(*number == 0);
        *number = 2;
        probed->destroyed_in = &destroyed_in;
        testing::run([] { CHECK(*number == 0); });
        CHECK(*number == 2);
    }}.join();
    CHECK(destroyed_in.size() == 1);
    CHECK(*number == 1);
    *number = 0;
}

TEST_SUITE_END();
