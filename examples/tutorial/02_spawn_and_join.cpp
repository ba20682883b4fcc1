// SPDX-License-Identifier: BSL-1.0
#include <coir/fiber.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <chrono>
#include <iostream>
#include <thread>

using namespace std::chrono_literals;

void boil(const char* what, std::chrono::milliseconds time)
{
    std::cout << what << ": on\n";
    std::this_thread::sleep_for(time);
    std::cout << what << ": done\n";
}

int main()
{
    coir::run([] {
        coir::fiber tea{[] { boil("tea", 100ms); }};
        coir::fiber eggs{[] { boil("eggs", 200ms); }};
        tea.join();
        eggs.join(); // after 200 ms in all, on one thread
        std::cout << "breakfast\n";
    });
}
