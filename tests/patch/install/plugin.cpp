// SPDX-License-Identifier: BSL-1.0
// A library that knows nothing of coir. Built several times: bound at once and lazily, with and without RELRO.
#include <time.h>
#include <unistd.h>

extern "C" {

// An address of a function in data, as tables of operations have them.
[[gnu::visibility("default")]] int (*nap_by_pointer)(const timespec*, timespec*) = ::nanosleep;

[[gnu::visibility("default")]] void nap()
{
    const timespec time{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&time, nullptr);
}

[[gnu::visibility("default")]] int calls_pause()
{
    return ::pause();
}
}
