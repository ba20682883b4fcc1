// SPDX-License-Identifier: BSL-1.0
#include <coir/barrier.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::barrier both{2};
        static_cast<void>(both.arrive());
        coir::fiber greedy{[&] { static_cast<void>(both.arrive(2)); }};
        greedy.join();
    });
}
