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
#include "trap_stubs.hpp"

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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
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

void on_trap(int signal, siginfo_t* info, void* details)
{
    auto* const trap = trap_of_this_thread();
    if (info->si_code != by_user_dispatch || !trap) {
        sigsys::pass_on(signal, info, details);
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
            sigsys::let_in(*reinterpret_cast<ucontext_t*>(call.stack));
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
    case SYS_rt_sigprocmask: registers[REG_RAX] = trap->signal.change_mask(context, call); return;
    case SYS_rt_sigaction: registers[REG_RAX] = sigsys::change_action(call); return;
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
        return sigsys::make_call(call);
    const auto waited_before = times_waited();
    const auto begin = monotonic_time();
    const auto serial = next_serial_.fetch_add(2, std::memory_order_relaxed);
    current_ = {.serial = serial, .call = call, .fiber = current_fiber};
    serial_.store(serial, std::memory_order_release);
    const long result = sigsys::make_call(call);
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
    sigsys::take(&on_trap);
    signal.unblock();
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
    signal.restore();
}

#endif

} // namespace coir
