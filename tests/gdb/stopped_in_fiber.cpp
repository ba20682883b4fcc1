// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <cstdio>

namespace {

/// gdb_test.py stops here.
[[gnu::noinline]] void innermost(int depth)
{
    std::printf("depth %d\n", depth);
}

[[gnu::noinline]] void middle(int depth)
{
    innermost(depth + 1);
    std::puts("back"); // no tail call
}

} // namespace

int main()
{
    coir::run([] {
        coir::fiber stopped{{.name = "stopped"}, [] { middle(1); }};
        stopped.join();
    });
}
