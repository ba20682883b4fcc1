// SPDX-License-Identifier: BSL-1.0
#include <coir/runtime.hpp>

int main()
{
    coir::runtime hub;
    hub.spawn({.name = "stray"}, [] { throw 42; });
    hub.run();
}
