/* Goal: what tests/integration/test_cookies.py asks for, beside a Tornado that does the same. */
#include <tornado/tornado.h>

static void
write_value(td_handler *h, td_str value)
{
    td_set_header(h, "Content-Type", "application/octet-stream");
    td_write(h, td_str_is_null(value) ? TD_STR("None") : value);
}

static void
get_cookie(td_handler *h)
{
    write_value(h, td_get_cookie(h, td_path_argument_at(h, 0).ptr));
}

static void
set_cookie(td_handler *h)
{
    td_set_cookie(h, td_path_argument_at(h, 0).ptr, td_path_argument_at(h, 1).ptr,
                  &TD_COOKIE(.path = "/x", .max_age = 60, .samesite = "Lax", .httponly = true));
}

static void
get_signed(td_handler *h)
{
    write_value(h, td_get_signed_cookie(h, td_path_argument_at(h, 0).ptr, 0));
}

static void
set_signed(td_handler *h)
{
    td_set_signed_cookie(h, td_path_argument_at(h, 0).ptr, td_path_argument_at(h, 1), NULL);
}

/* The token alone, and in a form; posting anything wants it. */
static void
token(td_handler *h)
{
    td_write(h, td_xsrf_token(h));
}

static void
form(td_handler *h)
{
    td_write(h, td_xsrf_form_html(h));
}

static void
posted(td_handler *h)
{
    td_write_text(h, "done");
}

/* Whoever has a signed cookie is somebody. */
static void *
get_user(td_handler *h)
{
    const td_str user = td_get_signed_cookie(h, "user", 0);

    return (void *)(uintptr_t)user.ptr;
}

static void
greet(td_handler *h)
{
    td_writef(h, "Hello, %s", (const char *)td_current_user(h));
}

static const td_handler_class Token = {.get = token, .post = posted, .put = posted,
                                       .delete_ = posted, .patch = posted, .name = "Token"};
static const td_handler_class Form = {.get = form, .post = posted};
static const td_handler_class Hook = {.post = posted, .flags = TD_SKIP_XSRF};
static const td_handler_class Private = {.get = greet, .post = greet,
                                         .flags = TD_AUTHENTICATED | TD_SKIP_XSRF};
static const td_handler_class Get = {.get = get_cookie};
static const td_handler_class Set = {.get = set_cookie};
static const td_handler_class GetSigned = {.get = get_signed, .name = "GetSigned"};
static const td_handler_class SetSigned = {.get = set_signed};

TD_PLUGIN(.name = "cookies", .version = "1.0",
          .urls = TD_URLS(TD_URL("/get/(.+)", &Get), TD_URL("/set/([^/]+)/(.*)", &Set),
                          TD_URL("/get-signed/(.+)", &GetSigned),
                          TD_URL("/set-signed/([^/]+)/(.*)", &SetSigned),
                          TD_URL("/token", &Token), TD_URL("/form", &Form),
                          TD_URL("/hook", &Hook), TD_URL("/private", &Private)),
          .get_current_user = get_user);
