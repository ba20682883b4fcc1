// SPDX-License-Identifier: BSL-1.0
// vfork. The child has this thread's memory until it calls exec or ends, the variable with the current fiber included.
// A patched call in it must neither suspend that fiber nor wake anybody: so for the child there is no fiber. What the
// parent goes on with is kept in a register, which is all that the child cannot change. As in libc, the return address
// is kept in one too: the child overwrites the place on the stack.
//
// fork needs nothing here: runtime and net keep the calling fiber, and what was locked by others is put right by
// pthread_atfork, where the lock is.
#include "interpose.hpp"

#include <cerrno>

namespace coir {

extern "C" [[gnu::used]] int coir_vfork_failed(long error) noexcept
{
    errno = static_cast<int>(-error);
    return -1;
}

} // namespace coir

#if defined(__x86_64__)
asm(R"(
        .text
        .globl  vfork
        .type   vfork, @function
vfork:
        .cfi_startproc
        endbr64
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdi
        movq    _ZN4coir13current_fiberE@gottpoff(%rip), %rdx
        movq    %fs:(%rdx), %rsi
        movl    $58, %eax
        syscall
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rip, 0
        testq   %rax, %rax
        jnz     1f
        movq    $0, %fs:(%rdx)
        ret
1:      movq    %rsi, %fs:(%rdx)
        js      2f
        ret
2:      movq    %rax, %rdi
        jmp     coir_vfork_failed
        .cfi_endproc
        .size   vfork, .-vfork
)");
#elif defined(__aarch64__)
asm(R"(
        .text
        .globl  vfork
        .type   vfork, %function
vfork:
        .cfi_startproc
        mrs     x9, tpidr_el0
        adrp    x10, :gottprel:_ZN4coir13current_fiberE
        ldr     x10, [x10, :gottprel_lo12:_ZN4coir13current_fiberE]
        ldr     x11, [x9, x10]
        mov     x0, #0x4111     // CLONE_VFORK | CLONE_VM | SIGCHLD
        mov     x1, sp
        mov     x8, #220        // clone
        svc     #0
        cbnz    x0, 1f
        str     xzr, [x9, x10]
        ret
1:      str     x11, [x9, x10]
        tbnz    x0, #63, 2f
        ret
2:      b       coir_vfork_failed
        .cfi_endproc
        .size   vfork, .-vfork
)");
#else
#error "vfork: write it for this processor"
#endif
