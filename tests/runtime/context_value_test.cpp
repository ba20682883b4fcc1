// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/context_value.hpp>
#include <coir/coroutine.hpp>
#include <coir/fiber_group.hpp>
#include <coir/offload.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

using namespace coir;
using namespace std::chrono_literals;

namespace {

context_value<int> number;
context_value<std::string> name{"nobody"};

using bind_number = context_value<int>::binding;
using bind_name = context_value<std::string>::binding;

} // namespace

TEST_SUITE_BEGIN("context_value");

TEST_CASE("a value is bound for the extent of a scope, in a fiber and on a thread") {
    auto check = [] {
        CHECK(!number.find());
        CHECK_THROWS_AS(static_cast<void>(number.get()), std::logic_error);
        CHECK(*name == "nobody");
        {
            const bind_number outer{number, 1};
            CHECK(*number == 1);
            {
                const bind_number inner{number, 2};
                const bind_name other{name, std::size_t{3}, 'x'}; // as the constructor of a string takes it
                CHECK(*number == 2);
                CHECK(*name == "xxx");
                CHECK(name->size() == 3);
            }
            CHECK(*number == 1);
            CHECK(*name == "nobody");
        }
        CHECK(!number.find());
    };
    check();
    testing::run(check);
}

TEST_CASE("a fiber starts with what is bound where it is started") {
    testing::run([] {
        std::string log;
        fiber late;
        {
            const bind_number bound{number, 1};
            late = fiber{[&] {
                this_fiber::sleep_for(1s); // when the binding is over
                log += std::to_string(*number);
                fiber grandchild{[&] { log += std::to_string(*number); }};
                grandchild.join();
            }};
            const bind_number later{number, 2};
            fiber other{[&] { log += std::to_string(*number); }};
            other.join();
        }
        late.join();
        CHECK(log == "211");
    });
}

TEST_CASE("what one fiber binds later no other sees") {
    testing::run([] {
        const bind_number bound{number, 1};
        fiber child{[] {
            const bind_number own{number, 2};
            this_fiber::sleep_for(2s);
            CHECK(*number == 2);
        }};
        this_fiber::sleep_for(1s);
        CHECK(*number == 1);
        const bind_number mine{number, 3};
        this_fiber::sleep_for(2s);
        child.join();
    });
}

TEST_CASE("a value is destroyed by the last that uses it") {
    static context_value<std::shared_ptr<int>> shared;
    testing::run([] {
        auto value = std::make_shared<int>(1);
        fiber user;
        {
            const context_value<std::shared_ptr<int>>::binding bound{shared, value};
            user = fiber{[] { this_fiber::sleep_for(1s); }};
            fiber short_lived{[] {}};
            short_lived.join();
            CHECK(value.use_count() == 2);
        }
        this_fiber::yield();
        CHECK(value.use_count() == 2);
        user.join();
        CHECK(value.use_count() == 1);
    });
}

TEST_CASE("fibers that are cancelled before they have run give back what they have inherited") {
    static context_value<std::shared_ptr<int>> shared;
    auto value = std::make_shared<int>(1);
    testing::run([&] {
        const context_value<std::shared_ptr<int>>::binding bound{shared, value};
        fiber_group group;
        group.cancel();
        for (int i = 0; i < 10; ++i)
            group.spawn([] { this_fiber::yield(); });
        group.join();
    });
    CHECK(value.use_count() == 1);
}

TEST_CASE("a long list is given back without recursion") {
    testing::run([] {
        std::function<void(int)> deeper = [&](int left) {
            const bind_number bound{number, left};
            if (left > 0) {
                // Each a fiber, so that no stack gets deep; what they have bound hangs on the last.
                fiber next{[&, left] { deeper(left - 1); }};
                next.join();
            }
        };
        deeper(3000);
        CHECK(!number.find());
    });
}

TEST_CASE("what a runtime's main sees is what was bound around run") {
    const bind_number bound{number, 4};
    testing::run([] { CHECK(*number == 4); });
}

TEST_CASE("a coroutine starts with what is bound where it is first resumed, and keeps its own") {
    testing::run([] {
        coroutine<int()> inner{[](auto& self) {
            self.yield(*number);
            const bind_number own{number, 10};
            self.yield(*number);
            this_fiber::yield();
            return *number;
        }};
        {
            const bind_number bound{number, 1};
            CHECK(inner.resume() == 1);
            CHECK(*number == 1);
        }
        const bind_number other{number, 2};
        CHECK(inner.resume() == 10);
        CHECK(*number == 2);
        CHECK(inner.resume() == 10);
        CHECK(*number == 2);
    });
}

TEST_CASE("a coroutine that is destroyed early gives back what it had bound") {
    static context_value<std::shared_ptr<int>> shared;
    auto value = std::make_shared<int>(1);
    {
        coroutine<void()> inner{[&](auto& self) {
            const context_value<std::shared_ptr<int>>::binding bound{shared, value};
            self.yield();
        }};
        inner.resume();
        CHECK(value.use_count() == 2);
    }
    CHECK(value.use_count() == 1);
}

TEST_CASE("a snapshot takes what is bound along") {
    context_snapshot nothing;
    const auto taken = [] {
        const bind_number bound{number, 5};
        return context_snapshot{};
    }();
    const bind_number bound{number, 6};
    CHECK(taken.run([] { return *number; }) == 5);
    CHECK_THROWS_AS(taken.run([] { throw 1; }), int);
    CHECK(*number == 6);
    std::thread{[copy = taken] {
        CHECK(!number.find());
        copy.run([] {
            CHECK(*number == 5);
            const bind_number deeper{number, 7};
            CHECK(*number == 7);
        });
        CHECK(!number.find());
    }}.join();
    CHECK(nothing.run([] { return number.find() == nullptr; }));
}

TEST_CASE("offloaded work sees what is bound where it is offloaded") {
    coir::run([] {
        const bind_number bound{number, 8};
        CHECK(offload([] { return *number; }) == 8);
    });
}

TEST_CASE("fibers of many hubs share what they have inherited") {
    coir::run({.hubs = 3}, [] {
        const bind_name bound{name, "family"};
        fiber_group group;
        for (int i = 0; i < 200; ++i)
            group.spawn({.on = placement::any_hub}, [] {
                const bind_number own{number, 1};
                this_fiber::yield();
                CHECK(*name == "family");
            });
        group.join();
    });
}

TEST_SUITE_END();
