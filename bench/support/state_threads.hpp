// SPDX-License-Identifier: BSL-1.0
#pragma once
// State Threads, for C++: starts it with the best event system that it was compiled with, and threads from lambdas. Its
// threads here have stacks of 64 KiB, as coir's fibers do; it has no guard pages.
#include <cstdio>
#include <cstdlib>
#include <st.h>

namespace bench {

inline void start_state_threads()
{
    // epoll where it has that, which Debian's has not; its default, select, ends at 1024 descriptors.
    ::st_set_eventsys(ST_EVENTSYS_ALT);
    if (::st_get_eventsys() != ST_EVENTSYS_ALT)
        ::st_set_eventsys(ST_EVENTSYS_POLL);
    if (::st_init() == 0)
        return;
    std::perror("st_init");
    std::exit(1);
}

/// The function must outlive the thread.
template <class Function> st_thread_t start_thread(Function& function, bool joinable = true)
{
    const auto call = [](void* callable) -> void* {
        (*static_cast<Function*>(callable))();
        return nullptr;
    };
    const st_thread_t thread = ::st_thread_create(call, &function, joinable, 64 * 1024);
    if (thread)
        return thread;
    std::perror("st_thread_create");
    std::exit(1);
}

} // namespace bench
