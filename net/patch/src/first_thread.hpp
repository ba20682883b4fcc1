// SPDX-License-Identifier: BSL-1.0
#pragma once
// main, as a thread among those that are fibers. Its kernel thread is the hub's: when main has called pthread_exit,
// that stays, and libc does not know that a thread has ended. So who joins main, and what it has ended with, is kept
// here.
#include "thread_end.hpp"

#include <coir/fiber.hpp>

#include <pthread.h>

namespace coir {

class first_thread {
public:
    /// Once, in main. False if there is no memory.
    static bool prepare() noexcept;
    /// Null if `thread` is another, or if main is in the process that has forked this one.
    static first_thread* of(pthread_t thread) noexcept;
    /// The caller's: null outside of main.
    static first_thread* own() noexcept;

    /// On its way to the end: with what.
    void ends_with(void* result) noexcept { result_ = result; }

    int join(void** result, clock::time_point deadline) noexcept;
    int try_join(void** result) noexcept;
    int detach() noexcept;

    thread_end end;

private:
    int take(void** result) const noexcept
    {
        if (result)
            *result = result_;
        return 0;
    }

    pthread_t id_{};
    fiber_id fiber_{};
    void* result_ = nullptr;
};

} // namespace coir
