// SPDX-License-Identifier: BSL-1.0
#pragma once
// Handlers of signals. One may come in the middle of anything, of coir's own work too: so while it runs there is no
// fiber, and what it calls is libc's. What it does to fibers all the same, as sem_post does, is noted, and done by a
// hub that is told: see net/handler_news.hpp.
//
// Handlers are found by wrapping them where the program installs them: calls_handler.cpp. Those of errors (SIGSEGV and
// the like) are not wrapped: they are called by the code that runs, and may want to know who that is.
#include <coir/fiber.hpp>
#include <coir/net/handler_news.hpp>
#include <coir/signal_wait.hpp>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace coir {

/// A handler that runs on this thread, and what it has interrupted.
struct running_handler {
    running_handler() noexcept;
    ~running_handler();
    running_handler(const running_handler&) = delete;
    running_handler& operator=(const running_handler&) = delete;

    fiber_state* fiber; ///< null too if it was none
    running_handler* outer;

    [[gnu::tls_model("initial-exec")]] static constinit thread_local running_handler* innermost;
    /// longjmp leaves all of them.
    static void leave_all() noexcept;
};

inline bool in_handler() noexcept
{
    return running_handler::innermost != nullptr;
}

/// Whether the program has ever had one that is wrapped.
inline constinit std::atomic<bool> handlers_exist{false};

/// Before a fiber waits for what a handler may do: its hub will be told.
inline void listen_to_handlers() noexcept
{
    if (handlers_exist.load(std::memory_order_relaxed) && this_fiber::active()) [[unlikely]]
        net::listen_for_news();
}

/// In a handler: has it done soon. False if there is nobody to do it.
bool unpark_later(const void* address) noexcept;

/// The calling fiber stands for the program's thread: a handler that has run ends its waits, as signal(7) says.
[[gnu::visibility("default")]] void heed_signals() noexcept;

/// Whether any fiber does, in this process: `coir run`.
bool signals_are_heeded() noexcept;

/// From now on a wait for a condition may be cut off: it is a cancellation point of pthread_cancel, which is all that
/// cancels a fiber here (`coir run --threads=fibers`).
[[gnu::visibility("default")]] void let_threads_be_cancelled() noexcept;
bool threads_may_be_cancelled() noexcept;

/// While one lives, what this thread sends to itself by a system call is for another fiber, not for the one that heeds
/// signals.
class [[gnu::visibility("default")]] signal_for {
public:
    explicit signal_for(const signal_wait& whom) noexcept;
    ~signal_for();
    signal_for(const signal_for&) = delete;
    signal_for& operator=(const signal_for&) = delete;

private:
    const signal_wait* before_;
};

/// A handler has returned.
void note_handled(bool restarts) noexcept;

} // namespace coir
