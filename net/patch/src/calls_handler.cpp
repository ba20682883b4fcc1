// SPDX-License-Identifier: BSL-1.0
// Installing handlers of signals, and leaving them by longjmp. The kernel calls `handle`, which calls the program's;
// who asks what is installed is told the program's.
#include "interpose.hpp"
#include "libc.hpp"
#include "signal_handlers.hpp"
#include "signal_watch.hpp"

#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <csetjmp>

namespace coir {

namespace {

/// What the program has installed, where the kernel has `handle`.
struct programs_handler {
    std::atomic<void*> function{nullptr};
    std::atomic<int> flags{0};
};

constinit std::array<programs_handler, NSIG> programs{};

using plain_handler = void (*)(int);
using full_handler = void (*)(int, siginfo_t*, void*);

void call(int signal, siginfo_t* info, void* context)
{
    const auto& program = programs[static_cast<std::size_t>(signal)];
    void* const function = program.function.load(std::memory_order_relaxed);
    const int flags = program.flags.load(std::memory_order_relaxed);
    {
        const running_handler running;
        if (flags & SA_SIGINFO)
            reinterpret_cast<full_handler>(function)(signal, info, context);
        else
            reinterpret_cast<plain_handler>(function)(signal);
    }
    note_handled(flags & SA_RESTART);
}

// Two, because whoever installs a handler by signal() gets one that is not told more than the number.

void handle_fully(int signal, siginfo_t* info, void* context)
{
    call(signal, info, context);
}

void handle_plainly(int signal)
{
    call(signal, nullptr, nullptr);
}

bool is_ours(plain_handler installed) noexcept
{
    return installed == handle_plainly || reinterpret_cast<void*>(installed) == reinterpret_cast<void*>(handle_fully);
}

bool is_wrapped(int signal, plain_handler handler) noexcept
{
    return is_deferrable(signal) && handler != SIG_DFL && handler != SIG_IGN && handler != SIG_ERR &&
           handler != SIG_HOLD && !is_ours(handler);
}

bool is_signal(int signal) noexcept
{
    return signal > 0 && signal < NSIG;
}

/// No handler of this signal runs on this thread meanwhile.
class held_off {
public:
    explicit held_off(int signal) noexcept
    {
        sigset_t one;
        ::sigemptyset(&one);
        ::sigaddset(&one, signal);
        libc.pthread_sigmask(SIG_BLOCK, &one, &before_);
    }
    ~held_off() { libc.pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    held_off(const held_off&) = delete;
    held_off& operator=(const held_off&) = delete;

private:
    sigset_t before_;
};

int install(int signal, const struct sigaction* wanted, struct sigaction* before) noexcept
{
    if (!is_signal(signal) || !is_deferrable(signal))
        return libc.sigaction(signal, wanted, before);
    const held_off guard{signal};
    auto& program = programs[static_cast<std::size_t>(signal)];
    void* const function_before = program.function.load(std::memory_order_relaxed);
    const int flags_before = program.flags.load(std::memory_order_relaxed);
    struct sigaction to;
    struct sigaction was;
    if (wanted && is_wrapped(signal, wanted->sa_handler)) {
        to = *wanted;
        to.sa_sigaction = handle_fully;
        to.sa_flags |= SA_SIGINFO;
        program.function.store(reinterpret_cast<void*>(wanted->sa_handler), std::memory_order_relaxed);
        program.flags.store(wanted->sa_flags, std::memory_order_relaxed);
        handlers_exist.store(true, std::memory_order_relaxed);
        wanted = &to;
        if (this_fiber::active())
            net::listen_for_news();
    }
    const int result = libc.sigaction(signal, wanted, &was);
    if (result != 0) {
        program.function.store(function_before, std::memory_order_relaxed);
        program.flags.store(flags_before, std::memory_order_relaxed);
        return result;
    }
    if (before) {
        *before = was;
        if (is_ours(was.sa_handler)) {
            before->sa_handler = reinterpret_cast<plain_handler>(function_before);
            before->sa_flags = (was.sa_flags & ~SA_SIGINFO) | (flags_before & SA_SIGINFO);
        }
    }
    return result;
}

/// `genuine` is signal or one of its relatives, whose flags differ.
template <class Genuine> plain_handler install_plainly(int signal, plain_handler wanted, Genuine&& genuine) noexcept
{
    if (!is_signal(signal) || !is_deferrable(signal))
        return genuine(signal, wanted);
    const held_off guard{signal};
    auto& program = programs[static_cast<std::size_t>(signal)];
    const auto before = reinterpret_cast<plain_handler>(program.function.load(std::memory_order_relaxed));
    const bool wrap = is_wrapped(signal, wanted);
    const auto was = genuine(signal, wrap ? handle_plainly : wanted);
    struct sigaction now;
    if (wrap && was != SIG_ERR && libc.sigaction(signal, nullptr, &now) == 0) {
        program.function.store(reinterpret_cast<void*>(wanted), std::memory_order_relaxed);
        program.flags.store(now.sa_flags & ~SA_SIGINFO, std::memory_order_relaxed);
        handlers_exist.store(true, std::memory_order_relaxed);
        if (this_fiber::active())
            net::listen_for_news();
    }
    return is_ours(was) ? before : was;
}

template <class Genuine> [[noreturn]] void jump(__jmp_buf_tag* where, int value, Genuine&& genuine)
{
    if (in_handler())
        running_handler::leave_all();
    genuine(where, value);
    __builtin_unreachable();
}

} // namespace

COIR_INTERPOSE int sigaction(int signal, const struct sigaction* wanted, struct sigaction* before) noexcept
{
    return install(signal, wanted, before);
}

COIR_INTERPOSE int __sigaction(int signal, const struct sigaction* wanted, struct sigaction* before) noexcept
{
    return install(signal, wanted, before);
}

COIR_INTERPOSE plain_handler signal(int signal, plain_handler wanted) noexcept
{
    return install_plainly(signal, wanted, libc.signal);
}

COIR_INTERPOSE plain_handler ssignal(int signal, plain_handler wanted) noexcept
{
    return install_plainly(signal, wanted, libc.signal);
}

COIR_INTERPOSE plain_handler bsd_signal(int signal, plain_handler wanted) noexcept
{
    return install_plainly(signal, wanted, libc.signal);
}

COIR_INTERPOSE plain_handler sysv_signal(int signal, plain_handler wanted) noexcept
{
    return install_plainly(signal, wanted, libc.sysv_signal);
}

COIR_INTERPOSE plain_handler __sysv_signal(int signal, plain_handler wanted) noexcept
{
    return install_plainly(signal, wanted, libc.sysv_signal);
}

/// Not the genuine one, which says whether it has found the signal blocked, as `held_off` would have it, and lets it
/// in.
COIR_INTERPOSE plain_handler sigset(int signal, plain_handler wanted) noexcept
{
    if (!is_signal(signal) || !is_deferrable(signal))
        return libc.sigset(signal, wanted);
    const bool holds = wanted == SIG_HOLD;
    struct sigaction action = {};
    action.sa_handler = wanted;
    struct sigaction was;
    if (install(signal, holds ? nullptr : &action, &was) != 0)
        return SIG_ERR;
    sigset_t one;
    sigset_t blocked;
    ::sigemptyset(&one);
    ::sigaddset(&one, signal);
    libc.pthread_sigmask(holds ? SIG_BLOCK : SIG_UNBLOCK, &one, &blocked);
    return ::sigismember(&blocked, signal) ? SIG_HOLD : was.sa_handler;
}

COIR_INTERPOSE int siginterrupt(int signal, int interrupt) noexcept
{
    const int result = libc.siginterrupt(signal, interrupt);
    if (result == 0 && is_signal(signal)) {
        auto& flags = programs[static_cast<std::size_t>(signal)].flags;
        if (interrupt)
            flags.fetch_and(~SA_RESTART, std::memory_order_relaxed);
        else
            flags.fetch_or(SA_RESTART, std::memory_order_relaxed);
    }
    return result;
}

COIR_INTERPOSE [[gnu::noreturn]] void longjmp(__jmp_buf_tag* where, int value) noexcept
{
    jump(where, value, libc.longjmp);
}

COIR_INTERPOSE [[gnu::noreturn]] void _longjmp(__jmp_buf_tag* where, int value) noexcept
{
    jump(where, value, libc.longjmp);
}

COIR_INTERPOSE [[gnu::noreturn]] void siglongjmp(__jmp_buf_tag* where, int value) noexcept
{
    jump(where, value, libc.siglongjmp);
}

COIR_INTERPOSE [[gnu::noreturn]] void __longjmp_chk(__jmp_buf_tag* where, int value) noexcept
{
    jump(where, value, libc.longjmp_chk);
}

} // namespace coir
