/* conf/mime.types as a C string: td_mime_types of mimetypes.c. */
    .section .rodata
    .globl td_mime_types
    .hidden td_mime_types
    .type td_mime_types, %object
td_mime_types:
    .incbin "conf/mime.types"
    .byte 0
    .size td_mime_types, . - td_mime_types
    .section .note.GNU-stack, "", %progbits
