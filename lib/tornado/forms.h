/*
 * What clients fill in: arguments that are numbers or switches, and files.
 */
#ifndef TORNADO_FORMS_H
#define TORNADO_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/* ---- numbers and switches */

/*
 * td_get_argument as something else than text.  What is missing or is none raises 400, with a line
 * in the log that names it; with a default, what is missing is the default, and what is none is
 * still a 400.
 *
 *   int      digits, perhaps behind a '-'; min <= it <= max
 *   bool     on off true false yes no t f y n 1 0, in any case
 *   double   1, -1.5, .5, 1e-3: finite, with a decimal point in every locale
 */
TD_API int64_t td_get_argument_int(td_handler *h, const char *name, int64_t min, int64_t max);
TD_API int64_t td_get_argument_int_default(td_handler *h, const char *name, int64_t min,
                                           int64_t max, int64_t default_value);
TD_API bool td_get_argument_bool(td_handler *h, const char *name);
TD_API bool td_get_argument_bool_default(td_handler *h, const char *name, bool default_value);
TD_API double td_get_argument_double(td_handler *h, const char *name);
TD_API double td_get_argument_double_default(td_handler *h, const char *name, double default_value);

/*
 * ---- files: the parts of a multipart/form-data body that have a filename
 *
 * A body larger than body_spill is not in memory but in a temporary file that is mapped, so files
 * of any size can be had as td_str; what is read of them comes from the disk, or its cache.
 */

typedef struct td_http_file {
    td_str name;         /* of the field */
    td_str filename;     /* as the client calls it (browsers write " as %22); never use it as a path */
    td_str content_type; /* as the client says, "application/unknown" if it says nothing */
    td_str body;         /* a part of the request's body, so without a NUL behind it */
} td_http_file;

/* The first file of that field, NULL: there is none.  Lives as long as the request. */
TD_API const td_http_file *td_get_file(td_handler *h, const char *name);

/* All files of that field in order, name NULL: of all fields.  Returns how many there are. */
TD_API size_t td_get_files(td_handler *h, const char *name, const td_http_file **files_out);

/*
 * Write a file, or all of the body, to `path`.  Waits: 256 KiB are copied at a time, others are
 * served in between, and the disk is not waited for.  At the end path is the new file as a whole,
 * in place of what was there (a symbolic link is not followed); before, and after an error or when
 * the handler is cancelled, nothing is seen of it.  Permissions are those of a new file, by umask.
 * Whether it outlives a loss of power is up to the file system; fsync, by td_executor_run, is left
 * to whoever needs it.
 *
 * Returns 0 or -errno, such as -ENOSPC.  path is relative to the directory that the daemon was
 * started in, so say where it begins; and never make it out of `filename`.
 */
TD_API int td_save_file(td_handler *h, const td_http_file *file, const char *path);
TD_API int td_save_body(td_handler *h, const char *path);

#endif
