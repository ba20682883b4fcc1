// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/hub_local.hpp>
#include <coir/runtime.hpp>
#include <coir/testing.hpp>

#include <atomic>
#include <thread>

using namespace coir;

namespace {

std::atomic<int> alive{0};

struct counter : hub_object {
    int count = 0;
    counter() { ++alive; }
    ~counter() override { --alive; }
};

} // namespace

TEST_CASE("a hub_local is one object for all fibers of a hub, and dies with the hub") {
    static const hub_local<counter> counters;
    auto use = [] {
        coir::run([] {
            CHECK(counters.get().count == 0);
            fiber a{[] { ++counters.get().count; }};
            fiber b{[] { ++counters.get().count; }};
            a.join();
            b.join();
            CHECK(counters.get().count == 2);
        });
    };
    use();
    CHECK(alive == 0);
    std::thread other{use};
    use();
    other.join();
    CHECK(alive == 0);
}
