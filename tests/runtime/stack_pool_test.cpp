// SPDX-License-Identifier: BSL-1.0
#include "stack_pool.hpp"

#include <doctest/doctest.h>

#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <set>
#include <vector>

using namespace coir;

namespace {

const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

/// Whether the kernel can read there: it returns EFAULT where we would get SIGSEGV.
bool readable(const std::byte* address)
{
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const bool result = ::write(ends[1], address, 1) == 1;
    CHECK((result || errno == EFAULT));
    ::close(ends[0]);
    ::close(ends[1]);
    return result;
}

/// Closes the pool at the end, as a hub does.
struct hub_pool {
    stack_pool& stacks = *new stack_pool;
    hub_pool() = default;
    hub_pool(const hub_pool&) = delete;
    hub_pool& operator=(const hub_pool&) = delete;
    ~hub_pool() { stacks.close(); }
};

} // namespace

TEST_SUITE_BEGIN("stack_pool");

TEST_CASE("a stack is writable from end to end and has a guard page below") {
    hub_pool pool;
    for (std::size_t size : {std::size_t{16} * 1024, std::size_t{256} * 1024, std::size_t{64} << 20}) {
        const auto stack = pool.stacks.allocate(size);
        CHECK(stack.size == size - page);
        *stack.base = std::byte{1};
        *(stack.top() - 1) = std::byte{2};
        CHECK(readable(stack.base));
        CHECK(!readable(stack.base - 1));
        CHECK(!readable(stack.base - page));
        pool.stacks.release(stack);
    }
}

TEST_CASE("every stack has a guard, also those that are used again") {
    hub_pool pool;
    for (int round = 0; round < 2; ++round) {
        std::vector<stack_memory> stacks;
        for (int i = 0; i < 200; ++i)
            stacks.push_back(pool.stacks.allocate(256 * 1024));
        for (const auto& each : stacks) {
            CHECK(!readable(each.base - 1));
            *each.base = std::byte{1};
        }
        for (const auto& each : stacks)
            pool.stacks.release(each);
    }
}

TEST_CASE("sizes are rounded up to pages, and to four pages at least") {
    hub_pool pool;
    const auto tiny = pool.stacks.allocate(1);
    CHECK(tiny.size == 3 * page);
    const auto odd = pool.stacks.allocate(10 * page + 1);
    CHECK(odd.size == 10 * page);
    CHECK(reinterpret_cast<std::uintptr_t>(odd.base) % page == 0);
    pool.stacks.release(tiny);
    pool.stacks.release(odd);
}

TEST_CASE("a released stack is the next one given out, if the size fits") {
    hub_pool pool;
    const auto first = pool.stacks.allocate(64 * 1024);
    const auto second = pool.stacks.allocate(64 * 1024);
    pool.stacks.release(first);
    const auto other_size = pool.stacks.allocate(128 * 1024);
    CHECK(other_size.base != first.base);
    const auto again = pool.stacks.allocate(64 * 1024);
    CHECK(again.base == first.base);
    for (const auto& each : {second, other_size, again})
        pool.stacks.release(each);
}

TEST_CASE("stacks do not overlap") {
    hub_pool pool;
    std::vector<stack_memory> stacks;
    std::set<std::byte*> bases;
    for (int i = 0; i < 1000; ++i) {
        stacks.push_back(pool.stacks.allocate(32 * 1024));
        bases.insert(stacks.back().base);
    }
    CHECK(bases.size() == stacks.size());
    for (auto base = bases.begin(), next = std::next(base); next != bases.end(); ++base, ++next)
        CHECK(*next - *base >= 32 * 1024);
    for (const auto& each : stacks)
        pool.stacks.release(each);
}

TEST_CASE("a closed pool waits for its last stack") {
    auto* stacks = new stack_pool;
    const auto last = stacks->allocate(64 * 1024);
    stacks->close();
    *last.base = std::byte{1};
    stacks->release(last); // and deletes the pool: a leak checker would tell
}

TEST_CASE("a stack that cannot be had is an error, and the pool goes on") {
    hub_pool pool;
    CHECK_THROWS_AS(static_cast<void>(pool.stacks.allocate(std::size_t{1} << 60)), std::system_error);
    pool.stacks.release(pool.stacks.allocate(64 * 1024));
    coir::testing::run([] {
        CHECK_THROWS_AS(fiber({.stack_size = std::size_t{1} << 60}, [] {}), std::system_error);
        fiber{[] {}}.join();
    });
}

TEST_CASE("neighbouring stacks begin in different cache lines") {
    hub_pool pool;
    std::set<std::size_t> colours;
    std::vector<stack_memory> stacks;
    for (int i = 0; i < 16; ++i) {
        stacks.push_back(pool.stacks.allocate(256 * 1024));
        colours.insert(stack_pool::colour(stacks.back()));
    }
    CHECK(colours.size() == 16);
    CHECK(*colours.rbegin() < page);
    for (const auto& each : stacks)
        pool.stacks.release(each);
}

TEST_CASE("a fiber's stack is used again by the next fiber") {
    coir::testing::run([] {
        auto address_of_a_local = [] {
            std::uintptr_t address = 0;
            fiber probe{[&] {
                volatile char local = 0;
                address = reinterpret_cast<std::uintptr_t>(&local);
            }};
            probe.join();
            return address / default_stack_size();
        };
        const auto first = address_of_a_local();
        for (int i = 0; i < 10; ++i)
            CHECK(address_of_a_local() == first);
    });
}

TEST_SUITE_END();
