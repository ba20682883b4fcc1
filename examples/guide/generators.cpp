// SPDX-License-Identifier: BSL-1.0
//
// Functions that stop in the middle, as in docs/guide/generators-and-coroutines.md.
#include <coir/coroutine.hpp>
#include <coir/generator.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <memory>
#include <ranges>
#include <string>
#include <utility>

using namespace std::chrono_literals;

namespace {

struct node {
    int value;
    std::unique_ptr<node> left;
    std::unique_ptr<node> right;
};

void insert(std::unique_ptr<node>& tree, int value)
{
    if (!tree)
        tree = std::make_unique<node>(node{value, nullptr, nullptr});
    else
        insert(value < tree->value ? tree->left : tree->right, value);
}

void walk(const node* tree, auto& yield)
{
    if (!tree)
        return;
    walk(tree->left.get(), yield);
    yield(tree->value);
    walk(tree->right.get(), yield);
}

void a_tree()
{
    std::unique_ptr<node> tree;
    for (int value : {5, 2, 8, 1, 9, 3})
        insert(tree, value);

    coir::generator<const int&> values{[&](auto& yield) { walk(tree.get(), yield); }};
    for (int value : values | std::views::filter([](int each) { return each % 2 == 1; }))
        std::printf("%d ", value);
    std::printf("\n");
}

void an_endless_one()
{
    coir::generator<long> fibonacci{[](auto& yield) {
        for (long a = 0, b = 1;; a = std::exchange(b, a + b))
            yield(a);
    }};
    for (long number : fibonacci | std::views::take(10))
        std::printf("%ld ", number);
    std::printf("\n");
}

void one_that_waits()
{
    coir::generator<std::string> ticks{[](auto& yield) {
        for (int i = 1; i <= 3; ++i) {
            coir::this_fiber::sleep_for(10ms); // other fibers run meanwhile
            yield("tick " + std::to_string(i));
        }
    }};
    for (const std::string& tick : ticks)
        std::printf("%s\n", tick.c_str());
}

void both_ways()
{
    coir::coroutine<std::string(std::string)> parrot{[](auto& self, std::string heard) {
        while (heard != "bye")
            heard = self.yield("you said " + heard);
        return std::string{"bye, then"};
    }};
    std::puts(parrot.resume("hello").c_str());
    std::puts(parrot.resume("who is there?").c_str());
    std::puts(parrot.resume("bye").c_str());
    std::printf("%s\n", parrot.done() ? "done" : "not done");
}

void taking_turns()
{
    using player = coir::coroutine<std::string(int)>;
    player* other = nullptr;
    player ping{[&](auto& self, int turn) {
        while (turn < 4) {
            std::printf("ping %d\n", turn);
            turn = self.transfer(*other, turn + 1);
        }
        return std::string{"ping has it"};
    }};
    player pong{[&](auto& self, int turn) {
        while (turn < 4) {
            std::printf("pong %d\n", turn);
            turn = self.transfer(ping, turn + 1);
        }
        return std::string{"pong has it"};
    }};
    other = &pong;
    std::puts(ping.resume(1).c_str());
}

} // namespace

int main()
{
    coir::run([] {
        a_tree();
        an_endless_one();
        one_that_waits();
        both_ways();
        taking_turns();
    });
}
