// SPDX-License-Identifier: BSL-1.0
// A deadlock is reported by an exception after everything has been cancelled. What cannot be cancelled leaves only
// this.
#include <coir/event.hpp>
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::event never_set;
        coir::fiber stuck{{.name = "stuck"}, [&] {
                              coir::shield clean_up;
                              never_set.wait();
                          }};
        stuck.join();
    });
}
