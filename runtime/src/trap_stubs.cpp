// SPDX-License-Identifier: BSL-1.0
#include "trap_stubs.hpp"

#include <atomic>
#include <cstddef>

#if defined(__x86_64__)

// A stub for each place that such a call is made from, where to go back to in the table: a register would not do, since
// `syscall` changes two and the caller has the others, nor the stack, which the child may not have.
constexpr std::size_t stub_count = 64;
constexpr std::size_t stub_size = 16;

extern "C" {
[[gnu::visibility("hidden")]] constinit std::atomic<std::uintptr_t> coir_trap_returns[stub_count]{};
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

namespace coir {

std::uintptr_t stub_for(std::uintptr_t caller) noexcept
{
    for (std::size_t i = 0; i < stub_count; ++i) {
        std::uintptr_t there = 0;
        if (coir_trap_returns[i].compare_exchange_strong(there, caller) || there == caller)
            return reinterpret_cast<std::uintptr_t>(&coir_trap_stubs) + i * stub_size;
    }
    return 0;
}

} // namespace coir

#endif
