// SPDX-License-Identifier: BSL-1.0
#pragma once
// Something in a process of its own.
#include "sanitized.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace support {

/// Whether every thread but this one waits in the kernel.
inline bool other_threads_wait()
{
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        if (task.path().filename() == std::to_string(::gettid()))
            continue;
        std::string line;
        std::getline(std::ifstream{task.path() / "stat"}, line);
        if (const auto name_end = line.rfind(')'); name_end != line.npos && line.substr(name_end + 2, 1) != "S")
            return false;
    }
    return true;
}

/// Until they do, or do not for a while. Before a fork: AddressSanitizer's malloc, unlike libc's, does not see to it
/// that no other thread is in it at that moment, and the child would wait for ever for that thread to leave it.
inline void wait_for_other_threads()
{
    for (int i = 0; i < 1000 && !other_threads_wait(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
}

/// Forks and runs `child`, whose result is the exit status. Waits for it; the test case fails if it ends otherwise.
template <class Child> int status_of(Child&& child)
{
    std::fflush(nullptr); // or both would write what is in the buffers
    if (sanitized)
        wait_for_other_threads();
    const pid_t process = ::fork();
    if (process == 0)
        ::_exit(child());
    int status = -1;
    REQUIRE(::waitpid(process, &status, 0) == process);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

} // namespace support
