// SPDX-License-Identifier: BSL-1.0
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::fiber hasty{{.name = "hasty"}, [] {
                              coir::event never_set;
                              coir::no_suspend here;
                              never_set.wait();
                          }};
        hasty.join();
    });
}
