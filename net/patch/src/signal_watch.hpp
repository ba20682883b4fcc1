// SPDX-License-Identifier: BSL-1.0
#pragma once
// Waiting for signals. A fiber that waits is in no system call that a signal could interrupt; but a signal that its
// thread blocks stays pending, and a signal descriptor says so to the hub's reactor. Then the genuine call, which does
// not have to wait any more, takes the signal or has it delivered.
#include <poll.h>

#include <csignal>

namespace coir {

/// A signal descriptor for `signals`, for the length of one wait. False if there are none, or no descriptor is left.
class signal_watch {
public:
    signal_watch() noexcept = default;
    explicit signal_watch(const sigset_t& signals) noexcept;
    signal_watch(const signal_watch&) = delete;
    signal_watch& operator=(const signal_watch&) = delete;
    ~signal_watch();

    explicit operator bool() const noexcept { return descriptor_ >= 0; }
    int descriptor() const noexcept { return descriptor_; }
    pollfd item() const noexcept { return {.fd = descriptor_, .events = POLLIN, .revents = 0}; }

private:
    int descriptor_ = -1;
};

/// As sigisemptyset, which in glibc sees no signal above 32.
bool is_empty(const sigset_t& signals) noexcept;

/// The signals that this thread blocks and that `mask` would let in.
sigset_t let_in_by(const sigset_t& mask) noexcept;

/// Those that nobody should hold back: errors of the program itself, and what libc keeps for its own.
inline bool is_deferrable(int signal) noexcept
{
    switch (signal) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
    case SIGABRT: return false;
    default: return signal < 32 || signal >= SIGRTMIN;
    }
}

} // namespace coir
