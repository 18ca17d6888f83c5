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

/* ---- bodies that are read while they come */

static void
streamed(td_handler *h)
{
    size_t len = 0;
    td_str data;

    while (td_read_body(h, &data) > 0)
        len += data.len;
    td_writef(h, "%zu", len);
}

static void
unread(td_handler *h)
{
    td_write_text(h, "unread");
}

static void
refuse(td_handler *h)
{
    td_raise(h, 403, "nobody may");
}

static void
limit(td_handler *h)
{
    td_set_max_body_size(h, td_path_argument_int(h, "size", 0, 1000));
}

/* ---- the life of a handler */

/* Each step leaves its name in the answer. */
static void
initialize(td_handler *h, const void *arg)
{
    td_writef(h, "initialize(%s) ", (const char *)arg);
}

static void
prepare(td_handler *h)
{
    td_write_text(h, "prepare ");
}

static void
get(td_handler *h)
{
    td_write_text(h, "get");
}

static void
never(td_handler *h)
{
    td_write_text(h, "never");
    td_set_header(h, "X-Never", "sent");
}

static void
end(td_handler *h)
{
    const td_str how = td_path_argument_at(h, 0);

    if (td_str_equal(how, TD_STR("finish")))
        td_finish(h);
    else if (td_str_equal(how, TD_STR("redirect")))
        td_redirect(h, "/elsewhere", true);
    else if (td_str_equal(how, TD_STR("send-error")))
        td_send_error(h, 409, "not now");
    else
        td_raise(h, 410, "not any more");
}

static void
raise_late(td_handler *h)
{
    td_write_text(h, "begun");
    td_flush(h);
    td_raise(h, 500, "too late for a page");
}

/* All that is refused once the answer has ended. */
static void
go_on(td_handler *h)
{
    td_write_text(h, "done");
    td_finish(h);
    never(h);
    td_flush(h);
    td_finish(h);
    td_set_status(h, 404, NULL);
    td_redirect(h, "/elsewhere", false);
    td_send_error(h, 500, "too late");
    td_raise(h, 500, "too late");
}

static void
own_page(td_handler *h, int status)
{
    td_writef(h, "own page of %d", status);
}

static void
bad_page(td_handler *h, int status)
{
    td_write_text(h, "never");
    td_raise(h, 599, "and %d has no page", status);
}

static const td_handler_class Streamed = {.post = streamed, .flags = TD_STREAM_BODY};
static const td_handler_class Unread = {.post = unread, .flags = TD_STREAM_BODY};
static const td_handler_class Refused = {
    .post = streamed, .prepare = refuse, .flags = TD_STREAM_BODY};
static const td_handler_class Limited = {
    .post = streamed, .prepare = limit, .flags = TD_STREAM_BODY};
static const td_handler_class Steps = {.initialize = initialize, .prepare = prepare, .get = get};
static const td_handler_class Ended = {.prepare = end, .get = never, .post = never};
static const td_handler_class RaiseLate = {.get = raise_late};
static const td_handler_class GoOn = {.get = go_on};
static const td_handler_class OwnPage = {.get = raise_status, .write_error = own_page};
static const td_handler_class BadPage = {.get = raise_status, .write_error = bad_page};
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
                          TD_URL("/small", &Small), TD_URL("/streamed", &Streamed),
                          TD_URL("/streamed/unread", &Unread),
                          TD_URL("/streamed/refused", &Refused),
                          TD_URL("/streamed/limited/(?<size>[0-9]+)", &Limited),
                          TD_URL("/steps", &Steps, .initialize_arg = "arg"),
                          TD_URL("/ended/(.+)", &Ended), TD_URL("/raise-late", &RaiseLate),
                          TD_URL("/go-on", &GoOn), TD_URL("/own-page/([0-9]+)", &OwnPage),
                          TD_URL("/bad-page/([0-9]+)", &BadPage)));
