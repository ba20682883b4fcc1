// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/testing.hpp>

#include <stdexcept>

int main()
{
    coir::testing::run([] {
        coir::fiber failing{{.name = "failing"}, [] { throw std::runtime_error{"nobody asked"}; }};
    });
}
