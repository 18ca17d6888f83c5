/*
 * Files that are nobody's yet: temporary ones, and ones that are to replace others as a whole.
 *
 * Where the file system can (all local ones of Linux), they have no name, so nothing is left behind
 * however a process ends.
 */
#ifndef TORNADO_BASE_TEMPFILE_H
#define TORNADO_BASE_TEMPFILE_H

#include <stdbool.h>
#include <tornado/abi.h>

/* A file in that directory which nobody else can open: for reading and writing.  fd, or -errno. */
TD_PRIVATE int td_tempfile_open(const char *directory);

typedef struct td_newfile {
    int fd;          /* for reading and writing */
    char *path;      /* what it is to be */
    char *temporary; /* a name beside it; NULL: it has none */
} td_newfile;

/*
 * A file that is going to be `path`, with the permissions of a new file.  0, or -errno.  Whatever
 * comes then, close it.
 */
TD_PRIVATE int td_newfile_open(td_newfile *file, const char *path);

/* Now path is this file, at once, in place of a file or symbolic link there was.  0, or -errno. */
TD_PRIVATE int td_newfile_commit(td_newfile *file);

/* Unless it was committed, nothing is left of it.  One that is zeroed, or closed, may be closed. */
TD_PRIVATE void td_newfile_close(td_newfile *file);

#endif
