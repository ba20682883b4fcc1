// SPDX-License-Identifier: BSL-1.0
// Waiting for signals: sigwait and its kin, pause, sigsuspend.
#include "blocking.hpp"
#include "interpose.hpp"
#include "libc.hpp"
#include "signal_handlers.hpp"
#include "signal_watch.hpp"
#include "valid_time.hpp"

#include <coir/wait_queue.hpp>

#include <array>

namespace coir {

namespace {

constexpr timespec no_time{};

/// Suspends until one of the watched signals is pending. False: errno says why not.
bool wait_for_signal(const signal_watch& watch, clock::time_point deadline,
                     ends_by_signal signals = ends_by_signal::never) noexcept
{
    auto status = net::wait_ready(watch.descriptor(), POLLIN, deadline, signals);
    if (status == net::wait_status::unsupported)
        status = wait_on_helper(watch.descriptor(), POLLIN, deadline);
    errno = error_of(status, EAGAIN);
    return status == net::wait_status::ready;
}

/// `signals`: whether handlers of others end it.
int take_signal(const sigset_t* set, siginfo_t* info, clock::time_point deadline,
                ends_by_signal signals = ends_by_signal::always) noexcept
{
    const int before = errno;
    int signal = libc.sigtimedwait(set, info, &no_time);
    if (signal != -1 || !would_block(errno))
        return signal;
    const signal_watch watch{*set};
    if (!watch && deadline == never)
        return libc.sigwaitinfo(set, info); // no descriptor left: block, rather than fail
    while (signal == -1 && would_block(errno) && wait_for_signal(watch, deadline, signals))
        signal = libc.sigtimedwait(set, info, &no_time);
    if (signal != -1)
        errno = before;
    return signal;
}

// ---- until a handler has run ----------------------------------------------------------------------------------------

/// Signals that fibers of this thread wait for are blocked meanwhile, lest they be delivered to whoever runs when they
/// come. How many fibers hold each of them back:
[[gnu::tls_model("initial-exec")]] constinit thread_local std::array<unsigned short, NSIG> held_back{};

class hold_back {
public:
    explicit hold_back(const sigset_t& signals) noexcept : signals_{signals}
    {
        for (int signal = 1; signal < NSIG; ++signal)
            if (::sigismember(&signals_, signal) == 1)
                ++held_back[static_cast<std::size_t>(signal)];
        libc.pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    }
    hold_back(const hold_back&) = delete;
    hold_back& operator=(const hold_back&) = delete;
    ~hold_back()
    {
        sigset_t free;
        ::sigemptyset(&free);
        for (int signal = 1; signal < NSIG; ++signal)
            if (::sigismember(&signals_, signal) == 1 && --held_back[static_cast<std::size_t>(signal)] == 0)
                ::sigaddset(&free, signal);
        const int before = errno;
        libc.pthread_sigmask(SIG_UNBLOCK, &free, nullptr);
        errno = before;
    }

private:
    sigset_t signals_;
};

/// What the program has blocked: not what is blocked only because a fiber waits for it.
sigset_t programs_mask() noexcept
{
    sigset_t mask;
    libc.pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    for (int signal = 1; signal < NSIG; ++signal)
        if (held_back[static_cast<std::size_t>(signal)] > 0)
            ::sigdelset(&mask, signal);
    return mask;
}

bool has_handler(int signal) noexcept
{
    struct sigaction action;
    return libc.sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_DFL &&
           action.sa_handler != SIG_IGN;
}

/// Has what is pending delivered under `mask`. True if a handler has run: errno is EINTR.
bool deliver(const sigset_t& mask) noexcept
{
    return libc.ppoll(nullptr, 0, &no_time, &mask) == -1;
}

int suspend_until_handled(const sigset_t& mask) noexcept
{
    if (deliver(mask))
        return -1;
    const auto own = programs_mask();
    auto awaited = let_in_by(mask);
    sigset_t to_hold;
    ::sigemptyset(&to_hold);
    // Where a handler ends the wait by itself, nothing is held back: another thread would get it.
    const bool heeded = signals_are_heeded();
    for (int signal = 1; !heeded && signal < NSIG; ++signal)
        if (::sigismember(&mask, signal) == 0 && ::sigismember(&own, signal) == 0 && is_deferrable(signal) &&
            has_handler(signal)) {
            ::sigaddset(&awaited, signal);
            ::sigaddset(&to_hold, signal);
        }
    const hold_back held{to_hold};
    const signal_watch watch{awaited};
    for (;;) {
        if (!watch) { // nothing can come but a handler, what ends the process, or the end of the wait itself
            errno = errno_of(park_until({.reason = {"a signal"}, .signals = ends_by_signal::always}));
            return -1;
        }
        if (!wait_for_signal(watch, never, ends_by_signal::always) || deliver(mask))
            return -1;
    }
}

} // namespace

COIR_INTERPOSE int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* time)
{
    if (outside() || (time && (!valid(*time) || (time->tv_sec == 0 && time->tv_nsec == 0))))
        return libc.sigtimedwait(set, info, time);
    const auto deadline =
        time ? deadline_after(std::chrono::seconds{time->tv_sec} + std::chrono::nanoseconds{time->tv_nsec}) : never;
    return take_signal(set, info, deadline);
}

COIR_INTERPOSE int sigwaitinfo(const sigset_t* set, siginfo_t* info)
{
    return outside() ? libc.sigwaitinfo(set, info) : take_signal(set, info, never);
}

COIR_INTERPOSE int sigwait(const sigset_t* set, int* signal)
{
    if (outside())
        return libc.sigwait(set, signal);
    const int before = errno;
    const int taken = take_signal(set, nullptr, never, ends_by_signal::never); // POSIX knows no EINTR of sigwait
    const int error = errno;
    errno = before;
    if (taken == -1)
        return error;
    *signal = taken;
    return 0;
}

COIR_INTERPOSE int sigsuspend(const sigset_t* mask)
{
    return outside() ? libc.sigsuspend(mask) : suspend_until_handled(*mask);
}

COIR_INTERPOSE int pause()
{
    return outside() ? libc.pause() : suspend_until_handled(programs_mask());
}

} // namespace coir
