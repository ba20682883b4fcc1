// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/latch.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::latch one{1};
        one.count_down(2);
    });
}
