/*
 * Cookies (RFC 6265): those that the client sent, and those that the response sets.
 *
 * A cookie that is set is sent with the headers of the response, an error page's too; it cannot be
 * read back in the same request.  Signed ones carry their name, their time and a signature, in
 * Tornado's format (version 2): the client can read them but not change them.
 */
#ifndef TORNADO_COOKIES_H
#define TORNADO_COOKIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

#define TD_COOKIE_SESSION INT64_C(-1) /* .expires: when the browser ends */

/* Given as &TD_COOKIE(.max_age = 3600, .secure = true); NULL: none of it. */
typedef struct td_cookie_options {
    size_t size TD_ZERO;          /* set by TD_COOKIE */
    const char *domain TD_ZERO;   /* NULL: the host of the request alone */
    const char *path TD_ZERO;     /* NULL: "/" */
    int64_t expires TD_ZERO;      /* Unix time, s; 0: TD_COOKIE_SESSION, of a signed one 30 days */
    int64_t max_age TD_ZERO;      /* seconds; 0: says nothing; negative: it ends at once */
    const char *samesite TD_ZERO; /* "Strict", "Lax", "None" (wants .secure); NULL: says nothing */
    bool httponly TD_ZERO;        /* hidden from scripts */
    bool secure TD_ZERO;          /* sent over TLS only */
} td_cookie_options;

#ifndef __cplusplus
#define TD_COOKIE(...) ((td_cookie_options){.size = sizeof(td_cookie_options), __VA_ARGS__})
#else
inline const td_cookie_options &td_cookie_options_of(const td_cookie_options &o) { return o; }
#define TD_COOKIE(...)                                                                             \
    td_cookie_options_of(td_cookie_options{.size = sizeof(td_cookie_options), __VA_ARGS__})
#endif

/*
 * The value of the last cookie of that name, unquoted; the null string: there is none.  Raises 431
 * when the Cookie lines are larger than max_cookie_size.
 */
TD_API td_str td_get_cookie(td_handler *h, const char *name);

/*
 * Set a cookie, in place of one of the same name that was set before.  Strings are copied.  name: a
 * token; value: no control bytes and no blanks, quoted where it has to be; TD_EINVAL for what no
 * browser would take, and once the headers have been sent.
 */
TD_API int td_set_cookie(td_handler *h, const char *name, const char *value,
                         const td_cookie_options *options);

/* Tell the client to forget it: path, domain, samesite and secure as they were when it was set. */
TD_API int td_clear_cookie(td_handler *h, const char *name, const td_cookie_options *options);

/* The same for each cookie that the client has sent.  Raises 431 like td_get_cookie. */
TD_API int td_clear_all_cookies(td_handler *h, const td_cookie_options *options);

/* ---- signed cookies: all raise 500 when the application has no cookie_secret(_file) */

/*
 * The value that td_set_signed_cookie was given; the null string: there is none, it was changed, or
 * it was signed more than max_age_days ago (0: 31).  Raises 431 like td_get_cookie.
 */
TD_API td_str td_get_signed_cookie(td_handler *h, const char *name, double max_age_days);

/* Any bytes may be in the value.  As td_set_cookie otherwise; expires in 30 days. */
TD_API int td_set_signed_cookie(td_handler *h, const char *name, td_str value,
                                const td_cookie_options *options);

/* The same without cookies, for a link or a form: text, and back.  name tells what it is for. */
TD_API td_str td_create_signed_value(td_handler *h, const char *name, td_str value);
TD_API td_str td_decode_signed_value(td_handler *h, const char *name, td_str text,
                                     double max_age_days);

#endif
