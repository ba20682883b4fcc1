// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/shared_mutex.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::shared_mutex door;
        door.unlock_shared();
    });
}
