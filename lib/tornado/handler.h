/*
 * The handler: one request, from its head to its answer (Tornado's RequestHandler).
 *
 * A method is straight-line C on a coroutine of its own; returning finishes the response.  Every
 * td_str that comes from a getter lives as long as the request and has a NUL behind its last byte.
 * "Raises N" says that the call may leave the handler with an error page of status N and not
 * return.
 *
 * Functions take the td_handler of the method that is running, on the loop's thread.  Misuse (NULL,
 * a second finish, a header after the first flush) returns TD_EINVAL, sends nothing and logs one
 * line with the handler's name.
 */
#ifndef TORNADO_HANDLER_H
#define TORNADO_HANDLER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdarg.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/str.h>

typedef struct td_handler td_handler;
typedef void td_method_fn(td_handler *h);

/* td_handler_class.flags */
#define TD_CANCEL_ON_CLOSE 1u /* unwind the handler at its wait when the client leaves */
#define TD_CHECK_XSRF 2u      /* check XSRF tokens, whatever xsrf_cookies says (auth.h) */
#define TD_SKIP_XSRF 4u       /* do not: clients here are no browsers, or have other tokens */
#define TD_AUTHENTICATED 8u   /* without a user: GET and HEAD to a login page, others 403 (auth.h) */
#define TD_STREAM_BODY 16u    /* begin when the head is there, and read the body while it comes */
#define TD_REMOVE_SLASH 256u  /* a path that ends in one: see below */
#define TD_ADD_SLASH 512u     /* a path that does not */
#define TD_NO_AUTO_HEAD 1024u    /* HEAD is 405 without a head of its own */
#define TD_NO_AUTO_OPTIONS 2048u /* OPTIONS is 405 without an options of its own */
#define TD_ANY_METHOD 4096u /* prepare answers methods that there is no entry for, PROPFIND, too; not
                               where the td_url has a list of methods */

/*
 * TD_REMOVE_SLASH and TD_ADD_SLASH (Tornado's removeslash and addslash): the methods are called for
 * paths of one kind only, GET and HEAD of the other kind are sent there (301, the query kept), what
 * else comes there is 404.  The pattern has to match both, as in "/list/?".  A path that begins
 * with two slashes is 404, for a browser would take it for another host; "/" is left alone.
 */

/*
 * What to do for each method; NULL: 405, after prepare, which may answer in its place; except HEAD,
 * which get serves then without its body, and OPTIONS, which is answered 204 with Allow.  Order:
 * set_default_headers, initialize, prepare, the method, on_finish; with TD_STREAM_BODY all of it begins before the body
 * has come, see td_read_body.
 */
typedef struct td_handler_class {
    td_method_fn *get TD_ZERO, *head TD_ZERO, *post TD_ZERO, *put TD_ZERO, *delete_ TD_ZERO,
        *patch TD_ZERO, *options TD_ZERO;
    void (*initialize)(td_handler *h, const void *arg) TD_ZERO; /* arg: td_url.initialize_arg */
    td_method_fn *prepare TD_ZERO;   /* before any method; finishing here skips it */
    td_method_fn *on_finish TD_ZERO; /* once, after the response, also when the client has left */
    td_method_fn *on_connection_close TD_ZERO; /* once, promptly, if the client leaves before the end */
    void (*write_error)(td_handler *h, int status) TD_ZERO; /* the body of an error page; NULL: ours */
    uint32_t flags TD_ZERO;
    const char *name TD_ZERO;            /* for the log; NULL: plugin and route */
    int64_t max_body_size TD_ZERO;       /* bytes; 0: the mount's */
    int64_t request_timeout_ms TD_ZERO;  /* 0: the mount's; -1: none */
    void *(*get_current_user)(td_handler *h) TD_ZERO; /* for td_current_user; NULL: the plugin's */
    void (*compute_etag)(td_handler *h, td_str body) TD_ZERO; /* td_set_etag, when a response of GET
                                 that has no Etag ends; NULL: that of its bytes */
    void (*data_received)(td_handler *h, td_str data) TD_ZERO; /* see td_read_body */
    td_method_fn *set_default_headers TD_ZERO; /* what every response has: called before initialize,
                                 and anew for an error page, before write_error, and by td_clear */
    const char *(*get_login_url)(td_handler *h) TD_ZERO; /* of TD_AUTHENTICATED, called when there is
                                 no user; NULL, or it returns NULL: that of the setting login_url */
} td_handler_class;

/* ---- the request */

TD_API td_str td_request_method(td_handler *h);  /* "GET" */
TD_API td_str td_request_uri(td_handler *h);     /* target as sent: "/a%20b?c=d" */
TD_API td_str td_request_path(td_handler *h);    /* "/a%20b" */
TD_API td_str td_request_query(td_handler *h);   /* "c=d", empty without one */
TD_API td_str td_request_version(td_handler *h); /* "HTTP/1.1" */
TD_API td_str td_request_host(td_handler *h);    /* "example.org:8888" */
TD_API td_str td_request_host_name(td_handler *h); /* lower case, without the port */

/*
 * Tornado's remote_ip: "127.0.0.1", "::1", "unix:"; and protocol: "http" or "https".  Of the
 * connection, or, where the listener trusts its peer (the settings trusted_downstream, xheaders and
 * proxy_protocol), of the client that the proxy names.  The host is the request's own in any case.
 */
TD_API td_str td_request_remote_addr(td_handler *h);
TD_API td_str td_request_scheme(td_handler *h);

TD_API td_str td_request_body(td_handler *h);    /* all of it, read-only; empty without one, or streamed */
TD_API td_str td_full_url(td_handler *h);        /* "http://example.org:8888/a%20b?c=d" */
TD_API double td_request_time(td_handler *h);    /* seconds since the head was complete */

/*
 * The value of a request header, lines of the same name joined with ", "; the null string: none.
 * Host is that of the target where that names one ("GET http://example.org/a").
 */
TD_API td_str td_request_header(td_handler *h, const char *name);

/* All lines of the request's head, in their order.  Returns how many there are. */
typedef struct td_header_line { /* its size is part of the ABI */
    const char *name, *value;
} td_header_line;

TD_API size_t td_request_headers(td_handler *h, const td_header_line **lines_out);

/*
 * Which of the media types the client likes best (Accept with its qualities; RFC 9110 section
 * 12.5.1), of those that it likes equally the first.  NULL: none of them, for which there is 406,
 * or the one that most understand.  Parameters are not compared, so a type may be given as
 * Content-Type wants it:
 *
 *     const char *type = td_best_type(h, "application/json", "text/html; charset=UTF-8");
 *
 * The answer depends on Accept then, so Vary says so, unless the headers were sent.
 */
TD_API const char *td_best_type_of(td_handler *h, const char *const types[], size_t count);

#ifndef __cplusplus
#define td_best_type(h, ...)                                                                       \
    td_best_type_of(h, (const char *const[]){__VA_ARGS__},                                         \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
#else
extern "C++" {
template <class... Types> inline const char *td_best_type(td_handler *h, const Types &...types)
{
    const char *const all[] = {types...};

    return td_best_type_of(h, all, sizeof...(types));
}
}
#endif

/*
 * Which of the languages that there are the client likes best (Accept-Language with its qualities;
 * RFC 9110 section 12.5.4, RFC 4647), of those that it likes equally the first, and the first, too,
 * when it likes none of them: a page in another language helps more than none.  Tornado's
 * get_browser_locale.
 *
 *     const char *language = td_best_language(h, "en", "fr", "pt-BR");
 *
 *     td_set_header(h, "Content-Language", language);
 *
 * "fr" is for who asks for fr-CH as well, after what is for that alone, and "pt-BR" is for who asks
 * for pt.  Vary says Accept-Language then, unless the headers were sent.  NULL only for misuse: no
 * languages.
 */
TD_API const char *td_best_language_of(td_handler *h, const char *const languages[], size_t count);

#ifndef __cplusplus
#define td_best_language(h, ...)                                                                   \
    td_best_language_of(h, (const char *const[]){__VA_ARGS__},                                     \
                        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
#else
extern "C++" {
template <class... Tags> inline const char *td_best_language(td_handler *h, const Tags &...tags)
{
    const char *const all[] = {tags...};

    return td_best_language_of(h, all, sizeof...(tags));
}
}
#endif

/* ---- bodies that are read while they come: classes with TD_STREAM_BODY
 *
 * The body of any size takes no more than 128 KiB of memory: what is not read stays with the
 * client.  There are two ways:
 *
 *   the class has data_received   it is called with each piece after prepare, then the method
 *   it has not                    the method, called right after prepare, calls td_read_body
 *
 * Either may wait, and nothing more is read meanwhile.  The client's "Expect: 100-continue" is
 * answered when the body is first asked for; a response that ends before it was read leaves the
 * rest of it unread and in general closes the connection.  A client that leaves in between is
 * noticed where the body is read.  The body has no arguments here: not for td_get_argument, not for
 * td_get_body_argument, not for XSRF tokens, which have to come in a header or the query.
 *
 * A client that sends more slowly than body_min_rate is answered 408; time that the handler takes
 * between two pieces does not count for that.  It counts for request_timeout, which starts anew
 * with each piece and stands still while one is waited for.
 */

/*
 * The next bytes of the body, at most 64 KiB, valid until the next call.  Waits until some are
 * there.  Returns how many (data_out->len), 0 at the end and ever after, or TD_ECLOSED when the
 * client has gone, or was refused because its message was broken or too large.  One coroutine at a
 * time.  The first call raises 413 when the length told is above max_body_size.
 */
TD_API int td_read_body(td_handler *h, td_str *data_out);

/*
 * In place of max_body_size, and of no time-out for the whole, for this request alone; before the
 * body is read, so in prepare or before the first td_read_body.  Size in bytes; duration from now
 * on (0: none), after which the handler is cancelled and the client answered 408.
 */
TD_API int td_set_max_body_size(td_handler *h, int64_t size);
TD_API int td_set_body_timeout(td_handler *h, int64_t duration_ms);

/* ---- arguments */

/* A group of the route's pattern, percent-decoded; the null string where it did not match. */
TD_API td_str td_path_argument(td_handler *h, const char *name);
TD_API td_str td_path_argument_at(td_handler *h, unsigned index); /* positional or named, from 0 */

/* As a number.  One that is none, is out of min..max or did not match raises 404. */
TD_API int64_t td_path_argument_int(td_handler *h, const char *name, int64_t min, int64_t max);

/*
 * The last value of that name in the query and in a form (urlencoded or multipart) in the body,
 * where a form comes after the query; stripped of white space at both ends, control bytes replaced
 * by spaces.  Those without a default raise 400 "Missing argument NAME" when it is not there;
 * invalid UTF-8 raises 400 in all of them; more arguments than max_fields raise 413.
 *
 * A form that is broken is answered 400 before prepare.  See <tornado/forms.h> for numbers and
 * files.
 */
TD_API td_str td_get_argument(td_handler *h, const char *name);
TD_API td_str td_get_argument_default(td_handler *h, const char *name, const char *default_value);
TD_API td_str td_get_query_argument(td_handler *h, const char *name);
TD_API td_str td_get_query_argument_default(td_handler *h, const char *name,
                                            const char *default_value);
TD_API td_str td_get_body_argument(td_handler *h, const char *name);
TD_API td_str td_get_body_argument_default(td_handler *h, const char *name,
                                           const char *default_value);

/* All values in order.  Returns how many there are; *values_out has that many. */
TD_API size_t td_get_arguments(td_handler *h, const char *name, const td_str **values_out);
TD_API size_t td_get_query_arguments(td_handler *h, const char *name, const td_str **values_out);
TD_API size_t td_get_body_arguments(td_handler *h, const char *name, const td_str **values_out);

/*
 * As those with a default, but white space at both ends belongs to the value (Tornado's
 * strip=False): for passwords, and for texts that come back as they were typed.
 */
TD_API td_str td_get_argument_unstripped(td_handler *h, const char *name,
                                         const char *default_value);
TD_API td_str td_get_query_argument_unstripped(td_handler *h, const char *name,
                                               const char *default_value);
TD_API td_str td_get_body_argument_unstripped(td_handler *h, const char *name,
                                              const char *default_value);

/*
 * All arguments in their order, the query's first: what their names are, whatever they are.  Names
 * and values are the bytes that the client means: '+' and %XX are decoded, but nothing is stripped
 * or replaced, and it need not be UTF-8.  Files are not among them.  Returns how many there are;
 * raises 413 for more than max_fields.
 */
typedef struct td_argument_pair { /* its size is part of the ABI */
    td_str name, value;
    bool from_body TD_ZERO; /* else the query's */
} td_argument_pair;

TD_API size_t td_request_arguments(td_handler *h, const td_argument_pair **pairs_out);

/* ---- the response */

/*
 * 200..999; reason NULL: the registered one.  After the first flush: TD_EINVAL.  204, 205 and 304 have
 * no body: what is written is dropped.
 */
TD_API int td_set_status(td_handler *h, int status, const char *reason);

/*
 * As it is now; once the response has ended, what the client was told (413, say, by a streamed
 * body).
 */
TD_API int td_get_status(td_handler *h);

/*
 * Replace, append, remove.  Name: a token; value: no control bytes but HTAB; else TD_EINVAL.  Both
 * are copied.  Default headers are Server, Content-Type: text/html; charset=UTF-8, and Date.  Date
 * and Transfer-Encoding are the connection's own (TD_EINVAL); Connection: close is obeyed.
 * Content-Length has to be what is then written: else the connection closes.
 */
TD_API int td_set_header(td_handler *h, const char *name, const char *value);
TD_API int td_add_header(td_handler *h, const char *name, const char *value);
TD_API int td_clear_header(td_handler *h, const char *name);

/*
 * Add to the body.  Never waits.  Raises 500 when more than max_response_buffer is waiting to be
 * flushed, and 503 when all responses of the worker have used up the setting memory; returns
 * TD_ECLOSED when the client has gone.  Nothing is escaped: see <tornado/escape.h>.
 */
TD_API int td_write(td_handler *h, td_str bytes);
TD_API int td_write_text(td_handler *h, const char *text);
TD_API int td_writef(td_handler *h, const char *format, ...) TD_PRINTF(2, 3);

/*
 * Write one JSON object and set Content-Type: application/json; charset=UTF-8.  Pairs of a key and
 * a typed value: td_write_json(h, TD_JSON("name", "jack"), TD_JSON("age", 7));  C11 and C++.
 * Written as Python's json.dumps does; strings (UTF-8) are escaped, "</" is written as "<\/"; NULL,
 * the null string, NaN and infinities become null.  Integers are int64_t.  In C `true` and `n > 0`
 * are ints: td_json_bool("on", n > 0), or TD_JSON("on", (bool)true).
 */
typedef enum td_json_type {
    TD_JSON_STRING, TD_JSON_INT, TD_JSON_DOUBLE, TD_JSON_BOOL, TD_JSON_NULL, TD_JSON_RAW,
    TD_JSON_OBJECT, TD_JSON_ARRAY, /* of what was read only: see <tornado/json.h> */
} td_json_type;

typedef struct td_json_pair { /* its size is part of the ABI */
    const char *key;
    uint32_t type; /* td_json_type */
    td_str string; /* TD_JSON_RAW: JSON as it is */
    int64_t integer;
    double number;
} td_json_pair;

TD_API int td_write_json_object(td_handler *h, const td_json_pair *pairs, size_t count);

static inline td_json_pair
td_json_string(const char *key, const char *value)
{
    td_json_pair p = {key, value != NULL ? TD_JSON_STRING : TD_JSON_NULL, td_str_of(value), 0, 0};
    return p;
}
static inline td_json_pair
td_json_str(const char *key, td_str value)
{
    td_json_pair p = {key, value.ptr != NULL ? TD_JSON_STRING : TD_JSON_NULL, value, 0, 0};
    return p;
}
static inline td_json_pair
td_json_int(const char *key, int64_t value)
{
    td_json_pair p = {key, TD_JSON_INT, {NULL, 0}, value, 0};
    return p;
}
static inline td_json_pair
td_json_double(const char *key, double value) /* NaN and infinities become null */
{
    td_json_pair p = {key, TD_JSON_DOUBLE, {NULL, 0}, 0, value};
    return p;
}
static inline td_json_pair
td_json_bool(const char *key, bool value)
{
    td_json_pair p = {key, TD_JSON_BOOL, {NULL, 0}, value, 0};
    return p;
}

#ifndef __cplusplus
#define TD_JSON(key, value)                                                                        \
    _Generic((value),                                                                              \
        char *: td_json_string, const char *: td_json_string, void *: td_json_string,              \
        td_str: td_json_str,                                                                       \
        bool: td_json_bool, float: td_json_double, double: td_json_double,                         \
        default: td_json_int)(key, value)
#define td_write_json(h, ...)                                                                      \
    td_write_json_object(h, (const td_json_pair[]){__VA_ARGS__},                                   \
                         sizeof((td_json_pair[]){__VA_ARGS__}) / sizeof(td_json_pair))
#else
extern "C++" {
inline td_json_pair TD_JSON(const char *key, const char *text) { return td_json_string(key, text); }
inline td_json_pair TD_JSON(const char *key, char *text) { return td_json_string(key, text); }
inline td_json_pair TD_JSON(const char *key, td_str value) { return td_json_str(key, value); }
inline td_json_pair TD_JSON(const char *key, bool value) { return td_json_bool(key, value); }
inline td_json_pair TD_JSON(const char *key, float value) { return td_json_double(key, value); }
inline td_json_pair TD_JSON(const char *key, double value) { return td_json_double(key, value); }
template <class Integer> inline td_json_pair TD_JSON(const char *key, Integer value)
{
    return td_json_int(key, static_cast<int64_t>(value));
}
template <class... Pairs> inline int td_write_json(td_handler *h, const Pairs &...pairs)
{
    const td_json_pair all[] = {pairs...};

    return td_write_json_object(h, all, sizeof...(pairs));
}
}
#endif

/*
 * Send what was written, and wait until the client has taken enough of it (write_high_water).  Other
 * requests have their turn now and then, however fast it takes it.  The first flush sends the headers.
 * Returns 0, or TD_ECLOSED when nobody takes more: the client has gone, or has asked with HEAD and has
 * the headers.
 */
TD_API int td_flush(td_handler *h);

/* End the response; the method may go on working.  A second time: TD_EINVAL. */
TD_API int td_finish(td_handler *h);
TD_API bool td_is_finished(td_handler *h);

/*
 * The response is finished later, by td_finish(h) from a callback: returning from the method does
 * not finish it.  Takes a reference to the request that td_finish gives back, and so do
 * td_redirect, td_send_error and td_raise, which finish it too.  Call one of them in the end even
 * if the client has left or request_timeout has passed (they return TD_ECLOSED then): until then h
 * is valid, and its memory in use.
 */
TD_API int td_asynchronous(td_handler *h);

/* 302, or 301 when permanent, to url as given; ends the response.  After a flush: TD_EINVAL. */
TD_API int td_redirect(td_handler *h, const char *url, bool permanent);
TD_API int td_redirect_status(td_handler *h, const char *url, int status); /* 300..399 */

/*
 * The entity tag of what is there: "v17", or in full "\"v17\"" or "W/\"v17\"".  NULL: there is
 * none, and none is made (else a response of status 200 that was not flushed gets that of its
 * bytes).
 */
TD_API int td_set_etag(td_handler *h, const char *etag);

/*
 * True when the preconditions of the request (If-Match, If-Unmodified-Since, If-None-Match,
 * If-Modified-Since: RFC 9110 section 13) do not hold for the Etag and Last-Modified that were set:
 * the response is over then, 304 for GET and HEAD, else the error page 412.  No Etag set means that
 * nothing is there: so `If-None-Match: *` is "only if it is new".  The client's compressed
 * version counts as the version.
 *
 *     td_set_etag(h, version_of(row));
 *     if (td_check_etag(h))
 *         return;
 *     store(row, td_request_body(h)); // nobody else has changed it since the client has read it
 */
TD_API bool td_check_etag(td_handler *h);

/* ---- errors */

/*
 * Leave the handler: error page of that status (400..599, others become 500), the text goes to the
 * log (format NULL: there is none). In a callback that was made for the request it leaves the
 * callback, and cancels a method that waits. Once the headers are sent there can be no page: the
 * connection closes.  On another thread, which is misuse, it ends that thread; outside a coroutine
 * (the main of a td_program) the process.
 */
TD_API TD_NORETURN void td_raise(td_handler *h, int status, const char *format, ...)
    TD_PRINTF(3, 4);

/* The same page without leaving: the caller returns next. */
TD_API int td_send_error(td_handler *h, int status, const char *format, ...) TD_PRINTF(3, 4);

/*
 * For write_error: what td_raise or td_send_error was told, as the log has it ("Missing argument
 * q", "no note 7"), or, where nothing was said, the reason of the status ("Not Found").  It may
 * tell a client more than it should know: of 5xx better not.
 */
TD_API td_str td_raised_text(td_handler *h);

/* Unset what was set so far: status, headers (to the defaults, the class's own too), body. */
TD_API int td_clear(td_handler *h);

/* ---- the rest */

/* From the arena of the request, zeroed, aligned to 16 bytes; lives as long as the request. */
TD_API void *td_alloc(td_handler *h, size_t size);
TD_API td_str td_sprintf(td_handler *h, const char *format, ...) TD_PRINTF(2, 3);
TD_API td_str td_strdup(td_handler *h, td_str s);

/*
 * For long streams: memory that td_alloc, td_sprintf and td_strdup gave since the mark is taken
 * back by the rewind.  What getters returned and what was set in the response stays.  Marks nest.
 * One that was made after what has been rewound to, or for another request, is TD_EINVAL.
 *
 *     const td_scope scope = td_scope_mark(h);
 *     while (next_row(rows)) {
 *         td_write(h, format_row(h, rows));
 *         td_flush(h);
 *         td_scope_rewind(h, scope);
 *     }
 */
typedef struct td_scope { /* ours: only to be passed on */
    void *chunk, *next;
} td_scope;

TD_API td_scope td_scope_mark(td_handler *h);
TD_API int td_scope_rewind(td_handler *h, td_scope scope);

/* Keep the request's memory beyond its end; each ref wants one unref (one more is misuse). */
TD_API td_handler *td_handler_ref(td_handler *h);
TD_API void td_handler_unref(td_handler *h);

/* A pointer of the author's own on the request. */
TD_API void td_set_user_data(td_handler *h, void *data);
TD_API void *td_user_data(td_handler *h);

TD_API const void *td_settings(td_handler *h); /* of the instance; NULL without options */
TD_API void *td_state(td_handler *h);          /* what load made */
TD_API void *td_shared(td_handler *h, const char *name); /* see TD_SHARED; NULL: not declared */

/*
 * The path of the route of that name in this application (the instance's own before others';
 * "INSTANCE:NAME" is that instance's alone), with the count groups of its pattern replaced by args
 * (escaped), from the arena of the request.  The null string, and a log line, when there is none or
 * the count differs.
 */
TD_API td_str td_reverse_url(td_handler *h, const char *name, const td_str *args, size_t count);

#endif
