// SPDX-License-Identifier: BSL-1.0
// `coir run --threads=fibers`: what the program starts as a thread is a fiber beside main. libcoir-run comes before
// libcoir-patch, whose pthread_join and thrd_join then lead here. Threads that are started outside of fibers, coir's
// helpers among them, are threads, as all are without that choice.
//
// How a thread is told to end, and ends, is in fiber_threads_end.cpp. In neither, because libc's own are right for
// these threads as they are: pthread_self, pthread_equal, pthread_getspecific, pthread_setspecific, the cleanup
// handlers, thrd_current.
#include "first_thread.hpp"
#include "interpose.hpp"
#include "lock_deadline.hpp"
#include "next_definition.hpp"
#include "signal_handlers.hpp"
#include "thread_shell.hpp"

#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <sched.h>
#include <threads.h>
#include <unistd.h>

namespace coir {

namespace {

bool starts_fibers() noexcept
{
    return thread_shell::prepared() && this_fiber::active();
}

/// A cancellation point.
template <class Join> [[gnu::always_inline]] inline int joining(Join&& join)
{
    auto* const self = thread_cancellation::own();
    if (!self)
        return join();
    self->act_if_due(__builtin_return_address(0));
    return self->point(join, [](int) { return false; });
}

/// Calls `known` with the thread, if it is a fiber or main, else `genuine`.
template <class Known, class Genuine> int for_thread(pthread_t thread, Known&& known, Genuine&& genuine)
{
    if (auto* const main = first_thread::of(thread))
        return known(*main);
    const thread_shell::reference shell{thread};
    return shell ? known(*shell) : genuine();
}

/// As pthread_clockjoin_np, whose clock is one that coir knows.
template <class Genuine>
int timed_join(pthread_t thread, void** result, clockid_t which, const timespec* time, Genuine&& genuine)
{
    if (!this_fiber::active())
        return genuine();
    return for_thread(
        thread,
        [&](auto& known) { return valid_nanoseconds(time) ? known.join(result, lock_deadline(which, time)) : EINVAL; },
        genuine);
}

/// What C11 calls a thread's function.
struct c11_start {
    thrd_start_t function;
    void* argument;

    static void* run(void* self)
    {
        const c11_start what = *static_cast<c11_start*>(self);
        delete static_cast<c11_start*>(self);
        return reinterpret_cast<void*>(static_cast<std::intptr_t>(what.function(what.argument)));
    }
};

} // namespace

COIR_INTERPOSE int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*what)(void*),
                                  void* argument) noexcept
{
    auto* const genuine = next<"pthread_create", decltype(::pthread_create)>();
    return starts_fibers() ? thread_shell::start(thread, attributes, what, argument)
                           : genuine(thread, attributes, what, argument);
}

COIR_INTERPOSE int thrd_create(thrd_t* thread, thrd_start_t function, void* argument)
{
    auto* const genuine = next<"thrd_create", decltype(::thrd_create)>();
    if (!starts_fibers())
        return genuine(thread, function, argument);
    auto* const start = new (std::nothrow) c11_start{function, argument};
    if (!start)
        return thrd_nomem;
    if (thread_shell::start(thread, nullptr, c11_start::run, start) == 0)
        return thrd_success;
    delete start;
    return thrd_error;
}

// ---- joining --------------------------------------------------------------------------------------------------------

COIR_INTERPOSE int pthread_join(pthread_t thread, void** result)
{
    const auto genuine = [&] { return next<"pthread_join", decltype(::pthread_join)>()(thread, result); };
    return joining([&] {
        if (!this_fiber::active())
            return genuine();
        return for_thread(
            thread, [&](auto& known) { return known.join(result, never); }, genuine);
    });
}

COIR_INTERPOSE int pthread_tryjoin_np(pthread_t thread, void** result) noexcept
{
    return for_thread(
        thread, [&](auto& known) { return known.try_join(result); },
        [&] { return next<"pthread_tryjoin_np", decltype(::pthread_tryjoin_np)>()(thread, result); });
}

COIR_INTERPOSE int pthread_timedjoin_np(pthread_t thread, void** result, const timespec* time)
{
    return joining([&] {
        return timed_join(thread, result, CLOCK_REALTIME, time, [&] {
            return next<"pthread_timedjoin_np", decltype(::pthread_timedjoin_np)>()(thread, result, time);
        });
    });
}

COIR_INTERPOSE int pthread_clockjoin_np(pthread_t thread, void** result, clockid_t which, const timespec* time)
{
    const auto genuine = [&] {
        return next<"pthread_clockjoin_np", decltype(::pthread_clockjoin_np)>()(thread, result, which, time);
    };
    return joining([&] {
        if (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC)
            return genuine();
        return timed_join(thread, result, which, time, genuine);
    });
}

/// libcoir-patch's calls pthread_join, with nothing to be cleaned up.
COIR_INTERPOSE int thrd_join(thrd_t thread, int* result)
{
    auto* const genuine = next<"thrd_join", decltype(::thrd_join)>();
    return joining([&] { return genuine(thread, result); });
}

COIR_INTERPOSE int pthread_detach(pthread_t thread) noexcept
{
    return for_thread(
        thread, [](auto& known) { return known.detach(); },
        [&] { return next<"pthread_detach", decltype(::pthread_detach)>()(thread); });
}

COIR_INTERPOSE int thrd_detach(thrd_t thread)
{
    return coir::pthread_detach(thread) == 0 ? thrd_success : thrd_error;
}

// ---- what the kernel keeps of a thread ------------------------------------------------------------------------------
// Fibers have one kernel thread between them: what can be asked is answered for that, and what would change it for the
// others is kept, or refused.

COIR_INTERPOSE int pthread_setname_np(pthread_t thread, const char* name) noexcept
{
    auto* const genuine = next<"pthread_setname_np", decltype(::pthread_setname_np)>();
    thread_shell::reference known{thread};
    if (!known)
        return genuine(thread, name);
    if (std::strlen(name) >= sizeof known->name)
        return ERANGE;
    std::strcpy(known->name, name);
    return 0;
}

COIR_INTERPOSE int pthread_getname_np(pthread_t thread, char* name, size_t size) noexcept
{
    auto* const genuine = next<"pthread_getname_np", decltype(::pthread_getname_np)>();
    thread_shell::reference known{thread};
    if (!known)
        return genuine(thread, name, size);
    if (size < sizeof known->name)
        return ERANGE;
    if (*known->name)
        std::strcpy(name, known->name);
    else
        return known->as_kernel_thread([&] { return genuine(thread, name, size); });
    return 0;
}

COIR_INTERPOSE int pthread_getattr_np(pthread_t thread, pthread_attr_t* attributes) noexcept
{
    auto* const genuine = next<"pthread_getattr_np", decltype(::pthread_getattr_np)>();
    const auto ask = [&] { return genuine(thread, attributes); };
    thread_shell::reference known{thread};
    return known ? known->as_kernel_thread(ask) : ask();
}

COIR_INTERPOSE int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t* set) noexcept
{
    auto* const genuine = next<"pthread_getaffinity_np", decltype(::pthread_getaffinity_np)>();
    const auto ask = [&] { return genuine(thread, size, set); };
    thread_shell::reference known{thread};
    return known ? known->as_kernel_thread(ask) : ask();
}

COIR_INTERPOSE int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t* set) noexcept
{
    auto* const genuine = next<"pthread_setaffinity_np", decltype(::pthread_setaffinity_np)>();
    return thread_shell::reference{thread} ? 0 : genuine(thread, size, set);
}

COIR_INTERPOSE int pthread_getschedparam(pthread_t thread, int* policy, sched_param* parameters) noexcept
{
    auto* const genuine = next<"pthread_getschedparam", decltype(::pthread_getschedparam)>();
    const auto ask = [&] { return genuine(thread, policy, parameters); };
    thread_shell::reference known{thread};
    return known ? known->as_kernel_thread(ask) : ask();
}

COIR_INTERPOSE int pthread_setschedparam(pthread_t thread, int policy, const sched_param* parameters) noexcept
{
    auto* const genuine = next<"pthread_setschedparam", decltype(::pthread_setschedparam)>();
    if (!thread_shell::reference{thread})
        return genuine(thread, policy, parameters);
    return policy == SCHED_OTHER && parameters->sched_priority == 0 ? 0 : ENOTSUP;
}

COIR_INTERPOSE int pthread_setschedprio(pthread_t thread, int priority) noexcept
{
    auto* const genuine = next<"pthread_setschedprio", decltype(::pthread_setschedprio)>();
    if (!thread_shell::reference{thread})
        return genuine(thread, priority);
    return priority == 0 ? 0 : EINVAL;
}

COIR_INTERPOSE int pthread_getcpuclockid(pthread_t thread, clockid_t* clock) noexcept
{
    auto* const genuine = next<"pthread_getcpuclockid", decltype(::pthread_getcpuclockid)>();
    const auto ask = [&] { return genuine(thread, clock); };
    thread_shell::reference known{thread};
    return known ? known->as_kernel_thread(ask) : ask();
}

// ---- signals --------------------------------------------------------------------------------------------------------

COIR_INTERPOSE int pthread_kill(pthread_t thread, int signal) noexcept
{
    auto* const genuine = next<"pthread_kill", decltype(::pthread_kill)>();
    const auto send = [&] { return genuine(thread, signal); };
    thread_shell::reference known{thread};
    if (!known)
        return send();
    const signal_for target{known->waits()};
    return known->as_kernel_thread(send);
}

COIR_INTERPOSE int pthread_sigqueue(pthread_t thread, int signal, sigval value) noexcept
{
    auto* const genuine = next<"pthread_sigqueue", decltype(::pthread_sigqueue)>();
    const auto send = [&] { return genuine(thread, signal, value); };
    thread_shell::reference known{thread};
    if (!known)
        return send();
    const signal_for target{known->waits()};
    return known->as_kernel_thread(send);
}

/// A thread's mask is kept, and given to the threads that it starts. What is blocked in the end is what main blocks: a
/// thread that keeps signals away from itself must not keep them away from main.
COIR_INTERPOSE int pthread_sigmask(int how, const sigset_t* change, sigset_t* before) noexcept
{
    auto* const genuine = next<"pthread_sigmask", decltype(::pthread_sigmask)>();
    auto* const self = thread_shell::own();
    if (!self || !this_fiber::active())
        return genuine(how, change, before);
    sigset_t result = self->mask;
    if (change)
        for (int signal = 1; signal < NSIG; ++signal) {
            const bool member = ::sigismember(change, signal) == 1;
            if (how == SIG_SETMASK ? !member : member && how == SIG_UNBLOCK)
                ::sigdelset(&result, signal);
            else if (member && (how == SIG_SETMASK || how == SIG_BLOCK))
                ::sigaddset(&result, signal);
        }
    if (change && how != SIG_SETMASK && how != SIG_BLOCK && how != SIG_UNBLOCK)
        return EINVAL;
    if (before)
        *before = self->mask;
    self->mask = result;
    return 0;
}

COIR_INTERPOSE int sigprocmask(int how, const sigset_t* change, sigset_t* before) noexcept
{
    const int error = coir::pthread_sigmask(how, change, before);
    if (error)
        errno = error;
    return error ? -1 : 0;
}

// ---- FILEs ----------------------------------------------------------------------------------------------------------

/// Held across a wait, its lock would keep the kernel thread from who is to give it back.
COIR_INTERPOSE void flockfile(FILE* file) noexcept
{
    auto* const genuine = next<"flockfile", decltype(::flockfile)>();
    if (!starts_fibers()) {
        genuine(file);
        return;
    }
    while (::ftrylockfile(file) != 0)
        park_until({.reason = {"FILE", file},
                    .deadline = clock::now() + std::chrono::milliseconds{1},
                    .interruptible = false});
}

} // namespace coir
