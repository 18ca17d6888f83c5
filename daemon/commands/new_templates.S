/* What `tornadod new` writes, as C strings of new.c. */
    .macro text name, file
    .globl \name
    .hidden \name
    .type \name, %object
\name:
    .incbin "\file"
    .byte 0
    .size \name, . - \name
    .endm

    .section .rodata
    text new_handler_text, daemon/commands/new_handler.c.in
    text new_test_text, daemon/commands/new_test.c.in
    text new_makefile_text, daemon/commands/new_makefile.in
    .section .note.GNU-stack, "", %progbits
