/*
 * Files below a directory (Tornado's StaticFileHandler).
 *
 *     TD_URL("/files/(.*)", &td_static_class,
 *            .initialize_arg = TD_STATIC(.root = "/srv/files", .default_filename = "index.html"))
 *
 * The first group of the pattern is the path of the file below the root.  GET and HEAD are
 * answered, with Content-Type by the extension, Etag, Last-Modified, conditional requests, ranges,
 * and Cache-Control: max-age=315360000 if there is an argument v (see td_static_url).  Nothing
 * outside of the root is ever served.  What the worker knows of a file, and the bytes of a small
 * one, are kept for static_cache_time of the application's settings.
 *
 * The application's settings static_path and static_url_prefix do the same without a handler.
 */
#ifndef TORNADO_STATIC_H
#define TORNADO_STATIC_H

#include <stdbool.h>
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
    size_t size TD_ZERO;      /* of the struct; set by TD_STATIC */
    const char *root TD_ZERO; /* a directory, absolute */

    /*
     * Served for a directory: the first that is there of one or more, with commas between; NULL:
     * 403.
     */
    const char *default_filename TD_ZERO;
    td_symlinks symlinks TD_ZERO;

    /*
     * Send app.js.zst, app.js.br or app.js.gz in the place of app.js to whom likes that better (RFC
     * 9110 section 12.5.3), with the Content-Type of app.js.  One that is older than it is not
     * sent.
     */
    bool precompressed TD_ZERO;

    /*
     * A directory without a default file is a list of what it holds: a page, or to whom likes JSON
     * better {"path": "/files/", "entries": [{"name": "a.txt", "directory": false, "size": 5,
     * "modified": 784111777}], "complete": true}.  By name, without names that begin with a dot or
     * are not UTF-8, and links that may not be followed.
     */
    bool listing TD_ZERO;
    unsigned listing_max TD_ZERO; /* entries of one list, 1..10000; 0: 1000 */

    unsigned max_ranges TD_ZERO;  /* of one request, 1..64; more: the whole file is sent; 0: 16 */

    /*
     * A file below the root that is sent, with 200, to a browser that asks for a page (Accept names
     * text/html) that is not there: for applications that look at the path themselves.
     */
    const char *fallback TD_ZERO;

    /*
     * Cache-Control of what has no argument v, by rules of which the first that matches counts: by
     * media type, by path below the root, by extension; a lone asterisk is for all, and one in the
     * place of a subtype for all of that type.
     *
     *     "text/html: no-cache | /assets/: public, max-age=31536000, immutable | .css: max-age=60"
     */
    const char *cache_control TD_ZERO;

    /*
     * Called before the headers of a file are sent (also of 206, 304 and 416), after ours are set,
     * to set more or others; path: below the root, normalised.  May wait, raise, or answer itself.
     */
    void (*set_extra_headers)(td_handler *h, td_str path) TD_ZERO;
} td_static_options;

#ifndef __cplusplus
#define TD_STATIC(...)                                                                             \
    (&(const td_static_options){.size = sizeof(td_static_options), __VA_ARGS__})
#else
#define TD_STATIC(...) TD_OPTIONS_OF(td_static_options, __VA_ARGS__)
#endif

TD_API const td_handler_class td_static_class; /* initialize_arg: const td_static_options * */

/*
 * Answer with the file `path` below options->root, or with the error page that says why not, from a
 * method of one's own:
 *
 *     td_serve_static(h, TD_STATIC(.root = settings->root), td_path_argument_at(h, 0));
 *
 * path: decoded; normalised first ("a/../b" is "b"), and one that leaves the root is 403.  Ends the
 * response: 0, TD_ECLOSED, or TD_EINVAL when it had begun.  Opening a file and reading what is not
 * in the system's cache keeps the worker waiting for the disk.
 */
TD_API int td_serve_static(td_handler *h, const td_static_options *options, td_str path);

/*
 * The URL of a file below static_path of the application's settings, with a version that changes
 * when its content does: "/static/css/site.css?v=9cd1...".  A client may keep what comes from it
 * for ever.  path: "css/site.css", not escaped.  Of a file that is not there the URL has no
 * version.  From the arena of the request.  The null string, and a log line, when there is no
 * static_path.
 *
 * The version is a hash of the content, which is read when it is first asked for and when the file
 * has changed.  Others are served while a large one is read, so the call may wait.
 */
TD_API td_str td_static_url(td_handler *h, const char *path);
TD_API td_str td_static_full_url(td_handler *h, const char *path); /* "http://example.org/static/..." */

#endif
