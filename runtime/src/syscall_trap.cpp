// SPDX-License-Identifier: BSL-1.0
// What makes it safe to have every call of a thread made by a signal handler:
//
//     the range        The kernel lets calls from one range of code through, and that is libcoir's. So what the handler
//                      calls itself, and its return, do not trap. There is no selector: nothing to switch with the
//                      fibers, and a handler of the program's that interrupts ours, or leaves it by a jump, finds all
//                      as it should be.
//     the stack        The handler runs on the stack that the call was made on, the fiber's. A handler of the program's
//                      may suspend on top of it, which on the one alternative stack of the thread would be fatal.
//     SIGSYS blocked   means death at the next call, so it never is: masks are changed in the interrupted context, and
//                      never to contain it; masks given to ppoll and its kin, or kept in a sigaction, go without it.
//     in their place   Calls that return twice, that change the stack, or what a return from a signal handler restores,
//                      are not made by the handler. It returns to a stub in libcoir instead, which makes the call with
//                      the caller's registers and jumps back to the caller.
//
// Other threads are not trapped. One that gives a handler a mask with SIGSYS, or SIGSYS another disposition, while a
// hub is, breaks the third rule: when a hub's thread runs that handler and it makes a call, the kernel ends the
// program.
#include "syscall_trap.hpp"

#include "fiber_state.hpp"
#include "raw_syscall.hpp"
#include "sanitizers.hpp"

#include <algorithm>

#if defined(__x86_64__) && !COIR_ASAN && !COIR_TSAN
#define COIR_TRAPS 1
#else
#define COIR_TRAPS 0
#endif

#if COIR_TRAPS
#include <cerrno>
#include <csignal>
#include <ctime>
#include <link.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <mutex>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <utility>
#endif

namespace coir {

syscall_trap::syscall_trap(std::chrono::nanoseconds limit, std::atomic<int>& bell,
                           const std::atomic<unsigned char>& selector)
    : limit_{limit}, bell_{bell}, selector_{selector}, ring_{std::make_unique<slot[]>(slots)}
{
}

std::optional<syscall_trap::in_flight> syscall_trap::current() const noexcept
{
    const auto serial = serial_.load(std::memory_order_acquire);
    in_flight found;
    if (serial % 2 == 0 || peek(&current_, &found, sizeof found) != sizeof found)
        return {};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (serial_.load(std::memory_order_relaxed) != serial)
        return {};
    return found;
}

std::unique_ptr<trapped_call> syscall_trap::take()
{
    const auto next = taken_.load(std::memory_order_relaxed);
    auto& from = ring_[next % slots];
    if (next == reserved_.load(std::memory_order_acquire) || !from.filled.load(std::memory_order_acquire))
        return nullptr;
    auto result = std::make_unique<trapped_call>(from.call);
    from.filled.store(false, std::memory_order_relaxed);
    taken_.store(next + 1, std::memory_order_release);
    return result;
}

void syscall_trap::discard_records() noexcept
{
    for (std::size_t i = 0; i < slots; ++i)
        ring_[i].filled.store(false, std::memory_order_relaxed);
    taken_.store(reserved_.load(std::memory_order_relaxed), std::memory_order_release);
    lost_.store(0, std::memory_order_relaxed);
}

#if !COIR_TRAPS

const char* syscall_trap::obstacle() noexcept
{
    return COIR_ASAN || COIR_TSAN ? "under a sanitizer" : "not on this processor";
}

bool syscall_trap::arm() noexcept
{
    return false;
}

void syscall_trap::disarm() noexcept {}

#else

namespace {

// Linux' own, where the headers are older.
constexpr int set_syscall_user_dispatch = 59; // PR_SET_SYSCALL_USER_DISPATCH
constexpr long dispatch_off = 0;
constexpr long dispatch_on = 1;
constexpr int by_user_dispatch = 2; // SYS_USER_DISPATCH, a si_code

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

template <class T> long address(T* of) noexcept
{
    return reinterpret_cast<long>(of);
}

/// Which thread each trap is armed on. Not thread-local: a fiber may have thread-local storage of its own.
struct armed_trap {
    std::atomic<int> thread{0};
    std::atomic<syscall_trap*> trap{nullptr};
};
constinit std::array<armed_trap, 256> armed;

int this_thread() noexcept
{
    return static_cast<int>(raw_syscall(SYS_gettid));
}

syscall_trap* trap_of_this_thread() noexcept
{
    const int thread = this_thread();
    for (auto& each : armed)
        if (each.thread.load(std::memory_order_relaxed) == thread)
            return each.trap.load(std::memory_order_relaxed);
    return nullptr;
}

/// A place that it has already, from before a fork, or one that is free; null if there is none.
armed_trap* place_for(syscall_trap* trap) noexcept
{
    for (auto& each : armed)
        if (each.trap.load(std::memory_order_relaxed) == trap)
            return &each;
    for (auto& each : armed)
        if (syscall_trap* nobody = nullptr; each.trap.compare_exchange_strong(nobody, trap, std::memory_order_relaxed))
            return &each;
    return nullptr;
}

} // namespace

// ---- stubs ----------------------------------------------------------------------------------------------------------

// A stub for each place that such a call is made from, where to go back to in the table: a register would not do, since
// `syscall` changes two and the caller has the others, nor the stack, which the child may not have.
constexpr std::size_t stub_count = 64;
constexpr std::size_t stub_size = 16;

extern "C" {
[[gnu::visibility("hidden")]] constinit std::atomic<std::uintptr_t> coir_trap_returns[stub_count]{};
[[gnu::visibility("hidden")]] void coir_trap_stubs();
[[gnu::visibility("hidden")]] void coir_trap_restorer();
}

// The restorer's instructions are what unwinders and gdb know the frame of a signal handler by.
asm(R"(
        .pushsection .text
        .balign 16
        .hidden coir_trap_stubs
        .globl coir_trap_stubs
        .type coir_trap_stubs, @function
coir_trap_stubs:
        .set coir_trap_index, 0
        .rept 64
        .balign 16
        syscall
        jmp *(coir_trap_returns + 8 * coir_trap_index)(%rip)
        .set coir_trap_index, coir_trap_index + 1
        .endr
        .size coir_trap_stubs, . - coir_trap_stubs
        .balign 16
        nop
        .hidden coir_trap_restorer
        .globl coir_trap_restorer
        .type coir_trap_restorer, @function
coir_trap_restorer:
        movq $15, %rax
        syscall
        .size coir_trap_restorer, . - coir_trap_restorer
        .popsection
)");

namespace {

/// Where to make a call that is to return to `caller`; 0 if there have been too many such places.
std::uintptr_t stub_for(std::uintptr_t caller) noexcept
{
    for (std::size_t i = 0; i < stub_count; ++i) {
        std::uintptr_t there = 0;
        if (coir_trap_returns[i].compare_exchange_strong(there, caller) || there == caller)
            return reinterpret_cast<std::uintptr_t>(&coir_trap_stubs) + i * stub_size;
    }
    return 0;
}

// ---- the handler ----------------------------------------------------------------------------------------------------

bool returns_elsewhere(long number) noexcept
{
    switch (number) {
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
    case SYS_rt_sigreturn:
    case SYS_sigaltstack: // what a return from a signal handler restores
    case SYS_pkey_alloc:
    case SYS_iopl:
    case SYS_arch_prctl: return true; // the stack protector's canary
    default: return false;
    }
}

/// The program's mask, changed in the context that the handler returns to.
long change_mask(syscall_trap& trap, ucontext_t& context, const blocked_call& call) noexcept
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
    const bool blocked_before = trap.blocks_sigsys;
    auto& mask = *reinterpret_cast<signal_mask*>(&context.uc_sigmask); // the kernel's is shorter than libc's
    if (set) {
        const auto before = mask | (blocked_before ? sigsys_bit : 0);
        const auto after = how == SIG_BLOCK ? before | given : how == SIG_UNBLOCK ? before & ~given : given;
        trap.blocks_sigsys = after & sigsys_bit;
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

long change_action(const blocked_call& call) noexcept
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

/// Where the call has a mask to wait under: which argument is its address, and whether by way of a pair with the size.
struct mask_argument {
    std::size_t index = 0;
    bool in_pair = false;
};

std::optional<mask_argument> mask_of(const blocked_call& call) noexcept
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

long make_raw(const blocked_call& call) noexcept
{
    const auto at = [&](std::size_t i) { return static_cast<long>(call.arguments[i]); };
    return raw_syscall(call.number, at(0), at(1), at(2), at(3), at(4), at(5));
}

/// With masks that let SIGSYS in.
long make_with_safe_mask(blocked_call call) noexcept
{
    struct pair {
        std::uintptr_t mask;
        std::uintptr_t size;
    } both{};
    signal_mask mask = 0;
    if (const auto where = mask_of(call)) {
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
    return make_raw(call);
}

/// What comes as SIGSYS for other reasons: seccomp, kill.
void pass_on(int signal, siginfo_t* info, void* details)
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

void on_trap(int signal, siginfo_t* info, void* details)
{
    auto* const trap = trap_of_this_thread();
    if (info->si_code != by_user_dispatch || !trap) {
        pass_on(signal, info, details);
        return;
    }
    auto& context = *static_cast<ucontext_t*>(details);
    auto& registers = context.uc_mcontext.gregs;
    const auto value = [&](int which) { return static_cast<std::uintptr_t>(registers[which]); };
    const blocked_call call{
        .number = info->si_syscall,
        .arguments = {value(REG_RDI), value(REG_RSI), value(REG_RDX), value(REG_R10), value(REG_R8), value(REG_R9)},
        .stack = value(REG_RSP),
        .code = value(REG_RIP)};

    const bool is_64 = info->si_arch == AUDIT_ARCH_X86_64;
    if (!is_64 || returns_elsewhere(call.number)) {
        if (call.number == SYS_rt_sigreturn && is_64) // a handler may have put anything in the mask that it returns to
            *reinterpret_cast<signal_mask*>(&reinterpret_cast<ucontext_t*>(call.stack)->uc_sigmask) &= ~sigsys_bit;
        registers[REG_RAX] = call.number;
        auto stub = is_64 ? stub_for(call.code) : 0;
        if (!stub) { // `int 0x80`, or no stub left: where it was made, and no more audit
            trap->disarm();
            stub = call.code - 2;
        }
        registers[REG_RIP] = static_cast<greg_t>(stub);
        return;
    }
    switch (call.number) {
    case SYS_rt_sigprocmask: registers[REG_RAX] = change_mask(*trap, context, call); return;
    case SYS_rt_sigaction: registers[REG_RAX] = change_action(call); return;
    default: registers[REG_RAX] = trap->make(call); return;
    }
}

std::chrono::nanoseconds monotonic_time() noexcept
{
    timespec now{}; // by a true call: libc's function may make one that traps
    raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, address(&now));
    return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

/// A wait in these is for other threads of this process that change its memory, the audit's own among them: short, and
/// nobody's mistake.
bool is_about_memory(long number) noexcept
{
    constexpr std::array numbers{SYS_brk, SYS_madvise, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap};
    return std::ranges::find(numbers, number) != numbers.end();
}

/// How often this thread has waited, as opposed to having been interrupted for another.
long times_waited() noexcept
{
    rusage usage{};
    raw_syscall(SYS_getrusage, RUSAGE_THREAD, address(&usage));
    return usage.ru_nvcsw;
}

} // namespace

long syscall_trap::make(const blocked_call& call) noexcept
{
    if (!current_fiber || is_about_memory(call.number)) // without a fiber, waiting is meant
        return make_with_safe_mask(call);
    const auto waited_before = times_waited();
    const auto begin = monotonic_time();
    const auto serial = next_serial_.fetch_add(2, std::memory_order_relaxed);
    current_ = {.serial = serial, .call = call, .fiber = current_fiber};
    serial_.store(serial, std::memory_order_release);
    const long result = make_with_safe_mask(call);
    serial_.store(serial + 1, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_release); // the next call's fields come after
    if (const auto time = monotonic_time() - begin; time >= limit_ && times_waited() != waited_before)
        record(call, serial, time);
    return result;
}

void syscall_trap::record(const blocked_call& call, std::uint64_t serial, std::chrono::nanoseconds time) noexcept
{
    auto mine = reserved_.load(std::memory_order_relaxed);
    do {
        if (mine - taken_.load(std::memory_order_acquire) >= slots) {
            lost_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
    } while (!reserved_.compare_exchange_weak(mine, mine + 1, std::memory_order_acq_rel));
    auto& [filled, into] = ring_[mine % slots];
    into.serial = serial;
    into.call = call;
    into.time = time;
    into.fiber = current_fiber->id;
    std::copy_n(current_fiber->name, into.fiber_name.size(), into.fiber_name.begin());
    into.descriptors = call_descriptors::of(call);
    into.stack = stack_words::at(call.stack);
    filled.store(true, std::memory_order_release);
    bell_.fetch_add(1, std::memory_order_release);
    raw_syscall(SYS_futex, address(&bell_), FUTEX_WAKE_PRIVATE, 1);
}

// ---- arming ---------------------------------------------------------------------------------------------------------

namespace {

struct code_range {
    std::uintptr_t begin = 0;
    std::size_t size = 0;
    bool is_program = false;
};

/// libcoir's.
code_range own_code() noexcept
{
    code_range found;
    ::dl_iterate_phdr(
        [](dl_phdr_info* object, std::size_t, void* result) {
            const auto here = reinterpret_cast<std::uintptr_t>(&coir_trap_stubs);
            for (int i = 0; i < object->dlpi_phnum; ++i) {
                const auto& segment = object->dlpi_phdr[i];
                const auto begin = object->dlpi_addr + segment.p_vaddr;
                if (segment.p_type != PT_LOAD || here < begin || here - begin >= segment.p_memsz)
                    continue;
                *static_cast<code_range*>(result) = {begin, segment.p_memsz, !*object->dlpi_name};
                return 1;
            }
            return 0;
        },
        &found);
    return found;
}

long dispatch(long mode, const code_range& allowed, const std::atomic<unsigned char>* selector) noexcept
{
    return raw_syscall(SYS_prctl, set_syscall_user_dispatch, mode, static_cast<long>(allowed.begin),
                       static_cast<long>(allowed.size), address(selector));
}

signal_mask change_real_mask(int how, signal_mask which) noexcept
{
    signal_mask before = 0;
    raw_syscall(SYS_rt_sigprocmask, how, address(&which), address(&before), sizeof before);
    return before;
}

/// SIGSYS becomes ours, and no other signal's handler is to block it.
void take_signal() noexcept
{
    static constinit std::mutex guard;
    const std::scoped_lock lock{guard};
    for (int signal = 1; signal <= 64; ++signal) {
        kernel_sigaction action;
        if (raw_syscall(SYS_rt_sigaction, signal, 0, address(&action), sizeof action.mask) != 0)
            continue;
        if (signal == SIGSYS) {
            if (action.handler == reinterpret_cast<std::uintptr_t>(&on_trap))
                continue;
            program_action = action;
            constexpr unsigned long has_restorer = 0x04000000; // SA_RESTORER
            action = {.handler = reinterpret_cast<std::uintptr_t>(&on_trap),
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

} // namespace

const char* syscall_trap::obstacle() noexcept
{
#if COIR_VALGRIND
    if (RUNNING_ON_VALGRIND)
        return "under valgrind";
#endif
    if (own_code().is_program)
        return "coir is part of the program's own code";
    if (dispatch(dispatch_off, {}, nullptr) != 0)
        return "the kernel has no Syscall User Dispatch";
    return nullptr;
}

bool syscall_trap::arm() noexcept
{
    auto* const place = place_for(this);
    if (!place)
        return false;
    take_signal();
    blocks_sigsys = change_real_mask(SIG_UNBLOCK, sigsys_bit) & sigsys_bit;
    serial_.store(0, std::memory_order_relaxed);
    place->thread.store(this_thread(), std::memory_order_relaxed);
    if (dispatch(dispatch_on, own_code(), &selector_) == 0)
        return true;
    disarm();
    return false;
}

void syscall_trap::disarm() noexcept
{
    dispatch(dispatch_off, {}, nullptr);
    for (auto& each : armed)
        if (each.trap.load(std::memory_order_relaxed) == this) {
            each.thread.store(0, std::memory_order_relaxed);
            each.trap.store(nullptr, std::memory_order_relaxed);
        }
    if (std::exchange(blocks_sigsys, false))
        change_real_mask(SIG_BLOCK, sigsys_bit);
}

#endif

} // namespace coir
