// SPDX-License-Identifier: BSL-1.0
// gdb_test.py stops it in `innermost`: in main and in two threads, each of which has waited. It knows nothing of coir.
#include <unistd.h>

#include <thread>

namespace {

[[gnu::noinline]] void innermost(int number)
{
    asm volatile("" : : "r"(number) : "memory");
}

[[gnu::noinline]] int middle(int number)
{
    usleep(1000);
    innermost(number);
    return number + 1; // so that the call is none that ends this function
}

} // namespace

int main()
{
    std::thread first{[] { return middle(10) != 0; }};
    std::thread second{[] { return middle(20) != 0; }};
    first.join();
    second.join();
    return middle(30) == 31 ? 0 : 1;
}
