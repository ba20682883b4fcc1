// SPDX-License-Identifier: BSL-1.0
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <chrono>
#include <iostream>
#include <thread>

using namespace std::chrono_literals;

int main()
{
    coir::run([] {
        std::cout << "this runs in a fiber\n";
        std::this_thread::sleep_for(100ms); // suspends the fiber; its thread is free for others
        std::cout << "and so does this, 100 ms later\n";
    });
}
