// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <coir/generator.hpp>
#include <coir/testing.hpp>

#include <algorithm>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

using namespace coir;
using namespace std::chrono_literals;

namespace {

struct node {
    int value;
    std::unique_ptr<node> left;
    std::unique_ptr<node> right;
};

std::unique_ptr<node> balanced(int first, int last)
{
    if (first > last)
        return nullptr;
    const int middle = (first + last) / 2;
    return std::make_unique<node>(node{middle, balanced(first, middle - 1), balanced(middle + 1, last)});
}

void walk(const node* tree, auto& yield)
{
    if (!tree)
        return;
    walk(tree->left.get(), yield);
    yield(tree->value);
    walk(tree->right.get(), yield);
}

generator<int> count_to(int last)
{
    return generator<int>{[last](auto& yield) {
        for (int i = 1; i <= last; ++i)
            yield(i);
    }};
}

static_assert(std::ranges::input_range<generator<int>>);
static_assert(std::ranges::input_range<generator<const int&>>);
static_assert(std::ranges::input_range<generator<std::string&>>);
static_assert(std::ranges::input_range<generator<std::unique_ptr<int>>>);
static_assert(!std::ranges::forward_range<generator<int>>);
static_assert(std::is_same_v<std::ranges::range_reference_t<generator<int>>, int&&>);
static_assert(std::is_same_v<std::ranges::range_value_t<generator<const int&>>, int>);

} // namespace

TEST_SUITE_BEGIN("generator");

TEST_CASE("a generator's elements come in the order they were yielded") {
    std::vector<int> seen;
    for (int i : count_to(5))
        seen.push_back(i);
    CHECK(seen == std::vector{1, 2, 3, 4, 5});
    for (int i : count_to(0))
        FAIL(i);
}

TEST_CASE("a recursion yields without passing anything up") {
    const auto tree = balanced(1, 1000);
    generator<const int&> values{[&](auto& yield) { walk(tree.get(), yield); }};
    int expected = 0;
    for (const int& value : values)
        CHECK(value == ++expected);
    CHECK(expected == 1000);
}

TEST_CASE("what the function does is done when the next element is wanted") {
    std::string log;
    generator<int> lazy{[&](auto& yield) {
        log += "a";
        yield(1);
        log += "b";
        yield(2);
        log += "c";
    }};
    CHECK(log.empty());
    auto at = lazy.begin();
    CHECK(log == "a");
    CHECK(*at == 1);
    CHECK(*at == 1);
    ++at;
    CHECK(log == "ab");
    CHECK(*at == 2);
    ++at;
    CHECK(log == "abc");
    CHECK(at == lazy.end());
}

TEST_CASE("elements can be move-only, or references through which one writes") {
    generator<std::unique_ptr<int>> owners{[](auto& yield) {
        yield(std::make_unique<int>(1));
        auto two = std::make_unique<int>(2);
        yield(std::move(two));
        CHECK(!two); // taken
    }};
    int sum = 0;
    for (std::unique_ptr<int> owner : owners)
        sum += *owner;
    CHECK(sum == 3);

    std::vector<std::string> words{"a", "b"};
    generator<std::string&> each{[&](auto& yield) {
        for (auto& word : words)
            yield(word);
    }};
    for (std::string& word : each)
        word += "!";
    CHECK(words == std::vector<std::string>{"a!", "b!"});
}

TEST_CASE("an lvalue that is yielded by value is copied") {
    generator<std::string> copies{[](auto& yield) {
        const std::string constant = "constant";
        yield(constant);
        std::string variable = "variable";
        yield(variable);
        CHECK(variable == "variable");
        yield("literal");
    }};
    std::vector<std::string> seen;
    for (std::string&& word : copies)
        seen.push_back(std::move(word));
    CHECK(seen == std::vector<std::string>{"constant", "variable", "literal"});
}

TEST_CASE("algorithms and views work") {
    auto ten = count_to(10);
    CHECK(*std::ranges::find(ten, 7) == 7);
    auto numbers = count_to(100);
    std::vector<int> squares;
    for (int square : numbers | std::views::filter([](int i) { return i % 2 == 0; }) |
                          std::views::transform([](int i) { return i * i; }) | std::views::take(3))
        squares.push_back(square);
    CHECK(squares == std::vector{4, 16, 36});

    int sum = 0;
    std::ranges::for_each(count_to(10), [&](int i) { sum += i; });
    CHECK(sum == 55);
    for (int i : count_to(5) | std::views::drop(3))
        sum += i;
    CHECK(sum == 64);
}

TEST_CASE("an endless generator is left in the middle, and unwinds") {
    bool unwound = false;
    {
        generator<int> naturals{[&](auto& yield) {
            struct notes {
                bool& flag;
                ~notes() { flag = true; }
            } end{unwound};
            for (int i = 0;; ++i)
                yield(i);
        }};
        for (int i : naturals)
            if (i == 10)
                break;
        CHECK(!unwound);
    }
    CHECK(unwound);
}

TEST_CASE("what the function throws comes out where the next element was wanted, and it has ended") {
    generator<int> failing{[](auto& yield) {
        yield(1);
        throw std::runtime_error{"no second"};
    }};
    auto at = failing.begin();
    CHECK(*at == 1);
    CHECK_THROWS_WITH(++at, "no second");
    CHECK(at == failing.end());

    generator<int> at_once{[](auto&) { throw std::runtime_error{"no first"}; }};
    CHECK_THROWS_WITH(at_once.begin(), "no first");
}

TEST_CASE("generators yield from others, and contain others") {
    generator<int> both{[](auto& yield) {
        yield.from(count_to(2));
        yield.from(std::vector{7, 8});
        for (int i : count_to(3))
            yield(i * 10);
    }};
    std::vector<int> seen;
    for (int i : both)
        seen.push_back(i);
    CHECK(seen == std::vector{1, 2, 7, 8, 10, 20, 30});
}

TEST_CASE("a generator moves, with its place") {
    auto numbers = count_to(3);
    CHECK(*numbers.begin() == 1);
    auto moved = std::move(numbers);
    std::vector<int> seen;
    for (int i : moved)
        seen.push_back(i);
    CHECK(seen == std::vector{1, 2, 3});
}

TEST_CASE("a generator that suspends suspends the fiber that goes through it") {
    testing::run([] {
        const auto start = clock::now();
        generator<int> ticks{[](auto& yield) {
            for (int i = 0; i < 3; ++i) {
                this_fiber::sleep_for(1s);
                yield(i);
            }
        }};
        std::string log;
        fiber other{[&] {
            for (int i = 0; i < 3; ++i) {
                this_fiber::sleep_for(700ms);
                log += "other ";
            }
        }};
        for (int i : ticks)
            log += std::to_string(i) + ' ';
        CHECK(clock::now() - start == 3s);
        CHECK(log == "other 0 other 1 other 2 ");
    });
}

TEST_CASE("fibers may take turns at one generator") {
    testing::run([] {
        auto numbers = count_to(100);
        auto at = numbers.begin();
        int sum = 0;
        std::vector<fiber> takers;
        for (int i = 0; i < 4; ++i)
            takers.emplace_back([&] {
                while (at != numbers.end()) {
                    sum += *at;
                    ++at;
                    this_fiber::yield();
                }
            });
        for (auto& each : takers)
            each.join();
        CHECK(sum == 5050);
    });
}

TEST_SUITE_END();
