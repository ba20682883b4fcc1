// SPDX-License-Identifier: BSL-1.0
#include <coir/mutex.hpp>
#include <coir/testing.hpp>

int main()
{
    coir::testing::run([] {
        coir::mutex door;
        door.lock();
    });
}
