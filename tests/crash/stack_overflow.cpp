// SPDX-License-Identifier: BSL-1.0
// A fiber that recurses without end runs into the guard page below its stack, not into its neighbour's stack.
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

namespace {

volatile bool deeper = true; // which the compiler cannot know

int recurse(int depth)
{
    volatile char frame[1024];
    frame[0] = static_cast<char>(depth);
    return (deeper ? recurse(depth + 1) : 0) + frame[0];
}

} // namespace

int main()
{
    return coir::testing::run([] {
        coir::fiber neighbour{[] { coir::this_fiber::yield(); }};
        int result = 0;
        coir::fiber deep{{.name = "deep"}, [&] { result = recurse(0); }};
        deep.join();
        return result;
    });
}
