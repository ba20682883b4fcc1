// SPDX-License-Identifier: BSL-1.0
#include "sigsys.hpp"

#include "raw_syscall.hpp"
#include "trap_stubs.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

#if defined(__x86_64__)

namespace coir {

namespace {

using signal_mask = std::uint64_t;
constexpr signal_mask sigsys_bit = signal_mask{1} << (SIGSYS - 1);
constexpr signal_mask unblockable = (signal_mask{1} << (SIGKILL - 1)) | (signal_mask{1} << (SIGSTOP - 1));

/// As the kernel takes it, which is not as libc does.
struct kernel_sigaction {
    std::uintptr_t handler = 0; ///< 0 and 1 are SIG_DFL and SIG_IGN
    unsigned long flags = 0;
    void (*restorer)() = nullptr;
    signal_mask mask = 0;
};

constinit kernel_sigaction program_action; ///< what the program wants of SIGSYS

/// The kernel's is shorter than libc's.
signal_mask& mask_of(ucontext_t& context) noexcept
{
    return *reinterpret_cast<signal_mask*>(&context.uc_sigmask);
}

signal_mask change_real_mask(int how, signal_mask which) noexcept
{
    signal_mask before = 0;
    raw_syscall(SYS_rt_sigprocmask, how, address(&which), address(&before), sizeof before);
    return before;
}

/// Where the call has a mask to wait under: which argument is its address, and whether by way of a pair with the size.
struct mask_argument {
    std::size_t index = 0;
    bool in_pair = false;
};

std::optional<mask_argument> mask_argument_of(const blocked_call& call) noexcept
{
    switch (call.number) {
    case SYS_rt_sigsuspend: return mask_argument{.index = 0};
    case SYS_ppoll: return mask_argument{.index = 3};
    case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
    case SYS_epoll_pwait2:
#endif
        return mask_argument{.index = 4};
    case SYS_io_uring_enter:
        if (call.arguments[5] == sizeof(signal_mask))
            return mask_argument{.index = 4};
        return {};
    case SYS_pselect6:
#ifdef SYS_io_pgetevents
    case SYS_io_pgetevents:
#endif
        return mask_argument{.index = 5, .in_pair = true};
    default: return {};
    }
}

} // namespace

// ---- whose it is ----------------------------------------------------------------------------------------------------

void sigsys::take(handler on_trap) noexcept
{
    static constinit std::mutex guard;
    const std::scoped_lock lock{guard};
    for (int signal = 1; signal <= 64; ++signal) {
        kernel_sigaction action;
        if (raw_syscall(SYS_rt_sigaction, signal, 0, address(&action), sizeof action.mask) != 0)
            continue;
        if (signal == SIGSYS) {
            if (action.handler == reinterpret_cast<std::uintptr_t>(on_trap))
                continue;
            program_action = action;
            constexpr unsigned long has_restorer = 0x04000000; // SA_RESTORER
            action = {.handler = reinterpret_cast<std::uintptr_t>(on_trap),
                      .flags = SA_SIGINFO | static_cast<unsigned long>(SA_NODEFER) | has_restorer,
                      .restorer = coir_trap_restorer,
                      .mask = 0};
        } else if (action.mask & sigsys_bit) {
            action.mask &= ~sigsys_bit;
        } else {
            continue;
        }
        raw_syscall(SYS_rt_sigaction, signal, address(&action), 0, sizeof action.mask);
    }
}

void sigsys::pass_on(int signal, siginfo_t* info, void* details)
{
    constexpr std::uintptr_t ignores = 1;
    if (program_action.handler == 0) {
        const kernel_sigaction fatal{};
        raw_syscall(SYS_rt_sigaction, SIGSYS, address(&fatal), 0, sizeof(signal_mask));
        raw_syscall(SYS_tgkill, raw_syscall(SYS_getpid), raw_syscall(SYS_gettid), SIGSYS);
    } else if (program_action.handler != ignores) {
        reinterpret_cast<void (*)(int, siginfo_t*, void*)>(program_action.handler)(signal, info, details);
    }
}

// ---- masks and actions ----------------------------------------------------------------------------------------------

void sigsys::unblock() noexcept
{
    seems_blocked_ = change_real_mask(SIG_UNBLOCK, sigsys_bit) & sigsys_bit;
}

void sigsys::restore() noexcept
{
    if (std::exchange(seems_blocked_, false))
        change_real_mask(SIG_BLOCK, sigsys_bit);
}

long sigsys::change_mask(ucontext_t& context, const blocked_call& call) noexcept
{
    const auto& [how, set, old, size, unused1, unused2] = call.arguments;
    if (size != sizeof(signal_mask))
        return -EINVAL;
    signal_mask given = 0;
    if (set) {
        if (peek(reinterpret_cast<const void*>(set), &given, sizeof given) != sizeof given)
            return -EFAULT;
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return -EINVAL;
    }
    const bool blocked_before = seems_blocked_;
    auto& mask = mask_of(context);
    if (set) {
        const auto before = mask | (blocked_before ? sigsys_bit : 0);
        const auto after = how == SIG_BLOCK ? before | given : how == SIG_UNBLOCK ? before & ~given : given;
        seems_blocked_ = after & sigsys_bit;
        mask = after & ~sigsys_bit & ~unblockable;
    }
    if (!old)
        return 0;
    // The handler itself still runs under the mask from before.
    const long result = raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, static_cast<long>(old), sizeof(signal_mask));
    if (result == 0 && blocked_before)
        *reinterpret_cast<signal_mask*>(old) |= sigsys_bit;
    return result;
}

long sigsys::change_action(const blocked_call& call) noexcept
{
    const auto& [signal, set, old, size, unused1, unused2] = call.arguments;
    kernel_sigaction given;
    if (set && size == sizeof(signal_mask) &&
        peek(reinterpret_cast<const void*>(set), &given, sizeof given) != sizeof given)
        return -EFAULT;
    given.mask &= ~sigsys_bit;
    if (signal != SIGSYS || size != sizeof(signal_mask))
        return raw_syscall(SYS_rt_sigaction, static_cast<long>(signal), set ? address(&given) : 0,
                           static_cast<long>(old), static_cast<long>(size));
    if (old)
        *reinterpret_cast<kernel_sigaction*>(old) = program_action;
    if (set)
        program_action = given;
    return 0;
}

void sigsys::let_in(ucontext_t& context) noexcept
{
    mask_of(context) &= ~sigsys_bit;
}

long sigsys::make_call(blocked_call call) noexcept
{
    struct pair {
        std::uintptr_t mask;
        std::uintptr_t size;
    } both{};
    signal_mask mask = 0;
    if (const auto where = mask_argument_of(call)) {
        auto* argument = &call.arguments[where->index];
        if (where->in_pair && peek(reinterpret_cast<const void*>(*argument), &both, sizeof both) == sizeof both) {
            *argument = reinterpret_cast<std::uintptr_t>(&both);
            argument = &both.mask;
        }
        if (*argument && peek(reinterpret_cast<const void*>(*argument), &mask, sizeof mask) == sizeof mask) {
            mask &= ~sigsys_bit;
            *argument = reinterpret_cast<std::uintptr_t>(&mask);
        }
    }
    const auto at = [&](std::size_t i) { return static_cast<long>(call.arguments[i]); };
    return raw_syscall(call.number, at(0), at(1), at(2), at(3), at(4), at(5));
}

} // namespace coir

#endif
