// SPDX-License-Identifier: BSL-1.0
//
// The outermost frame of every stack that coir makes: where Boost.Context's first switch to it arrives.
//
// Who walks the stack must see that it ends here. Boost's own entry leaves a return address into the middle of nothing
// and, for a frame pointer, whatever the register holds: gdb then says "Backtrace stopped", libunwind fails, and a
// profiler that follows frame pointers reads garbage. So, as the first function of a thread does: the unwind tables
// say that the return address is undefined, and the frame pointer is zero.
//
// It hands on what it was given, a transfer_t in two registers, and is never returned to.

#if defined(__x86_64__)
        .text
        .globl  coir_first_frame
        .type   coir_first_frame, @function
        .p2align 4
coir_first_frame:
        .cfi_startproc
        .cfi_undefined rip
        endbr64
        xorl    %ebp, %ebp
        movq    %rbp, (%rsp)            // the return address, for who reads memory instead of tables
        pushq   %rbp                    // a call wants the stack aligned to 16
        .cfi_adjust_cfa_offset 8
        call    coir_enter_context
        ud2
        .cfi_endproc
        .size   coir_first_frame, . - coir_first_frame

#elif defined(__aarch64__)
        .text
        .globl  coir_first_frame
        .type   coir_first_frame, %function
        .p2align 4
coir_first_frame:
        .cfi_startproc
        .cfi_undefined x30
        hint    #34                     // bti c
        mov     x29, xzr
        mov     x30, xzr
        bl      coir_enter_context
        brk     #0x1
        .cfi_endproc
        .size   coir_first_frame, . - coir_first_frame
#endif

        .section .note.GNU-stack, "", %progbits
