// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <stdexcept>

int main()
{
    coir::testing::run([] {
        coir::fiber stray{{.name = "stray"}, [] { throw std::runtime_error{"nobody hears this"}; }};
        coir::this_fiber::yield();
        stray.detach();
    });
}
