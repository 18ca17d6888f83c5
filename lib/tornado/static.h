/*
 * Files below a directory (Tornado's StaticFileHandler).
 *
 *     TD_URL("/files/(.*)", &td_static_class,
 *            .initialize_arg = TD_STATIC(.root = "/srv/files", .default_filename = "index.html"))
 *
 * The first group of the pattern is the path of the file below the root.  GET and HEAD are answered,
 * with Content-Type by the extension, Etag, Last-Modified, conditional requests and single ranges;
 * Cache-Control: max-age=315360000 if there is an argument v.  Nothing outside of the root is ever
 * served.  What the worker knows of a file, and the bytes of a small one, are kept for
 * static_cache_time of the application's settings.
 *
 * The application's settings static_path and static_url_prefix do the same without a handler.
 */
#ifndef TORNADO_STATIC_H
#define TORNADO_STATIC_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/* Which symbolic links below the root are followed; the others are 403. */
typedef enum td_symlinks {
    TD_SYMLINKS_INSIDE,   /* relative ones that do not leave the root */
    TD_SYMLINKS_NEVER,
    TD_SYMLINKS_ANYWHERE, /* all: whoever can make one there can show any file */
} td_symlinks;

typedef struct td_static_options {
    size_t size;                  /* of the struct; set by TD_STATIC */
    const char *root;             /* a directory, absolute */
    const char *default_filename; /* served for a directory; NULL: a directory is 403 */
    td_symlinks symlinks;
} td_static_options;

#ifndef __cplusplus
#define TD_STATIC(...)                                                                             \
    (&(const td_static_options){.size = sizeof(td_static_options), __VA_ARGS__})
#endif

TD_API const td_handler_class td_static_class; /* initialize_arg: const td_static_options * */

/*
 * Answer with the file `path` below options->root, or with the error page that says why not, from a
 * method of one's own:
 *
 *     td_serve_static(h, TD_STATIC(.root = settings->root), td_path_argument_at(h, 0));
 *
 * path: decoded; normalised first ("a/../b" is "b"), and one that leaves the root is 403.  Ends the
 * response: 0, TD_ECLOSED, or TD_EINVAL when it had begun.  Opening a file and reading what is not in
 * the system's cache keeps the worker waiting for the disk.
 */
TD_API int td_serve_static(td_handler *h, const td_static_options *options, td_str path);

#endif
