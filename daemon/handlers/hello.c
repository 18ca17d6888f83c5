/*
 * hello: greets, by name where there is one, and shows how to wait.
 *
 *     /hello            Hello, world
 *     /hello/jack       Hello, jack
 *     /sleep/250        answers after 250 ms, 10 s at most; others are served meanwhile
 *
 * Options of [handler:hello]: greeting.
 */
#include <tornado/tornado.h>

#define SLEEP_MAX_MS 10000

struct settings {
    const char *greeting;
};

static void
say_hello_to(td_handler *h, td_str name)
{
    const struct settings *settings = td_settings(h);

    td_set_header(h, "Content-Type", "text/plain; charset=UTF-8");
    td_writef(h, "%s, %.*s\n", settings->greeting, TD_STR_FMT(name));
}

static void
greet_all(td_handler *h)
{
    say_hello_to(h, TD_STR("world"));
}

static void
greet(td_handler *h)
{
    say_hello_to(h, td_path_argument(h, "name"));
}

static void
sleep_then_tell(td_handler *h)
{
    const int64_t ms = td_path_argument_int(h, "ms", 0, SLEEP_MAX_MS); /* else 404 */

    td_sleep(ms);
    td_set_header(h, "Content-Type", "text/plain; charset=UTF-8");
    td_writef(h, "slept %d ms\n", (int)ms);
}

static const td_handler_class GreetAll = {.get = greet_all};
static const td_handler_class Greet = {.get = greet};
static const td_handler_class Sleep = {.get = sleep_then_tell};

TD_PLUGIN(.name = "hello", .version = "1.0",
          .urls = TD_URLS(TD_URL("/hello", &GreetAll),
                          TD_URL("/hello/(?<name>[^/]+)", &Greet, .name = "greet"),
                          TD_URL("/sleep/(?<ms>\\d+)", &Sleep)),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, greeting, "Hello",
                                              "What to say to whoever asks.")));
