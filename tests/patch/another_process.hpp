// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "native_diff.hpp"

#include <sys/wait.h>
#include <unistd.h>

/// Does something in another process, which has the same descriptors, and waits until it has been done.
template <class Work> void in_another_process(Work&& work)
{
    const pid_t child = must(::fork());
    if (child == 0) {
        work();
        ::_exit(0);
    }
    int status;
    must(::waitpid(child, &status, 0));
}
