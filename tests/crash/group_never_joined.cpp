// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber_group.hpp>
#include <coir/testing.hpp>

#include <stdexcept>

int main()
{
    coir::testing::run([] {
        coir::fiber_group group;
        group.spawn([] { throw std::runtime_error{"nobody asked"}; });
    });
}
