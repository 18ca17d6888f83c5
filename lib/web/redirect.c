/*
 * Answers that lead elsewhere.
 *
 * What a client sends may become part of a path or a query but never of a host: a path that begins
 * with two slashes is one to a browser, and so is what stands behind "https://" up to the next
 * slash.
 */
#include "web/redirect.h"

#include <tornado/redirect.h>
#include "base/buf.h"
#include "base/escape.h"
#include "web/handler.h"

/* ---- slashes */

/* A browser takes "//host" and "/\host" for another site (CVE-2023-28370). */
static bool
leads_to_a_host(td_str path)
{
    return path.len > 1 && path.ptr[0] == '/' && (path.ptr[1] == '/' || path.ptr[1] == '\\');
}

/* The path as the flags of the class want it; the same one where it is as it should be. */
static td_str
with_or_without_slash(td_handler *h)
{
    td_str path = h->request->head.path;
    size_t len = path.len;

    while (len > 0 && path.ptr[len - 1] == '/')
        len--;
    if (td_handler_route(h)->class->flags & TD_REMOVE_SLASH)
        return len > 0 ? td_str_make(path.ptr, len) : path;
    return len == path.len ? td_arena_sprintf(&h->request->arena, "%.*s/", TD_STR_FMT(path)) : path;
}

static td_str
with_query(td_handler *h, td_str path)
{
    const td_str query = h->request->head.query;

    return td_arena_sprintf(&h->request->arena, "%.*s%s%.*s", TD_STR_FMT(path),
                            query.len > 0 ? "?" : "", TD_STR_FMT(query));
}

static bool
is_get_or_head(const td_handler *h)
{
    return h->request->head.method == TD_METHOD_GET || h->request->head.method == TD_METHOD_HEAD;
}

void
td_redirect_by_slash(td_handler *h)
{
    const td_str path = h->request->head.path, wanted = with_or_without_slash(h);

    if (wanted.len == path.len)
        td_class_method(td_handler_route(h)->class, h->request->head.method)(h);
    else if (!is_get_or_head(h) || leads_to_a_host(path))
        td_send_error(h, 404, NULL);
    else
        td_redirect(h, with_query(h, wanted).ptr, true);
}

/* ---- default_host */

void
td_redirect_to_default_host(td_handler *h)
{
    const td_str url = td_arena_sprintf(&h->request->arena, "%s://%s%.*s",
                                        td_request_protocol(h->request),
                                        h->app->settings->default_host,
                                        TD_STR_FMT(h->request->head.path));

    td_redirect(h, with_query(h, url).ptr, true);
}

/* ---- td_redirect_class */

/*
 * "https://host" of an absolute URL, "//host" of one without a scheme; empty for a path.  A '{'
 * ends it.
 */
static td_str
host_part(td_str url)
{
    size_t len = 0;

    while (len < url.len && strchr(":/?#{", url.ptr[len]) == NULL)
        len++;
    if (len > 0 && len < url.len && url.ptr[len] == ':')
        len++;
    else
        len = 0; /* no scheme */
    if (url.len < len + 2 || url.ptr[len] != '/' || url.ptr[len + 1] != '/')
        return td_str_make(url.ptr, 0);
    for (len += 2; len < url.len && strchr("/\\?#{", url.ptr[len]) == NULL; len++)
        ;
    return td_str_make(url.ptr, len);
}

/* Of "0" or of a name; -1: there is no such group. */
static int
group_of(const td_urlspec *spec, td_str word)
{
    int index = 0;

    for (unsigned i = 0; spec->names != NULL && i < spec->groups_count; i++)
        if (td_str_equal(word, td_str_of(spec->names[i])))
            return (int)i;
    if (word.len == 0 || word.len > 3)
        return -1;
    for (size_t i = 0; i < word.len; i++) {
        if (!td_byte_is(word.ptr[i], TD_BYTE_DIGIT))
            return -1;
        index = index * 10 + (word.ptr[i] - '0');
    }
    return index < (int)spec->groups_count ? index : -1;
}

/*
 * One step through a template: text that stands for itself, or *group_out >= 0.  False: there is
 * nothing that a '{' or '}' could mean here.
 */
static bool
next_piece(const td_urlspec *spec, td_str *rest, td_str *text_out, int *group_out)
{
    const char *const p = rest->ptr, *const end = p + rest->len, *close;
    size_t len = 1;

    *group_out = -1;
    if (*p != '{' && *p != '}') {
        while (p + len < end && p[len] != '{' && p[len] != '}')
            len++;
        *text_out = td_str_make(p, len);
    } else if (rest->len > 1 && p[1] == *p) {
        *text_out = td_str_make(p, 1);
        len = 2;
    } else {
        close = *p == '{' ? memchr(p, '}', rest->len) : NULL;
        if (close == NULL)
            return false;
        *group_out = group_of(spec, td_str_make(p + 1, (size_t)(close - p - 1)));
        len = (size_t)(close + 1 - p);
        if (*group_out < 0)
            return false;
    }
    *rest = td_str_make(p + len, rest->len - len);
    return true;
}

/* The template was walked through at load. */
static td_str
expand(td_handler *h, const char *template)
{
    td_arena *arena = &h->request->arena;
    td_str rest = td_str_of(template), text, url;
    td_buf out = {0};
    int group;

    while (rest.len > 0 && next_piece(&td_handler_route(h)->spec, &rest, &text, &group)) {
        if (group >= 0)
            text = td_url_escape(arena, h->match->args[group], "/");
        td_buf_append(&out, text);
    }
    url = td_str_dup(arena, td_buf_str(&out));
    td_buf_release(&out);
    return url;
}

/* In front of a fragment, behind a query that is there. */
static td_str
append_query(td_handler *h, td_str url)
{
    const td_str query = h->request->head.query;
    const char *hash = memchr(url.ptr, '#', url.len);
    const size_t len = hash != NULL ? (size_t)(hash - url.ptr) : url.len;
    const char *mark = memchr(url.ptr, '?', len);

    if (query.len == 0)
        return url;
    return td_arena_sprintf(&h->request->arena, "%.*s%s%.*s%.*s", (int)len, url.ptr,
                            mark == NULL                  ? "?"
                            : mark == url.ptr + len - 1 ? ""
                                                          : "&",
                            TD_STR_FMT(query), (int)(url.len - len), url.ptr + len);
}

static td_redirect_options
redirect_options(const td_route *route)
{
    const td_redirect_options *given = route->initialize_arg;
    td_redirect_options options = {0};

    if (given != NULL)
        memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
    return options;
}

static void
redirect(td_handler *h)
{
    const td_redirect_options options = redirect_options(td_handler_route(h));
    const bool is_all = td_handler_route(h)->class->post != NULL;
    const int status = options.status != 0 ? options.status : is_all ? 308 : 301;
    const td_str url = expand(h, options.url);

    if (!td_str_equal(host_part(url), host_part(td_str_of(options.url))))
        td_send_error(h, 404, "a redirect to '%.*s' would leave %s",
                      url.len < 256 ? (int)url.len : 256, url.ptr, options.url);
    else
        td_redirect_status(h, append_query(h, url).ptr, status);
}

static int
prepare_redirect(td_route *route, td_err *err)
{
    const td_redirect_options options = redirect_options(route);
    const bool is_all = route->class->post != NULL;
    td_str rest = td_str_of(options.url), text;
    int group;

    if (options.url == NULL || options.url[0] == '\0' || !td_is_field_value(rest))
        return td_err_set(err, TD_EPLUGIN, "its initialize_arg is no TD_REDIRECT(.url = ...)");
    while (rest.len > 0)
        if (!next_piece(&route->spec, &rest, &text, &group))
            return td_err_set(err, TD_EPLUGIN, "url '%s': no group of the pattern fits '%.*s'",
                              options.url, TD_STR_FMT(rest));
    switch (options.status) {
    case 0:
    case 303:
    case 307:
    case 308:
        return 0;
    case 301:
    case 302:
        if (!is_all)
            return 0;
    }
    return td_err_set(err, TD_EPLUGIN, "status %d cannot redirect %s", options.status,
                      is_all ? "every method" : "anything");
}

const td_handler_class td_redirect_class = {.name = "RedirectHandler", .get = redirect};

const td_handler_class td_redirect_all_class = {
    .name = "RedirectHandler",
    .get = redirect,
    .post = redirect,
    .put = redirect,
    .delete_ = redirect,
    .patch = redirect,
    .flags = TD_SKIP_XSRF,
};

/* ---- td_error_class */

/* Never called: the head alone decides (td_route.refusal).  It tells the class from others. */
static void
refuse(td_handler *h)
{
    td_send_error(h, td_handler_route(h)->refusal, NULL);
}

static int
prepare_error(td_route *route, td_err *err)
{
    const td_error_options *options = route->initialize_arg;

    if (options == NULL || options->size < sizeof(*options) || options->status < 400 ||
        options->status > 599)
        return td_err_set(err, TD_EPLUGIN,
                          "its initialize_arg is no TD_ERROR(.status = 400 to 599)");
    memset(route->methods, 0, sizeof(route->methods)); /* not even after refuse as its prepare */
    route->refusal = options->status;
    return 0;
}

const td_handler_class td_error_class = {
    .name = "ErrorHandler", .prepare = refuse, .flags = TD_NO_AUTO_OPTIONS};

/* ---- load */

/* The loader copies classes, so it is by their functions that ours are known. */
int
td_redirect_prepare(td_route *route, td_err *err)
{
    if (route->class->get == redirect)
        return prepare_redirect(route, err);
    if (route->class->prepare == refuse)
        return prepare_error(route, err);
    return 0;
}
