// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/mutex.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::mutex door;
        door.lock();
        coir::fiber thief{[&] { door.unlock(); }};
        thief.join();
    });
}
