/* Goal: routes of every kind, to be asked by real clients and compared with Tornado's. */
#include <stdlib.h>
#include <tornado/tornado.h>

/* Which route it is (initialize_arg), and what its groups matched. */
static void
remember(td_handler *h, const void *name)
{
    td_set_user_data(h, (void *)name);
}

static void
tell(td_handler *h)
{
    td_set_header(h, "Content-Type", "text/plain; charset=UTF-8");
    td_writef(h, "%s", (const char *)td_user_data(h));
    for (int i = 1; i < atoi(td_get_argument_default(h, "groups", "0").ptr) + 1; i++) {
        const td_str value = td_path_argument_at(h, (unsigned)i - 1);

        td_writef(h, "\n%s", td_str_is_null(value) ? "None" : value.ptr);
    }
}

static const td_handler_class Tell = {.initialize = remember, .get = tell};
static const td_handler_class TellAll = {.initialize = remember, .get = tell, .post = tell,
                                         .put = tell};
static const td_handler_class Plain = {.initialize = remember, .get = tell,
                                       .flags = TD_NO_AUTO_HEAD | TD_NO_AUTO_OPTIONS};
static const td_handler_class Removed = {.initialize = remember, .get = tell, .post = tell,
                                         .flags = TD_REMOVE_SLASH};
static const td_handler_class Added = {.initialize = remember, .get = tell, .post = tell,
                                       .flags = TD_ADD_SLASH};

/* The order matters: the first that matches wins, here and in Tornado. */
#define PATTERNS(X)                                                                                \
    X("root", "/", 0)                                                                              \
    X("literal", "/a/b\\.html", 0)                                                                 \
    X("number", "/n/(\\d+)", 1)                                                                    \
    X("me", "/n/me", 0)                                                                            \
    X("word", "/n/([^/]+)", 1)                                                                     \
    X("never", "/n/never", 0)                                                                      \
    X("named", "/named/(?P<x>\\w+)/(?P<y>[^/]*)", 2)                                               \
    X("optional", "/opt(?:/(\\d+))?", 1)                                                           \
    X("three", "/three/(a)?(b)?(c)?", 3)                                                           \
    X("same", "/same/(\\w+)-\\1", 1)                                                               \
    X("rest", "/rest/(.*)", 1)                                                                     \
    X("caret", "^/caret/(x)$", 1)                                                                  \
    X("either", "/x|/y", 0)                                                                        \
    X("class", "/class/[ab]", 0)                                                                   \
    X("dot", "/dot/a.b/(.)", 1)                                                                    \
    X("lazy", "/lazy/(.*?)/(.*)", 2)                                                               \
    X("escaped", "/e\\-s\\+\\(c\\)/(\\w+)", 1)                                                     \
    X("slash", "/slash/?", 0)

#define URL(name_, pattern_, groups_)                                                              \
    TD_URL(pattern_, &Tell, .name = name_, .initialize_arg = name_),
#define LINE(name_, pattern_, groups_) name_ " " #groups_ " " pattern_ "\n"

static const td_url patterns[] = {PATTERNS(URL){.pattern = NULL}};

static void
list_patterns(td_handler *h)
{
    td_set_header(h, "Content-Type", "text/plain");
    td_write_text(h, PATTERNS(LINE));
}

/* Of the name in the query with all its arguments "arg"; nothing when there is none. */
static void
reverse(td_handler *h)
{
    const td_str *args;
    const size_t count = td_get_arguments(h, "arg", &args);

    td_set_header(h, "Content-Type", "text/plain");
    td_write(h, td_reverse_url(h, td_get_argument(h, "name").ptr, args, count));
}

static const td_handler_class List = {.get = list_patterns};
static const td_handler_class Reverse = {.get = reverse};

#define TELL(pattern_, class_, name_, ...)                                                         \
    TD_URL(pattern_, &class_, .name = name_, .initialize_arg = name_, __VA_ARGS__)

static void
lost(td_handler *h)
{
    td_set_status(h, 404, NULL);
    td_writef(h, "lost in %s", (const char *)td_user_data(h));
}

static const td_handler_class Lost = {.initialize = remember, .get = lost};

TD_PLUGIN(
    .name = "routing", .version = "1.0",
    .urls = TD_URLS(
        TD_URL_MOUNT("/m", patterns), TD_URL("/patterns", &List), TD_URL("/reverse", &Reverse),
        TELL("/item/(\\d+)", TellAll, "item-get", .methods = "GET"),
        TELL("/item/(\\d+)", TellAll, "item-put", .methods = "PUT"),
        TELL("/v", Tell, "v2", .headers = TD_HEADERS({"Accept", ".*vnd\\.test\\.v2.*"})),
        TELL("/v", Tell, "v1", .methods = NULL),
        {.pattern = "/api/(\\d)", .name = "api",
         .urls = TD_URLS(TELL("/list", Tell, "list", .methods = NULL),
                         TELL("/one/(\\d+)", TellAll, "one", .methods = "GET, POST"))},
        TELL("/plain", Plain, "plain", .methods = NULL),
        TELL("/removed/*", Removed, "removed", .methods = NULL),
        TELL("/added/?", Added, "added", .methods = NULL),
        TD_URL("/moved/(?<where>.*)", &td_redirect_class,
               .initialize_arg = TD_REDIRECT(.url = "/to/{where}")),
        TD_URL("/moved-all/(.*)", &td_redirect_all_class,
               .initialize_arg = TD_REDIRECT(.url = "https://example.org{0}")),
        TD_URL("/gone/.*", &td_error_class, .initialize_arg = TD_ERROR(.status = 410))),
    .default_handler = &Lost, .default_handler_arg = "the woods");
