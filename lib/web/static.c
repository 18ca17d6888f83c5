/*
 * StaticFileHandler: from a path to headers and a file (BEHAVIOUR section 13).
 *
 * What is known of the file comes from the application's td_filecache, which sees to it that it lies
 * below the root; how its bytes reach the client is the connection's.  A request runs through here
 * in one go, so what the cache gave needs no reference; headers borrow from it, for they are written
 * before it can go.
 */
#include "web/static.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>
#include "base/log.h"
#include "http/request.h"
#include "web/conditional.h"
#include "web/filecache.h"
#include "web/handler.h"

#define PATH_LENGTH_MAX 4095            /* bytes: PATH_MAX without its NUL */
#define VERSIONED_SECONDS 315360000     /* ten years */

/* ---- paths */

/* Take the next segment off the front of a path that has one. */
static td_str
next_segment(td_str *path)
{
    const char *slash = memchr(path->ptr, '/', path->len);
    const size_t len = slash != NULL ? (size_t)(slash - path->ptr) : path->len;
    const td_str segment = {path->ptr, len};

    *path = td_str_make(path->ptr + len + (slash != NULL), path->len - len - (slash != NULL));
    return segment;
}

/* Every segment is one: not empty, not "." nor "..". */
static bool
is_normal(td_str path)
{
    while (path.len > 0) {
        const bool last = memchr(path.ptr, '/', path.len) == NULL;
        const td_str segment = next_segment(&path);

        if (segment.len == 0 || td_str_equal(segment, TD_STR(".")) ||
            td_str_equal(segment, TD_STR("..")) || (!last && path.len == 0))
            return false;
    }
    return true;
}

/*
 * Without empty, "." and ".." segments, as os.path.normpath does it: by the text, whatever links are on
 * the way.  The null string: it begins at "/" or leaves the root.
 */
static td_str
normalise(td_arena *arena, td_str path)
{
    char *text;
    size_t len = 0;

    if (is_normal(path))
        return path;
    if (path.ptr[0] == '/')
        return td_str_make(NULL, 0);
    text = td_arena_alloc_raw(arena, path.len + 2);
    while (path.len > 0) {
        const td_str segment = next_segment(&path);

        if (segment.len == 0 || td_str_equal(segment, TD_STR(".")))
            continue;
        if (!td_str_equal(segment, TD_STR(".."))) {
            memcpy(text + len, segment.ptr, segment.len);
            len += segment.len;
            text[len++] = '/';
            continue;
        }
        if (len == 0)
            return td_str_make(NULL, 0);
        for (len--; len > 0 && text[len - 1] != '/'; len--)
            ;
    }
    len -= len > 0; /* the last slash */
    text[len] = '\0';
    return td_str_make(text, len);
}

/* ---- what cannot be served */

static int
status_of(int rc)
{
    switch (rc) {
    case -ENOENT:
    case -ENOTDIR:
    case -ENAMETOOLONG:
        return 404;
    case TD_EINVAL: /* a device, a FIFO */
    case -ENXIO:    /* a socket */
    case -EISDIR:
    case -EACCES:
    case -EPERM:
    case -EXDEV: /* a link that leaves the root */
    case -ELOOP: /* a link that is not to be followed */
        return 403;
    default:
        return 500;
    }
}

static int
refuse(td_handler *h, int rc, td_str path)
{
    static td_log_gate gate;
    const int status = status_of(rc);

    if (status == 500)
        td_log_gated(&gate, TD_LOG_ERROR, td_handler_route(h)->instance->name,
                     "static file '%.*s': %s", TD_STR_FMT(path), td_strerror(rc));
    return td_send_error(h, status, NULL);
}

/*
 * To the path with a slash at its end, so that relative links in the default file are right.  One that
 * begins with two would lead to another host (CVE-2023-28370).
 */
static int
redirect_to_directory(td_handler *h)
{
    const td_str path = h->request->head.path;

    if (path.len > 1 && (path.ptr[1] == '/' || path.ptr[1] == '\\'))
        return td_send_error(h, 403, NULL);
    return td_redirect(h, td_arena_sprintf(&h->request->arena, "%.*s/", TD_STR_FMT(path)).ptr, true);
}

/* ---- what can */

/* There is an argument v that is not empty: the URL changes when the file does. */
static bool
is_versioned(td_str query)
{
    for (size_t i = 0; i + 2 < query.len; i++)
        if ((i == 0 || query.ptr[i - 1] == '&') && query.ptr[i] == 'v' && query.ptr[i + 1] == '=' &&
            query.ptr[i + 2] != '&')
            return true;
    return false;
}

static void
set(td_handler *h, td_str name, td_str value)
{
    td_headers_set(&h->headers, &h->request->arena, name, value);
}

static void
set_headers(td_handler *h, const td_cached_file *file)
{
    h->has_etag = true;
    set(h, TD_STR("Content-Type"), file->content_type);
    set(h, TD_STR("Accept-Ranges"), TD_STR("bytes"));
    set(h, TD_STR("Etag"), td_str_make(file->etag, sizeof(file->etag)));
    set(h, TD_STR("Last-Modified"), td_str_make(file->last_modified, TD_HTTP_DATE_LEN));
    if (is_versioned(h->request->head.query)) {
        char *expires = td_arena_alloc_raw(&h->request->arena, TD_HTTP_DATE_LEN + 1);

        td_http_date_format(td_clock_cached_wall + VERSIONED_SECONDS, expires);
        set(h, TD_STR("Expires"), td_str_make(expires, TD_HTTP_DATE_LEN));
        set(h, TD_STR("Cache-Control"), TD_STR("max-age=315360000"));
    }
}

static int
send_piece(td_handler *h, const td_cached_file *file, td_byte_range range)
{
    if (file->file != NULL)
        return td_response_finish_file(h, file->file, range.first, range.length);
    return td_response_finish_bytes(h, td_str_make(file->bytes + range.first, range.length));
}

static int
send_file(td_handler *h, const td_cached_file *file)
{
    const td_validators validators = {
        .etag = {file->etag, sizeof(file->etag)},
        .modified = file->modified,
        .size = file->size,
    };
    td_arena *arena = &h->request->arena;
    td_byte_range range = {0, file->size};
    const int status = td_conditional_status(h->request, &validators, &range);

    if (status == 412)
        return td_send_error(h, status, NULL);
    h->status = status;
    h->reason = td_str_make(NULL, 0);
    set_headers(h, file);
    if (status == 206) {
        set(h, TD_STR("Content-Range"),
            td_arena_sprintf(arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                             range.first + range.length - 1, file->size));
    } else if (status == 416) {
        set(h, TD_STR("Content-Type"), TD_STR("text/plain"));
        set(h, TD_STR("Content-Range"), td_arena_sprintf(arena, "bytes */%" PRIu64, file->size));
        range.length = 0;
    }
    return send_piece(h, file, range);
}

/* The default file of the directory at path, which ends the URL with a slash. */
static int
open_default(td_handler *h, const td_static_options *options, td_str path, td_cached_file **out)
{
    td_filecache *cache = h->app->files;
    int rc;

    path = td_arena_sprintf(&h->request->arena, "%.*s%s%s", TD_STR_FMT(path),
                            path.len > 0 ? "/" : "", options->default_filename);
    rc = td_filecache_open(cache, options->root, options->symlinks, path, out);
    if (rc == 0 && (*out)->is_directory) {
        td_filecache_done(cache, *out);
        rc = -EISDIR;
    }
    return rc;
}

static int
serve(td_handler *h, const td_static_options *options, td_str path)
{
    const td_str url = h->request->head.path;
    td_filecache *cache = h->app->files;
    td_cached_file *file;
    td_str normal;
    int rc;

    if (memchr(path.ptr, '\0', path.len) != NULL || path.len > PATH_LENGTH_MAX)
        return td_send_error(h, 404, NULL);
    normal = normalise(&h->request->arena, path);
    if (td_str_is_null(normal))
        return td_send_error(h, 403, NULL);
    rc = td_filecache_open(cache, options->root, options->symlinks, normal, &file);
    if (rc == 0 && file->is_directory) {
        td_filecache_done(cache, file);
        if (options->default_filename == NULL)
            return refuse(h, -EISDIR, normal);
        if (url.len == 0 || url.ptr[url.len - 1] != '/')
            return redirect_to_directory(h);
        rc = open_default(h, options, normal, &file);
    }
    if (rc < 0)
        return refuse(h, rc, normal);
    rc = send_file(h, file);
    td_filecache_done(cache, file);
    return rc;
}

int
td_serve_static(td_handler *h, const td_static_options *options_, td_str path)
{
    td_static_options options = {0};

    if (!td_handler_usable(h, "td_serve_static"))
        return TD_EINVAL;
    if (h->finished || h->headers_written)
        return td_handler_misuse(h, "td_serve_static", "the response has begun");
    if (options_ != NULL)
        memcpy(&options, options_,
               options_->size < sizeof(options) ? options_->size : sizeof(options));
    if (options.root == NULL || td_str_is_null(path) || options.symlinks > TD_SYMLINKS_ANYWHERE)
        return td_handler_misuse(h, "td_serve_static", "no root, no path, or no such policy");
    return serve(h, &options, path);
}

static void
get(td_handler *h)
{
    const td_str path = h->match->route->spec.groups_count > 0 ? td_path_argument_at(h, 0)
                                                               : td_str_make(NULL, 0);

    if (td_serve_static(h, td_handler_route(h)->url->initialize_arg, path) == TD_EINVAL &&
        !h->finished)
        td_send_error(h, 500, NULL);
}

const td_handler_class td_static_class = {.name = "StaticFileHandler", .get = get};

/* ---- the settings of an application */

/* What the prefix says, as a pattern; the prefix begins and ends with a slash. */
static const char *
pattern_of(td_arena *arena, const char *prefix)
{
    char *pattern = td_arena_alloc_raw(arena, 2 * strlen(prefix) + sizeof("(.*)")), *at = pattern;

    for (; *prefix != '\0'; prefix++) {
        if (!isalnum((unsigned char)*prefix) && *prefix != '/')
            *at++ = '\\';
        *at++ = *prefix;
    }
    memcpy(at, "(.*)", sizeof("(.*)"));
    return pattern;
}

static int
check(const td_application_settings *settings, td_err *err)
{
    const char *prefix = settings->static_url_prefix;
    const size_t len = strlen(prefix);
    int fd;

    if (len == 0 || prefix[0] != '/' || prefix[len - 1] != '/')
        return td_err_set(err, TD_ECONFIG,
                          "application %s: static_url_prefix '%s' does not begin and end with '/'",
                          settings->name, prefix);
    fd = open(settings->static_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return td_err_errno(err, "application %s: static_path %s", settings->name,
                            settings->static_path);
    close(fd);
    return 0;
}

/* Asked before the handlers of any plugin whose mount is not longer, as in Tornado. */
static td_instance *
make_instance(td_application *app, const td_static_options *options)
{
    td_arena *arena = &app->arena;
    td_handler_settings *section = TD_ARENA_NEW(arena, td_handler_settings);
    td_instance *instance = TD_ARENA_NEW(arena, td_instance);
    td_plugin *plugin = TD_ARENA_NEW(arena, td_plugin);
    td_url *urls = TD_ARENA_ARRAY(arena, td_url, 4);

    *section = *td_handler_settings_default(arena, "static");
    section->order = INT64_MIN;
    urls[0] = (td_url){.pattern = pattern_of(arena, app->settings->static_url_prefix)};
    urls[1] = (td_url){.pattern = "/(favicon\\.ico)"};
    urls[2] = (td_url){.pattern = "/(robots\\.txt)"};
    for (int i = 0; i < 3; i++) {
        urls[i].handler = &td_static_class;
        urls[i].initialize_arg = options;
    }
    plugin->name = "static";
    plugin->urls = urls;
    instance->name = "static";
    instance->file = "static_path";
    instance->plugin = plugin;
    instance->section = section;
    return instance;
}

int
td_static_mount(td_application *app, td_err *err)
{
    const td_application_settings *settings = app->settings;
    td_static_options *options;
    int rc = td_filecache_create(&app->files, (size_t)settings->static_cache,
                                 (size_t)settings->static_cache_memory,
                                 settings->debug ? 0 : settings->static_cache_time_ms, settings->mime_types, err);

    if (rc < 0 || settings->static_path == NULL)
        return rc;
    rc = check(settings, err);
    if (rc < 0)
        return rc;
    options = TD_ARENA_NEW(&app->arena, td_static_options);
    *options = (td_static_options){
        .size = sizeof(*options),
        .root = settings->static_path,
        .default_filename = settings->static_default_filename,
        .symlinks = (td_symlinks)settings->static_symlinks,
    };
    return td_application_mount(app, make_instance(app, options), err);
}
