/* Goal: whatever the tables of tests/conformance ask for; a route for each kind of answer. */
#include <stdlib.h>
#include <tornado/tornado.h>

static void
hello(td_handler *h)
{
    td_write_text(h, "hello");
}

/* For the gates: the plainest of requests. */
static void
plaintext(td_handler *h)
{
    td_set_header(h, "Content-Type", "text/plain");
    td_write(h, TD_STR("Hello, World!"));
}

/* What arrived, as the handler sees it: method, target and version on a line, then the body. */
static void
echo(td_handler *h)
{
    td_set_header(h, "Content-Type", "application/octet-stream");
    td_writef(h, "%.*s %.*s %.*s\n", TD_STR_FMT(td_request_method(h)),
              TD_STR_FMT(td_request_uri(h)), TD_STR_FMT(td_request_version(h)));
    td_write(h, td_request_body(h));
}

static void
body_length(td_handler *h)
{
    td_writef(h, "%zu", td_request_body(h).len);
}

static void
host(td_handler *h)
{
    td_writef(h, "%.*s %.*s", TD_STR_FMT(td_request_host(h)),
              TD_STR_FMT(td_request_host_name(h)));
}

/* Who asks, and for what, as far as proxies in front say. */
static void
client(td_handler *h)
{
    td_writef(h, "%.*s %.*s", TD_STR_FMT(td_request_remote_addr(h)), TD_STR_FMT(td_full_url(h)));
}

static void
header(td_handler *h)
{
    const td_str value = td_request_header(h, td_path_argument_at(h, 0).ptr);

    td_set_header(h, "Content-Type", "application/octet-stream");
    td_writef(h, "[%.*s]", TD_STR_FMT(td_str_is_null(value) ? TD_STR("none") : value));
}

/* The raw path and the query, and what the pattern's group decodes to. */
static void
path(td_handler *h)
{
    td_set_header(h, "Content-Type", "application/octet-stream");
    td_writef(h, "%.*s %.*s ", TD_STR_FMT(td_request_path(h)), TD_STR_FMT(td_request_query(h)));
    td_write(h, td_path_argument_at(h, 0));
}

static void
flush(td_handler *h)
{
    td_write_text(h, "one ");
    td_flush(h);
    td_flush(h); /* nothing was written: no chunk, which would end the body */
    td_write_text(h, "two ");
    td_flush(h);
    td_write_text(h, "three");
}

static void
status(td_handler *h)
{
    td_set_status(h, atoi(td_path_argument_at(h, 0).ptr), NULL);
}

static void
status_with_body(td_handler *h)
{
    status(h);
    td_write_text(h, "body");
}

static void
raise_status(td_handler *h)
{
    td_write_text(h, "never sent");
    td_set_header(h, "X-Never", "sent");
    td_raise(h, atoi(td_path_argument_at(h, 0).ptr), "as asked");
}

/* Content-Length: 5 from the handler itself, and five bytes, fewer or more. */
static void
length(td_handler *h)
{
    td_set_header(h, "Content-Length", "5");
    td_write(h, td_path_argument_at(h, 0));
}

static void
own_headers(td_handler *h)
{
    td_set_header(h, "Content-Type", "text/plain");
    td_add_header(h, "X-Several", "one");
    td_add_header(h, "X-Several", "two");
    td_set_header(h, "Server", "other");
    td_set_status(h, 299, "Quite Fine");
}

static void
redirect(td_handler *h)
{
    td_redirect(h, "/elsewhere?a=b", false);
}

static void
get_cookie(td_handler *h)
{
    const td_str value = td_get_cookie(h, td_path_argument_at(h, 0).ptr);

    td_set_header(h, "Content-Type", "application/octet-stream");
    td_writef(h, "[%.*s]", TD_STR_FMT(td_str_is_null(value) ? TD_STR("none") : value));
}

/* The same cookie again and again, of which the last one counts; with a failure or not. */
static void
set_cookies(td_handler *h)
{
    td_set_cookie(h, "a", "first", &TD_COOKIE(.secure = true));
    td_set_cookie(h, "a", td_path_argument_at(h, 1).ptr, &TD_COOKIE(.max_age = 60));
    td_clear_cookie(h, "a", NULL);
    td_set_cookie(h, "a", td_path_argument_at(h, 1).ptr, &TD_COOKIE(.httponly = true));
    if (td_path_argument_at(h, 0).ptr[0] == '4')
        td_raise(h, 403, "as asked");
}

static const td_handler_class Hello = {.get = hello};
static const td_handler_class Plaintext = {.get = plaintext};
static const td_handler_class Echo = {.get = echo, .head = echo, .post = echo, .put = echo,
                                      .delete_ = echo, .patch = echo};
static const td_handler_class BodyLength = {.post = body_length};
static const td_handler_class Host = {.get = host};
static const td_handler_class Client = {.get = client, .post = client};
static const td_handler_class Header = {.get = header};
static const td_handler_class Path = {.get = path};
static const td_handler_class Post = {.post = hello};
static const td_handler_class Put = {.put = hello, .delete_ = hello};
static const td_handler_class Flush = {.get = flush, .post = flush};
static const td_handler_class Status = {.get = status};
static const td_handler_class StatusWithBody = {.get = status_with_body};
static const td_handler_class Raise = {.get = raise_status, .post = raise_status};
static const td_handler_class Length = {.get = length};
static const td_handler_class OwnHeaders = {.get = own_headers};
static const td_handler_class Redirect = {.get = redirect};
static const td_handler_class GetCookie = {.get = get_cookie};
static const td_handler_class SetCookies = {.get = set_cookies};
static const td_handler_class Small = {.post = body_length, .max_body_size = 10};

TD_PLUGIN(.name = "conformance", .version = "1.0",
          .urls = TD_URLS(TD_URL("/", &Hello), TD_URL("/plaintext", &Plaintext),
                          TD_URL("/echo", &Echo), TD_URL("/body-length", &BodyLength),
                          TD_URL("/host", &Host), TD_URL("/client", &Client),
                          TD_URL("/header/(.+)", &Header),
                          TD_URL("/path/(.*)", &Path), TD_URL("/post", &Post),
                          TD_URL("/put", &Put), TD_URL("/flush", &Flush),
                          TD_URL("/status/([0-9]+)", &Status),
                          TD_URL("/status/([0-9]+)/body", &StatusWithBody),
                          TD_URL("/raise/([0-9]+)", &Raise), TD_URL("/length/(.*)", &Length),
                          TD_URL("/own-headers", &OwnHeaders), TD_URL("/redirect", &Redirect),
                          TD_URL("/cookie/(.+)", &GetCookie),
                          TD_URL("/set-cookies/(200|403)/(.*)", &SetCookies),
                          TD_URL("/small", &Small)));
