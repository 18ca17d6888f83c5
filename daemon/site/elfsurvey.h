/*
 * What the tables of a handler's file tell of its code, none of which is run: for `tornadod check`.
 * What a strip has taken away cannot be told; then is_stripped says so.
 */
#ifndef DAEMON_SITE_ELFSURVEY_H
#define DAEMON_SITE_ELFSURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>
#include "base/arena.h"

struct elf_names {
    const char **items; /* point into the bytes */
    size_t count;
};

struct elf_survey {
    bool has_plugin; /* it exports tornado_plugin, which says: */
    uint16_t abi_major, abi_minor;
    bool is_stripped;
    bool lacks_exceptions;       /* the compiler has noted that it was not told -fexceptions */
    struct elf_names libraries;  /* that it needs */
    struct elf_names wanted;     /* symbols that others have to have */
    struct elf_names private_;   /* those of them that are the daemon's own */
    struct elf_names writable;   /* its variables that are no constants */
    struct elf_names unwindless; /* functions that nothing can be thrown through */
};

/*
 * bytes: what elf_check has found to be a shared object, but for its symbols.  TD_EPLUGIN: damaged.
 */
int elf_survey(td_arena *arena, const char *bytes, size_t size, struct elf_survey *out, td_err *err);

#endif
