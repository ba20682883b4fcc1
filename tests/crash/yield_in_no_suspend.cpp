// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::fiber hasty{{.name = "hasty"}, [] {
                              coir::no_suspend here;
                              coir::this_fiber::yield();
                          }};
        hasty.join();
    });
}
