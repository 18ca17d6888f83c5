/* What can be told of a shared object without running a byte of it. */
#ifndef DAEMON_SITE_ELF_H
#define DAEMON_SITE_ELF_H

#include <stddef.h>
#include <tornado/error.h>

/*
 * TD_EPLUGIN when the bytes are no shared object for this machine, or need a version of
 * libtornado's symbols that handlers may not have: TORNADO_PRIVATE, or one that is newer than ours.
 */
int elf_check(const char *bytes, size_t size, td_err *err);

#endif
