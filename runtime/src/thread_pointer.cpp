// SPDX-License-Identifier: BSL-1.0
// Each block of thread-local storage has a current_fiber and a current_scheduler of its own. In one that belongs to a
// fiber they are set while that fiber runs with it, and current_fiber is null while others run: a signal handler that
// comes in the middle of a switch then finds no fiber, and libc is libc.
#include "thread_pointer.hpp"

#include "raw_syscall.hpp"
#include "scheduler.hpp"

#include <coir/thread_pointer.hpp>

#include <sys/auxv.h>
#include <sys/syscall.h>

namespace coir {

#if defined(__x86_64__)

namespace {

constexpr long arch_set_fs = 0x1002; // <asm/prctl.h>

/// Whether the kernel lets programs write fs themselves: HWCAP2_FSGSBASE of <asm/hwcap2.h>, since Linux 5.9.
bool may_write() noexcept
{
    static const bool result = ::getauxval(AT_HWCAP2) & 2;
    return result;
}

const bool asked_before_main = may_write(); // so that nobody asks, and takes a lock, in the middle of a switch

} // namespace

void* thread_pointer() noexcept
{
    void* result;
    asm("movq %%fs:0, %0" : "=r"(result)); // the first word points to itself (System V ABI, ELF handling for TLS)
    return result;
}

void write_thread_pointer(void* pointer) noexcept
{
    static_cast<void>(asked_before_main);
    if (may_write())
        asm volatile("wrfsbase %0" ::"r"(pointer) : "memory");
    else
        raw_syscall(SYS_arch_prctl, arch_set_fs, reinterpret_cast<long>(pointer));
}

#elif defined(__aarch64__)

void* thread_pointer() noexcept
{
    void* result;
    asm("mrs %0, tpidr_el0" : "=r"(result));
    return result;
}

void write_thread_pointer(void* pointer) noexcept
{
    asm volatile("msr tpidr_el0, %0" ::"r"(pointer) : "memory");
}

#else
#error "the thread pointer: write it for this processor"
#endif

namespace {

// Each a call of its own, so that no address of something thread-local is kept across the change.

[[gnu::noinline]] void leave_storage(bool ours) noexcept
{
    current_fiber = nullptr;
    if (ours) {
        current_scheduler = nullptr;
        this_hub_number = 0;
    }
    asm volatile("" ::: "memory");
}

[[gnu::noinline]] void enter_storage(fiber_state& fiber, scheduler& hub) noexcept
{
    current_scheduler = &hub;
    this_hub_number = hub.thread_number();
    current_fiber = &fiber;
    asm volatile("" ::: "memory");
}

} // namespace

[[gnu::noinline]] void this_fiber::set_thread_pointer(void* pointer) noexcept
{
    auto& fiber = *current_fiber;
    auto& hub = fiber.hub();
    leave_storage(fiber.thread_pointer != nullptr);
    if (!fiber.thread_pointer)
        hub.use_thread_pointers(thread_pointer());
    fiber.thread_pointer = pointer;
    hub.note_storage(pointer ? pointer : hub.thread_pointer());
    write_thread_pointer(pointer ? pointer : hub.thread_pointer());
    enter_storage(fiber, hub);
}

// ---- switching ------------------------------------------------------------------------------------------------------

/// As the usual switch, but between fibers of which at least one may have a thread pointer of its own.
[[gnu::noinline]] void scheduler::switch_storage(context& from, fiber_state* next) noexcept
{
    auto* const self = current_fiber;
    auto* const pointer = pointer_of(next);
    if (pointer == pointer_of(self)) {
        current_fiber = next;
        from.switch_to(next ? next->stack : *loop_, globals_);
    } else {
        current_fiber = nullptr;
        note_storage(pointer);
        from.switch_to(next ? next->stack : *loop_, globals_, pointer);
    }
    current_fiber = self;
    release_ended();
}

} // namespace coir
