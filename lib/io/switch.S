/*
 * See switch.h.  A point is the stack pointer under which td_switch saved the registers; the frame
 * looks the same whoever wrote it, so the unwinding tables of td_switch hold before and after the
 * stack pointer changes.  tornado-gdb.py knows its layout.
 *
 * Points are left by a jump: a ret would take the address that the processor predicts from the call
 * of another flow, and mispredict each time.  For shadow stacks that is a crash: there is no
 * .note.gnu.property here, so nobody turns them on for a program that links this.
 */
#ifndef TD_SWITCH_UCONTEXT

#if defined(__x86_64__)

/* From the point up: mxcsr and x87 control word, r15, r14, r13, r12, rbx, rbp, return address. */
    .macro save_to point
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (\point)
    .endm

    .text
    .globl td_switch
    .hidden td_switch
    .type td_switch, @function
    .p2align 4
td_switch: /* rdi: point, rsi: to */
    .cfi_startproc
    save_to %rdi
    movq %rsi, %rsp
.Lrestore:
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_same_value %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_same_value %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_same_value %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_same_value %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_same_value %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_same_value %rbp
    popq %rdx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdx
    jmp *%rdx
    .cfi_endproc
    .size td_switch, . - td_switch

    .globl td_switch_leave
    .hidden td_switch_leave
    .type td_switch_leave, @function
    .p2align 4
td_switch_leave: /* rdi: to */
    .cfi_startproc
    movq %rdi, %rsp
    jmp .Lrestore
    .cfi_endproc
    .size td_switch_leave, . - td_switch_leave

    .globl td_switch_enter
    .hidden td_switch_enter
    .type td_switch_enter, @function
    .p2align 4
td_switch_enter: /* rdi: point, rsi: top, rdx: entry, rcx: arg */
    .cfi_startproc
    .cfi_personality 0x1b, td_switch_personality /* 0x1b: a relative address of 4 bytes */
    save_to %rdi
    movq %rsp, %rbx
    movq %rcx, %rdi
    movq %rsi, %rsp
    .cfi_remember_state
    .cfi_def_cfa %rsp, 8
    .cfi_undefined %rip
    xorl %ebp, %ebp
    call *%rdx
    /* entry returned, so it left all callee-saved registers but these two as they were. */
    movq %rbx, %rsp
    .cfi_restore_state
    movq 40(%rsp), %rbx
    movq 48(%rsp), %rbp
    addq $56, %rsp
    .cfi_def_cfa_offset 8
    .cfi_same_value %rbx
    .cfi_same_value %rbp
    .cfi_same_value %r12
    .cfi_same_value %r13
    .cfi_same_value %r14
    .cfi_same_value %r15
    ret
    .globl td_switch_caught
    .hidden td_switch_caught
td_switch_caught: /* the unwinder comes here, on the stack of entry; rax: exception */
    .cfi_def_cfa %rsp, 8
    .cfi_undefined %rip
    movq %rax, %rdi
    call td_switch_uncaught
    ud2
    .cfi_endproc
    .size td_switch_enter, . - td_switch_enter

    .globl td_switch_call
    .hidden td_switch_call
    .type td_switch_call, @function
    .p2align 4
td_switch_call: /* rdi: point, rsi: entry, rdx: arg */
    .cfi_startproc
    .cfi_personality 0x1b, td_switch_personality
    save_to %rdi
    movq %rdx, %rdi
    call *%rsi
    addq $56, %rsp /* entry left the registers as they were */
    .cfi_def_cfa_offset 8
    .cfi_same_value %rbx
    .cfi_same_value %rbp
    .cfi_same_value %r12
    .cfi_same_value %r13
    .cfi_same_value %r14
    .cfi_same_value %r15
    ret
    .cfi_endproc
    .size td_switch_call, . - td_switch_call

#elif defined(__aarch64__)

/* From the point up: x29 x30, x19..x28, d8..d15, fpcr, padding; 176 bytes. */
    .macro save_to point
    sub sp, sp, #176
    .cfi_adjust_cfa_offset 176
    stp x29, x30, [sp]
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    stp x19, x20, [sp, #16]
    .cfi_rel_offset x19, 16
    .cfi_rel_offset x20, 24
    stp x21, x22, [sp, #32]
    .cfi_rel_offset x21, 32
    .cfi_rel_offset x22, 40
    stp x23, x24, [sp, #48]
    .cfi_rel_offset x23, 48
    .cfi_rel_offset x24, 56
    stp x25, x26, [sp, #64]
    .cfi_rel_offset x25, 64
    .cfi_rel_offset x26, 72
    stp x27, x28, [sp, #80]
    .cfi_rel_offset x27, 80
    .cfi_rel_offset x28, 88
    stp d8, d9, [sp, #96]
    .cfi_rel_offset d8, 96
    .cfi_rel_offset d9, 104
    stp d10, d11, [sp, #112]
    .cfi_rel_offset d10, 112
    .cfi_rel_offset d11, 120
    stp d12, d13, [sp, #128]
    .cfi_rel_offset d12, 128
    .cfi_rel_offset d13, 136
    stp d14, d15, [sp, #144]
    .cfi_rel_offset d14, 144
    .cfi_rel_offset d15, 152
    mrs x9, fpcr
    str x9, [sp, #160]
    mov x9, sp
    str x9, [\point]
    .endm

/* A comparison is cheaper than the write, which nearly never changes anything. */
    .macro restore_and_jump
    ldr x9, [sp, #160]
    mrs x10, fpcr
    cmp x9, x10
    b.eq 1f
    msr fpcr, x9
1:  ldp d14, d15, [sp, #144]
    ldp d12, d13, [sp, #128]
    ldp d10, d11, [sp, #112]
    ldp d8, d9, [sp, #96]
    ldp x27, x28, [sp, #80]
    ldp x25, x26, [sp, #64]
    ldp x23, x24, [sp, #48]
    ldp x21, x22, [sp, #32]
    ldp x19, x20, [sp, #16]
    ldp x29, x30, [sp]
    add sp, sp, #176
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    mov x16, x30
    br x16
    .endm

    .text
    .globl td_switch
    .hidden td_switch
    .type td_switch, %function
    .p2align 4
td_switch: /* x0: point, x1: to */
    .cfi_startproc
    save_to x0
    mov sp, x1
    restore_and_jump
    .cfi_endproc
    .size td_switch, . - td_switch

    .globl td_switch_leave
    .hidden td_switch_leave
    .type td_switch_leave, %function
    .p2align 4
td_switch_leave: /* x0: to */
    .cfi_startproc
    mov sp, x0
    restore_and_jump
    .cfi_endproc
    .size td_switch_leave, . - td_switch_leave

    .globl td_switch_enter
    .hidden td_switch_enter
    .type td_switch_enter, %function
    .p2align 4
td_switch_enter: /* x0: point, x1: top, x2: entry, x3: arg */
    .cfi_startproc
    .cfi_personality 0x1b, td_switch_personality /* 0x1b: a relative address of 4 bytes */
    save_to x0
    mov x19, sp
    mov x0, x3
    mov sp, x1
    .cfi_remember_state
    .cfi_def_cfa sp, 0
    .cfi_undefined x30
    mov x29, #0
    blr x2
    /* entry returned, so it left all callee-saved registers but these as they were. */
    mov sp, x19
    .cfi_restore_state
    ldp x29, x30, [sp]
    ldr x19, [sp, #16]
    add sp, sp, #176
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x29
    .cfi_restore x30
    ret
    .globl td_switch_caught
    .hidden td_switch_caught
td_switch_caught: /* the unwinder comes here, on the stack of entry; x0: exception */
    .cfi_def_cfa sp, 0
    .cfi_undefined x30
    bl td_switch_uncaught
    brk #1
    .cfi_endproc
    .size td_switch_enter, . - td_switch_enter

    .globl td_switch_call
    .hidden td_switch_call
    .type td_switch_call, %function
    .p2align 4
td_switch_call: /* x0: point, x1: entry, x2: arg */
    .cfi_startproc
    .cfi_personality 0x1b, td_switch_personality
    save_to x0
    mov x0, x2
    blr x1
    ldp x29, x30, [sp] /* entry left the others as they were */
    add sp, sp, #176
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size td_switch_call, . - td_switch_call

#endif
#endif

    .section .note.GNU-stack, "", %progbits
