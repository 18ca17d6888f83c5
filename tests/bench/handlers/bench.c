/*
 * The handler that `make bench` measures: a fixed answer, a group of the path, the body of the
 * request, a wait.
 */
#include <stdlib.h>
#include <tornado/tornado.h>

static void
plaintext(td_handler *h)
{
    td_write(h, TD_STR("Hello, World!"));
}

static void
user(td_handler *h)
{
    td_write(h, td_path_argument(h, "id"));
}

static void
echo(td_handler *h)
{
    td_write(h, td_request_body(h));
}

static void
form(td_handler *h)
{
    td_get_body_argument(h, "field0");
    td_write(h, TD_STR("Hello, World!"));
}

/* The 1 ms of the row "wait"; /wait/500 keeps a handler waiting while its memory is measured. */
static void
wait_ms(td_handler *h)
{
    td_sleep(strtoll(td_path_argument(h, "ms").ptr, NULL, 10));
    td_write(h, TD_STR("Hello, World!"));
}

static const td_handler_class Plaintext = {.get = plaintext};
static const td_handler_class User = {.get = user};
static const td_handler_class Echo = {.post = echo, .max_body_size = 2 << 20};
static const td_handler_class Form = {.post = form};
static const td_handler_class Wait = {.get = wait_ms};

TD_PLUGIN(.name = "bench", .version = "1.0",
          .urls = TD_URLS(TD_URL("/plaintext", &Plaintext), TD_URL("/user/(?<id>[^/]+)", &User),
                          TD_URL("/echo", &Echo), TD_URL("/form", &Form),
                          TD_URL("/wait/(?<ms>[0-9]{1,4})", &Wait)));
