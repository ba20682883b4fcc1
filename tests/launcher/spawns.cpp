// SPDX-License-Identifier: BSL-1.0
// A program whose main expects to be a fiber. Its calls are not patched unless `coir run` does it.
#include <coir/fiber.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

int main()
{
    using namespace std::chrono_literals;
    coir::fiber slow{[] {
        std::this_thread::sleep_for(20ms);
        std::puts("slow");
    }};
    coir::fiber fast{[] {
        std::this_thread::sleep_for(1ms);
        std::puts("fast");
    }};
    std::puts("main");
    slow.join();
    fast.join();
}
