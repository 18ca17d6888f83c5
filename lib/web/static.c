/*
 * StaticFileHandler: from a path to headers and a file.
 *
 * What is known of the file comes from the application's td_filecache, which sees to it that it
 * lies below the root; how its bytes reach the client is the connection's.  Headers borrow from
 * what the cache gave, for they are written before it is given back.
 */
#include "web/static.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>
#include "base/log.h"
#include "http/accept.h"
#include "http/request.h"
#include "web/byteranges.h"
#include "web/cacherules.h"
#include "web/conditional.h"
#include "web/filecache.h"
#include "web/handler.h"
#include "web/listing.h"

#define PATH_LENGTH_MAX 4095            /* bytes: PATH_MAX without its NUL */
#define VERSIONED_SECONDS 315360000     /* ten years */
#define RANGES_MAX 16                   /* where the options do not say it */

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

bool
td_static_is_normal(td_str path)
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
 * Without empty, "." and ".." segments, as os.path.normpath does it: by the text, whatever links
 * are on the way.  The null string: it begins at "/" or leaves the root.
 */
static td_str
normalise(td_arena *arena, td_str path)
{
    char *text;
    size_t len = 0;

    if (td_static_is_normal(path))
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
 * To the path with a slash at its end, so that relative links in the default file are right.  One
 * that begins with two would lead to another host (CVE-2023-28370).
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

/* A file that is to be sent, and how it was found. */
struct found {
    td_filecache *cache;
    td_cached_file *file; /* NULL: nothing yet */
    td_str path;          /* below the root; of the file itself when a neighbour is sent in its place */
    td_str content_type;
    td_coding coding;
    bool is_negotiated;   /* there are neighbours */
    bool is_fallback;
};

static void
found_fini(struct found *found)
{
    if (found->file != NULL)
        td_filecache_done(found->cache, found->file);
    found->file = NULL;
}

static void
set(td_handler *h, td_str name, td_str value)
{
    td_headers_set(&h->headers, &h->request->arena, name, value);
}

static void
set_cache_control(td_handler *h, const td_static_options *options, const struct found *found)
{
    if (is_versioned(h->request->head.query) && !found->is_fallback) {
        char *expires = td_arena_alloc_raw(&h->request->arena, TD_HTTP_DATE_LEN + 1);

        td_http_date_format(td_clock_cached_wall + VERSIONED_SECONDS, expires);
        set(h, TD_STR("Expires"), td_str_make(expires, TD_HTTP_DATE_LEN));
        set(h, TD_STR("Cache-Control"), TD_STR("max-age=315360000"));
    } else if (options->cache_control != NULL) {
        const td_str value = td_cache_rules_find(td_str_of(options->cache_control), found->path,
                                                 found->content_type);

        if (!td_str_is_null(value))
            set(h, TD_STR("Cache-Control"), value);
    }
}

/* What each file has.  Where they belong in a response that nobody has touched needs no search. */
static void
describe(td_handler *h, const td_cached_file *file, td_str content_type)
{
    const td_header lines[] = {
        {TD_STR("Content-Type"), content_type},
        {TD_STR("Accept-Ranges"), TD_STR("bytes")},
        {TD_STR("Etag"), {file->etag, sizeof(file->etag)}},
        {TD_STR("Last-Modified"), {file->last_modified, TD_HTTP_DATE_LEN}},
    };
    const size_t count = sizeof(lines) / sizeof(lines[0]), last = h->app->default_headers_count - 1;
    td_headers *headers = &h->headers;
    const bool is_untouched = headers->count == last + 1 &&
                              headers->items[last].name.ptr == h->app->default_headers[last].name.ptr;

    if (is_untouched) /* and the last one is Content-Type */
        headers->count = last;
    for (size_t i = 0; i < count; i++) {
        if (is_untouched)
            *td_headers_append(headers, &h->request->arena) = lines[i];
        else
            set(h, lines[i].name, lines[i].value);
    }
}

static void
set_headers(td_handler *h, const td_static_options *options, const struct found *found)
{
    h->has_etag = true;
    describe(h, found->file, found->content_type);
    if (found->coding != TD_CODING_IDENTITY)
        set(h, TD_STR("Content-Encoding"), td_coding_name(found->coding));
    if (found->is_negotiated)
        td_handler_vary(h, TD_STR("Accept-Encoding"));
    if (found->is_fallback)
        td_handler_vary(h, TD_STR("Accept"));
    set_cache_control(h, options, found);
}

static int
send_piece(td_handler *h, const td_cached_file *file, td_byte_range range)
{
    const td_piece piece = {
        .bytes = {file->file == NULL ? file->bytes + range.first : NULL, range.length},
        .file = file->file,
        .offset = range.first,
        .length = range.length,
    };

    return td_response_finish_pieces(h, &piece, 1);
}

static int
send_ranges(td_handler *h, const td_cached_file *file, const td_byte_ranges *ranges)
{
    td_arena *arena = &h->request->arena;

    if (ranges->count == 1) {
        const td_byte_range range = ranges->items[0];

        set(h, TD_STR("Content-Range"),
            td_arena_sprintf(arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                             range.first + range.length - 1, file->size));
        return send_piece(h, file, range);
    }
    const td_str type = td_headers_get(&h->headers, arena, TD_STR("Content-Type"));
    const td_byteranges body = td_byteranges_make(arena, ranges, file, type);

    set(h, TD_STR("Content-Type"), body.content_type);
    return td_response_finish_pieces(h, body.pieces, body.count);
}

static int
send_unsatisfiable(td_handler *h, const td_cached_file *file)
{
    td_headers_remove(&h->headers, TD_STR("Content-Encoding"));
    set(h, TD_STR("Content-Type"), TD_STR("text/plain"));
    set(h, TD_STR("Content-Range"),
        td_arena_sprintf(&h->request->arena, "bytes */%" PRIu64, file->size));
    return send_piece(h, file, (td_byte_range){0, 0});
}

static void
tell_of_ranges(td_handler *h, size_t ranges_max)
{
    static td_log_gate gate;

    td_log_gated(&gate, TD_LOG_INFO, td_handler_route(h)->instance->name,
                 "more than static_max_ranges (%zu) ranges of %.*s: it was sent whole", ranges_max,
                 TD_STR_FMT(h->request->head.path));
}

/* ---- what is the same for whoever asks for it so */

static void get(td_handler *h);

/*
 * The answer depends on nothing but the file and the head that asks for it, and nobody else's code
 * has a say in it.
 */
static bool
is_for_all(const td_handler *h, const td_static_options *options, const struct found *found)
{
    const td_route *route = td_handler_route(h);
    const td_handler_class *class = route->class;

    return found->file->bytes != NULL && found->coding == TD_CODING_IDENTITY &&
           !found->is_negotiated && !found->is_fallback && options == route->initialize_arg &&
           options->set_extra_headers == NULL && class->get == get && class->prepare == NULL &&
           class->set_default_headers == NULL && class->initialize == NULL &&
           class->on_finish == NULL && route->chain == NULL && !route->checks_xsrf &&
           !route->wants_user && h->request->head.method == TD_METHOD_GET &&
           h->app->compression == NULL && h->filters == NULL && h->on_head == NULL &&
           h->visitor == NULL && h->wait == NULL && h->match->vary.len == 0 &&
           !is_versioned(h->request->head.query) && !td_is_conditional(&h->request->head.headers);
}

/* The next time that this head comes on its connection, td_static_repeat is enough. */
static void
prepare(td_handler *h, const td_static_options *options, td_cached_file *file)
{
    td_request *request = h->request;
    td_route_match *match = request->route_data;

    if (file->prepared_for == NULL &&
        request->writer->prepare(request, &file->prepared, &h->headers))
        file->prepared_for = options;
    if (file->prepared_for == options) {
        match->is_due = true;
        match->file = file;
        match->file_era = td_filecache_era(h->app->files);
    }
}

void
td_static_repeat(td_application *app, td_request *request)
{
    td_route_match *match = request->route_data;

    if (td_filecache_again(app->files, match->file, match->file_era)) {
        request->writer->send_prepared(request, &match->file->prepared);
        return;
    }
    match->file = NULL;
    match->is_due = false;
}

static int
send_found(td_handler *h, const td_static_options *options, const struct found *found)
{
    const td_cached_file *file = found->file;
    const td_validators validators = {
        .etag = {file->etag, sizeof(file->etag)},
        .modified = file->modified,
        .size = file->size,
    };
    const size_t ranges_max = options->max_ranges > 0 ? options->max_ranges : RANGES_MAX;
    td_byte_ranges ranges;
    int status = td_conditional_status(h->request, &validators, ranges_max, &ranges);

    if (status == 206 && h->filters != NULL)
        status = 200; /* pieces of what transforms make of it are not known */
    if (status == 412)
        return td_send_error(h, status, NULL);
    if (ranges.too_many)
        tell_of_ranges(h, ranges_max);
    h->status = status;
    h->reason = td_str_make(NULL, 0);
    set_headers(h, options, found);
    if (options->set_extra_headers != NULL) {
        options->set_extra_headers(h, found->path);
        if (h->finished || h->headers_written)
            return h->closed ? TD_ECLOSED : 0;
    }
    if (status == 206)
        return send_ranges(h, file, &ranges);
    if (status == 416)
        return send_unsatisfiable(h, file);
    if (status == 200 && is_for_all(h, options, found))
        prepare(h, options, found->file);
    return send_piece(h, file, (td_byte_range){0, file->size});
}

/* ---- which file it is */

static int
open_path(struct found *found, const td_static_options *options, td_str path)
{
    int rc;

    found_fini(found);
    found->path = path;
    rc = td_filecache_open(found->cache, options->root, options->symlinks, path, &found->file);
    if (rc == 0)
        found->content_type = found->file->content_type;
    return rc;
}

/*
 * The first default file that is there of the directory at path, which ends the URL with a slash.
 */
static int
open_default(td_handler *h, struct found *found, const td_static_options *options, td_str path)
{
    td_str names = td_str_of(options->default_filename), name;
    int rc = -EISDIR;

    while (td_list_next(&names, &name)) {
        rc = open_path(found, options,
                       td_arena_sprintf(&h->request->arena, "%.*s%s%.*s", TD_STR_FMT(path),
                                        path.len > 0 ? "/" : "", TD_STR_FMT(name)));
        if (rc == 0 && found->file->is_directory)
            rc = -EISDIR;
        if (status_of(rc) != 404)
            return rc;
    }
    return rc;
}

/* Who asks for a page gets the one that knows what to do; who asks for a script does not. */
static bool
wants_fallback(td_handler *h, const td_static_options *options, int rc)
{
    if (options->fallback == NULL || (rc != -EISDIR && status_of(rc) != 404))
        return false;
    return td_accept_names(
        td_headers_get(&h->request->head.headers, &h->request->arena, TD_STR("Accept")),
        TD_STR("text/html"));
}

static int
open_fallback(struct found *found, const td_static_options *options)
{
    const int rc = open_path(found, options, td_str_of(options->fallback));

    found->is_fallback = true;
    return rc == 0 && found->file->is_directory ? -ENOENT : rc;
}

/* A neighbour that the client likes better takes the place of the file. */
static void
choose_coding(td_handler *h, struct found *found, const td_static_options *options)
{
    td_arena *arena = &h->request->arena;
    const unsigned offered = td_filecache_codings(found->file);
    td_cached_file *coded;
    td_coding coding;

    if (offered == 0)
        return;
    found->is_negotiated = true;
    coding = td_accept_coding(
        td_headers_get(&h->request->head.headers, arena, TD_STR("Accept-Encoding")), offered);
    if (coding == TD_CODING_IDENTITY ||
        td_filecache_open(found->cache, options->root, options->symlinks,
                          td_arena_sprintf(arena, "%.*s%.*s", TD_STR_FMT(found->path),
                                           TD_STR_FMT(td_filecache_suffix(coding))),
                          &coded) < 0)
        return;
    td_filecache_done(found->cache, coded->is_directory ? coded : found->file);
    if (coded->is_directory) /* since a moment ago */
        return;
    found->file = coded;
    found->coding = coding;
}

static int
serve(td_handler *h, const td_static_options *options, td_str path)
{
    const td_str url = h->request->head.path;
    struct found found __attribute__((cleanup(found_fini))) = {
        .cache = h->app->files,
        .coding = TD_CODING_IDENTITY,
    };
    td_str normal;
    int rc;

    if (memchr(path.ptr, '\0', path.len) != NULL || path.len > PATH_LENGTH_MAX)
        return td_send_error(h, 404, NULL);
    normal = normalise(&h->request->arena, path);
    if (td_str_is_null(normal))
        return td_send_error(h, 403, NULL);
    rc = open_path(&found, options, normal);
    if (rc == 0 && found.file->is_directory) {
        if ((options->default_filename != NULL || options->listing) &&
            (url.len == 0 || url.ptr[url.len - 1] != '/'))
            return redirect_to_directory(h);
        rc = open_default(h, &found, options, normal);
        if (options->listing && (rc == -EISDIR || rc == -ENOENT))
            return td_listing_send(h, options, normal);
    }
    if (rc < 0 && wants_fallback(h, options, rc))
        rc = open_fallback(&found, options);
    if (rc < 0)
        return refuse(h, rc, normal);
    if (options->precompressed)
        choose_coding(h, &found, options);
    return send_found(h, options, &found);
}

/* Those of a handler that was compiled against an older header have fewer fields. */
static const td_static_options *
complete(td_handler *h, const td_static_options *options)
{
    td_static_options *all;

    if (options != NULL && options->size >= sizeof(*options))
        return options;
    all = TD_ARENA_NEW(&h->request->arena, td_static_options);
    if (options != NULL)
        memcpy(all, options, options->size);
    return all;
}

int
td_serve_static(td_handler *h, const td_static_options *options_, td_str path)
{
    const td_static_options *options;

    if (!td_handler_usable(h, "td_serve_static"))
        return TD_EINVAL;
    if (h->finished || h->headers_written)
        return td_handler_misuse(h, "td_serve_static", "the response has begun");
    if (td_response_check_ending(h, "td_serve_static") < 0)
        return TD_EINVAL;
    options = complete(h, options_);
    if (options->root == NULL || td_str_is_null(path) || options->symlinks > TD_SYMLINKS_ANYWHERE)
        return td_handler_misuse(h, "td_serve_static", "no root, no path, or no such policy");
    if (options->fallback != NULL && !td_static_is_normal(td_str_of(options->fallback)))
        return td_handler_misuse(h, "td_serve_static", "fallback is no path below the root");
    if (options->max_ranges > TD_RANGES_MAX || options->listing_max > TD_LISTING_MAX)
        return td_handler_misuse(h, "td_serve_static", "max_ranges or listing_max is too large");
    return serve(h, options, path);
}

static void
get(td_handler *h)
{
    const td_str path = h->match->route->spec.groups_count > 0 ? td_path_argument_at(h, 0)
                                                               : td_str_make(NULL, 0);

    if (td_serve_static(h, td_handler_route(h)->initialize_arg, path) == TD_EINVAL &&
        !h->finished)
        td_send_error(h, 500, NULL);
}

const td_handler_class td_static_class = {.name = "StaticFileHandler", .get = get};

/* ---- load */

/* The loader copies classes, so it is by their functions that ours are known. */
int
td_static_prepare(td_route *route, td_err *err)
{
    const td_static_options *given = route->initialize_arg;
    td_static_options options = {0};

    if (route->class->get != get)
        return 0;
    if (given != NULL)
        memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
    if (options.root == NULL || options.root[0] != '/')
        return td_err_set(err, TD_EPLUGIN, "its initialize_arg is no TD_STATIC(.root = \"/...\")");
    if (route->spec.groups_count == 0)
        return td_err_set(err, TD_EPLUGIN,
                          "no group says which file is meant, as in \"/files/(.*)\"");
    if (options.cache_control != NULL)
        return td_cache_rules_check(td_str_of(options.cache_control), err);
    return 0;
}

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
check_default_filename(const td_application_settings *settings, td_err *err)
{
    td_str names = td_str_of(settings->static_default_filename), name;

    while (td_list_next(&names, &name)) {
        if (!td_static_is_normal(name))
            return td_err_set(err, TD_ECONFIG,
                              "application %s: static_default_filename '%.*s' is no path below a "
                              "directory",
                              settings->name, TD_STR_FMT(name));
    }
    return 0;
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
    if (strpbrk(prefix, "?# \t") != NULL)
        return td_err_set(err, TD_ECONFIG,
                          "application %s: static_url_prefix '%s' has what no path of a request has: "
                          "a space is %%20",
                          settings->name, prefix);
    fd = open(settings->static_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return td_err_errno(err, "application %s: static_path %s", settings->name,
                            settings->static_path);
    close(fd);
    if (settings->static_fallback != NULL &&
        !td_static_is_normal(td_str_of(settings->static_fallback)))
        return td_err_set(err, TD_ECONFIG,
                          "application %s: static_fallback '%s' is no path below static_path",
                          settings->name, settings->static_fallback);
    if (settings->static_cache_control != NULL &&
        td_cache_rules_check(td_str_of(settings->static_cache_control), err) < 0)
        return td_err_prefix(err, "application %s: static_cache_control", settings->name);
    return check_default_filename(settings, err);
}

/*
 * Asked before the handlers of any plugin whose mount is not longer, as in Tornado; but after all
 * of them when the prefix is "/", which would leave nothing to them.
 */
static td_instance *
make_instance(td_application *app, const td_static_options *options,
              const td_static_options *well_known)
{
    const char *prefix = app->settings->static_url_prefix;
    const bool is_root = strcmp(prefix, "/") == 0;
    td_arena *arena = &app->arena;
    td_handler_settings *section = TD_ARENA_NEW(arena, td_handler_settings);
    td_instance *instance = TD_ARENA_NEW(arena, td_instance);
    td_plugin *plugin = TD_ARENA_NEW(arena, td_plugin);
    td_url *urls = TD_ARENA_ARRAY(arena, td_url, 4);

    *section = *td_handler_settings_default(arena, "static");
    section->order = is_root ? INT64_MAX : INT64_MIN;
    urls[0] = (td_url)TD_URL(pattern_of(arena, prefix), &td_static_class, .initialize_arg = options);
    if (!is_root) { /* else they are below it */
        urls[1] = (td_url)TD_URL("/(favicon\\.ico)", &td_static_class, .initialize_arg = well_known);
        urls[2] = (td_url)TD_URL("/(robots\\.txt)", &td_static_class, .initialize_arg = well_known);
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
    td_static_options *options, *well_known;
    int rc = td_filecache_create(&app->files, (size_t)settings->static_cache,
                                 (size_t)settings->static_cache_memory,
                                 settings->debug ? 0 : settings->static_cache_time_ms, settings->mime_types, err);

    if (rc < 0)
        return td_err_prefix(err, "application %s: mime_types", settings->name);
    rc = settings->static_path != NULL ? check(settings, err) : 0;
    if (rc < 0 || settings->static_path == NULL)
        return rc;
    options = TD_ARENA_NEW(&app->arena, td_static_options);
    *options = (td_static_options){
        .size = sizeof(*options),
        .root = settings->static_path,
        .default_filename = settings->static_default_filename,
        .symlinks = (td_symlinks)settings->static_symlinks,
        .precompressed = settings->static_precompressed,
        .listing = settings->static_listing,
        .listing_max = (unsigned)settings->static_listing_max,
        .max_ranges = (unsigned)settings->static_max_ranges,
        .fallback = settings->static_fallback,
        .cache_control = settings->static_cache_control,
    };
    well_known = TD_ARENA_NEW(&app->arena, td_static_options);
    *well_known = *options;
    well_known->fallback = NULL; /* a page is no icon */
    return td_application_mount(app, make_instance(app, options, well_known), err);
}
