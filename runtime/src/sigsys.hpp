// SPDX-License-Identifier: BSL-1.0
#pragma once
// SIGSYS on a thread whose system calls are trapped. Blocked it means death at the next call, so it never is, whatever
// the program asks for; and what the program wants of it, it sees as if it had it. x86-64.
#include "blocked_call.hpp"

#include <csignal>
#include <ucontext.h>

namespace coir {

/// Of one thread.
class sigsys {
public:
    using handler = void (*)(int, siginfo_t*, void*);

    /// SIGSYS becomes ours in this process, and no other signal's handler is to block it.
    static void take(handler on_trap) noexcept;
    /// Gives the program's own handler what comes as SIGSYS for other reasons: seccomp, kill.
    static void pass_on(int signal, siginfo_t* info, void* details);

    // On this thread, before its calls are trapped, and when they are no more.
    void unblock() noexcept;
    void restore() noexcept;

    // The trapped call, in the program's place. The result is the kernel's.
    /// rt_sigprocmask: in the context that the handler returns to.
    long change_mask(ucontext_t& context, const blocked_call& call) noexcept;
    /// rt_sigaction.
    static long change_action(const blocked_call& call) noexcept;
    /// What a handler of the program's returns to may have any mask.
    static void let_in(ucontext_t& context) noexcept;
    /// Any other, and if it has a mask to wait under, with one that lets SIGSYS in.
    static long make_call(blocked_call call) noexcept;

private:
    bool seems_blocked_ = false; ///< to the program
};

} // namespace coir
