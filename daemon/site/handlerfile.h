/*
 * Handler files on disk: who may have written them, and a copy of our own of what was accepted.
 *
 * The copy is sealed memory, so whatever happens to the file afterwards (overwritten in place, cut,
 * removed) workers keep running what was checked, and one that is started later loads the same
 * bytes.
 */
#ifndef DAEMON_SITE_HANDLERFILE_H
#define DAEMON_SITE_HANDLERFILE_H

#include <stdint.h>
#include <sys/types.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "daemon/privileges.h"

#define HANDLER_FILE_SIZE_MAX (256u << 20) /* bytes */

/*
 * Open the directory, refused when others may write into it or it belongs to neither root, nor the
 * daemon's user, nor us; so it is when others may rename a directory above it.
 */
int handlerdir_open(const char *path, const struct identity *identity, int *fd_out, td_err *err);

/* Names of the files that end in ".so" and do not begin with '.', sorted; in the arena. */
int handlerdir_list(int dir_fd, td_arena *arena, const char *const **names_out, size_t *count_out,
                    td_err *err);

/*
 * Open a file beneath the directory, refuse it for the same reasons, and copy it.  The result is a
 * sealed descriptor, close-on-exec.  TD_EPLUGIN for what the file is or who may write it.
 */
int handlerfile_copy(int dir_fd, const char *name, const struct identity *identity, int *fd_out,
                     td_err *err);

/* Of such a copy: the same for the same bytes, 1..INT64_MAX; 0: it cannot be read. */
int64_t handlerfile_digest(int fd);

#endif
