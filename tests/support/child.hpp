// SPDX-License-Identifier: BSL-1.0
#pragma once
// Something in a process of its own.
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace support {

/// Forks and runs `child`, whose result is the exit status. Waits for it; the test case fails if it ends otherwise.
template <class Child> int status_of(Child&& child)
{
    std::fflush(nullptr); // or both would write what is in the buffers
    const pid_t process = ::fork();
    if (process == 0)
        ::_exit(child());
    int status = -1;
    REQUIRE(::waitpid(process, &status, 0) == process);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

} // namespace support
