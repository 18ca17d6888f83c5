/*
 * A handler file: one exported, constant symbol `tornado_plugin`, written by TD_PLUGIN.
 *
 *     TD_PLUGIN(.name = "hello", .version = "1.0",
 *               .urls = TD_URLS(TD_URL("/hello/(?<name>[^/]+)", &Greet, .name = "greet")));
 *
 * In the daemon each [handler:NAME] section (and each file without one) is an *instance* of such a
 * file: it has its own options, state, mount point and hosts.  Keep no mutable statics: what a
 * worker shares between requests is made by `load`, reached by td_state(h).
 */
#ifndef TORNADO_PLUGIN_H
#define TORNADO_PLUGIN_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/handler.h>
#include <tornado/tcpserver.h>

typedef struct td_instance td_instance; /* one instance in one worker */

/* A request header that a route wants to see; a list of them ends in a zeroed element. */
typedef struct td_header_match { /* its size is part of the ABI */
    const char *name TD_ZERO;
    const char *pattern TD_ZERO; /* PCRE2, against the whole value, lines joined with ", " */
} td_header_match;

/*
 * One route.  pattern: a PCRE2 regular expression that is matched against the whole raw path, from
 * the mount point on, with named groups ((?<n>...) or (?P<n>...)) or positional ones, not both.
 *
 * methods and headers say for which requests to that path the route is meant; the others go on to
 * the next route that matches.  A request that fits but for its method ends in 405, with Allow for
 * all the routes of that path; one whose headers fit none, in 404.  The response to a request whose
 * headers were looked at says so in Vary.
 *
 * urls in place of handler: routes below this pattern.  Their patterns go on where it ends, a slash
 * at its end left out; its groups come before theirs.  What it says of methods and headers holds
 * for them too, its initialize_arg is theirs where they have none, and its name and a dot stand
 * before their names.
 */
typedef struct td_url {
    const char *pattern TD_ZERO; /* NULL ends the list */
    const td_handler_class *handler TD_ZERO;
    const char *name TD_ZERO;           /* for td_reverse_url; NULL: none */
    const void *initialize_arg TD_ZERO; /* given to the class's initialize */
    const struct td_url *urls TD_ZERO;
    const char *methods TD_ZERO; /* "GET, POST"; GET has HEAD with it; NULL: all that the class has */
    const td_header_match *headers TD_ZERO; /* all of them have to match; NULL: none is looked at */
} td_url;

/*
 * A list that ends in a zeroed element and lives as long as the file is loaded.  (A compound
 * literal of C++ would not.)
 */
#ifdef __cplusplus
#define TD_LIST_OF(type_, ...) TD_LIST_NUMBER(type_, __COUNTER__, __VA_ARGS__)
#define TD_LIST_NUMBER(type_, number_, ...) TD_LIST_NUMBERED(type_, number_, __VA_ARGS__)
#define TD_LIST_NUMBERED(type_, number_, ...) /* in one another, so each has its own name */        \
    []() -> const type_ * {                                                                        \
        static const type_ list_##number_[] = {__VA_ARGS__, {}};                                   \
        return list_##number_;                                                                     \
    }()
#else
#define TD_LIST_OF(type_, ...) ((const type_[]){__VA_ARGS__, {0}})
#endif

/*
 * TD_URL(pattern, handler) or TD_URL(pattern, handler, .name = ..., .methods = ...); in C++ in the
 * order of the struct.
 *
 *     TD_URL("/report", &Report, .headers = TD_HEADERS({"Accept", ".*application/json.*"})),
 *     TD_URL_MOUNT("/api/v(?<version>[12])", TD_URLS(TD_URL("/users/(?<id>[0-9]+)", &User))),
 */
#define TD_URL(pattern_, ...) {.pattern = (pattern_), .handler = __VA_ARGS__}
#define TD_URL_MOUNT(pattern_, ...) {.pattern = (pattern_), .urls = __VA_ARGS__}
#define TD_URLS(...) TD_LIST_OF(td_url, __VA_ARGS__)
#define TD_HEADERS(...) TD_LIST_OF(td_header_match, __VA_ARGS__)

typedef enum td_option_type {
    TD_OPTION_END,    /* ends the list */
    TD_OPTION_STRING, /* const char * */
    TD_OPTION_INT,    /* int64_t, min..max */
    TD_OPTION_BOOL,   /* bool */
    TD_OPTION_SIZE,   /* int64_t bytes, min..max */
    TD_OPTION_TIME,   /* int64_t milliseconds, min..max */
} td_option_type;

/* One key that [handler:NAME] may hold; `offset` is where its value goes in the settings struct. */
typedef struct td_option {
    const char *name TD_ZERO;
    const char *default_value TD_ZERO; /* as it would stand in the ini; NULL: the key is required */
    const char *help TD_ZERO;
    int64_t min TD_ZERO, max TD_ZERO;  /* both 0: any; of sizes and times: any from 0 on */
    uint32_t offset TD_ZERO;
    uint32_t type TD_ZERO;             /* td_option_type */
} td_option;

/*
 *     struct settings { const char *greeting; int64_t ping_ms; };
 *     .options = TD_OPTIONS(struct settings,
 *                           TD_OPT_STRING(struct settings, greeting, "Hello", "what to say"),
 *                           TD_OPT_TIME(struct settings, ping_ms, "10s", 100, 3600000, "pause")),
 *
 * The key is the field's name.  A field of another type than its option wants does not compile.
 */
#define TD_OPT_STRING(struct_, field_, default_, help_)                                            \
    {#field_, default_, help_, 0, 0, TD_OPTION_AT(struct_, field_, const char *), TD_OPTION_STRING}
#define TD_OPT_BOOL(struct_, field_, default_, help_)                                              \
    {#field_, default_, help_, 0, 0, TD_OPTION_AT(struct_, field_, bool), TD_OPTION_BOOL}
#define TD_OPT_INT(struct_, field_, default_, min_, max_, help_)                                   \
    {#field_, default_, help_, min_, max_, TD_OPTION_AT(struct_, field_, int64_t), TD_OPTION_INT}
#define TD_OPT_SIZE(struct_, field_, default_, min_, max_, help_)                                  \
    {#field_, default_, help_, min_, max_, TD_OPTION_AT(struct_, field_, int64_t), TD_OPTION_SIZE}
#define TD_OPT_TIME(struct_, field_, default_, min_, max_, help_)                                  \
    {#field_, default_, help_, min_, max_, TD_OPTION_AT(struct_, field_, int64_t), TD_OPTION_TIME}
#define TD_OPTIONS(struct_, ...)                                                                   \
    TD_LIST_OF(td_option, __VA_ARGS__), .settings_size = sizeof(struct_)

/* The offset of a field that has the type that is wanted. */
#ifdef __cplusplus
extern "C++" {
template <class Wanted, class Field>
constexpr uint32_t
td_option_at(size_t offset)
{
    static_assert(__is_same(Wanted, Field), "the field is not of the type that its option wants");
    return static_cast<uint32_t>(offset);
}
}
#define TD_OPTION_AT(struct_, field_, type_)                                                       \
    td_option_at<type_, decltype(static_cast<struct_ *>(nullptr)->field_)>(                        \
        offsetof(struct_, field_))
#else
#define TD_OPTION_AT(struct_, field_, type_)                                                       \
    (uint32_t)(offsetof(struct_, field_) +                                                         \
               0 * sizeof(char[_Generic(&((struct_ *)0)->field_, type_ * : 1)]))
#endif

/*
 * Memory shared by all workers, made by the master and zeroed before the first of them starts.  A
 * reload keeps it as long as instance, name and size stay the same, and so does an upgrade of the
 * daemon, over which its address is another one: use atomics in it and offsets, no pointers.  A
 * layout that changes wants another name.  td_shared gives its address, a whole page's.
 *
 *     .shared = TD_SHARED({"hits", sizeof(struct hits)}),
 */
typedef struct td_shared_memory {
    const char *name TD_ZERO; /* NULL ends the list */
    size_t size TD_ZERO;      /* bytes */
} td_shared_memory;

#define TD_SHARED(...) TD_LIST_OF(td_shared_memory, __VA_ARGS__)

typedef enum td_metric_kind {
    TD_METRIC_COUNTER = 1, /* of what has happened: never falls */
    TD_METRIC_GAUGE,       /* of what is the case now */
} td_metric_kind;

/*
 * A number that the daemon tells beside its own; metrics.h says how it is counted.
 *
 *     .metrics = TD_METRICS(TD_COUNTER("orders", "Orders that were taken."),
 *                           TD_GAUGE("orders_open", "Orders that are being worked on.")),
 *
 * name     [a-zA-Z_][a-zA-Z0-9_]*, at most 63 bytes, once in a file; the name of a metric family of
 *          OpenMetrics.  The text for Prometheus adds _total to a counter's, so neither that nor
 *          _created, _info, _bucket, _count, _sum may end it; tornadod_ begins ours alone.  Say the
 *          unit at its end: orders_bytes.
 * help     a sentence: 1..255 bytes of UTF-8 without control characters.
 *
 *     .metrics = TD_METRICS(TD_COUNTER_BY("sent", "Letters that were sent.", "office", "offices")),
 *
 * One with a label has a number for each of the words (separated by commas and blanks, at most 100
 * of 255 bytes; twice the same is once) that the instance's option of that name holds, a string.
 *
 * label    as a name; none of handler, le and quantile, and not with __ in front.
 *
 * A file has at most 100.  Where several handlers have one of the same name, it is of the same
 * kind.  What breaks a rule is refused when it is loaded.
 */
typedef struct td_metric_info {
    const char *name TD_ZERO; /* NULL ends the list */
    const char *help TD_ZERO;
    uint32_t kind TD_ZERO; /* td_metric_kind */
    const char *label TD_ZERO;  /* NULL: it is one number */
    const char *option TD_ZERO; /* that names the values of the label */
} td_metric_info;

#define TD_COUNTER(name_, help_) TD_COUNTER_BY(name_, help_, NULL, NULL)
#define TD_GAUGE(name_, help_) TD_GAUGE_BY(name_, help_, NULL, NULL)
#define TD_COUNTER_BY(name_, help_, label_, option_)                                               \
    {(name_), (help_), TD_METRIC_COUNTER, (label_), (option_)}
#define TD_GAUGE_BY(name_, help_, label_, option_)                                                 \
    {(name_), (help_), TD_METRIC_GAUGE, (label_), (option_)}
#define TD_METRICS(...) TD_LIST_OF(td_metric_info, __VA_ARGS__)

/*
 * Hooks run on a coroutine (td_await works) in this order, in each worker:
 *
 *   load    once, before the worker is ready: make *state_out.  A failure refuses the start, or at a
 *           reload keeps the old generation; its text is logged with the instance's name.
 *   start   once, when all instances have loaded and before the first request: timers, connections.
 *   drain   the worker is leaving: no new connections come, requests are still being answered.
 *   stop    after the last request: free what load made.
 */
typedef struct td_plugin {
    uint16_t abi_major TD_ZERO, abi_minor TD_ZERO;
    /* Of the structs it was built with. */
    uint16_t plugin_size TD_ZERO, url_size TD_ZERO, class_size TD_ZERO, option_size TD_ZERO;
    uint16_t shared_size TD_ZERO, metric_size TD_ZERO;
    const char *name TD_ZERO, *version TD_ZERO; /* name: 1 byte or more; version NULL: none */
    const td_url *urls TD_ZERO;
    const td_option *options TD_ZERO;
    size_t settings_size TD_ZERO; /* bytes of the struct that options fill in */
    const td_shared_memory *shared TD_ZERO;
    int (*load)(td_instance *instance, void **state_out, td_err *err) TD_ZERO;
    int (*start)(td_instance *instance, td_err *err) TD_ZERO;
    void (*drain)(td_instance *instance) TD_ZERO;
    void (*stop)(td_instance *instance) TD_ZERO;
    void *(*get_current_user)(td_handler *h) TD_ZERO; /* of classes that have none of their own */
    void (*middleware)(td_handler *h) TD_ZERO; /* NULL: it is none; see middleware.h */

    /*
     * What serves a path that no route of the application matches, in place of our 404 page; with
     * its arg for initialize.  A method that it has not is 404 by its write_error, one that nobody
     * has 501, so that one of write_error alone makes the site's own pages of these.  Where several
     * handlers of an application have one, its setting default_handler names the one.
     */
    const td_handler_class *default_handler TD_ZERO;
    const void *default_handler_arg TD_ZERO;

    /*
     * Whether the settings are good, files that they name too.  Asked by tornadod -t and before
     * each start and reload, in a process of its own that has no loop and serves nobody.  0, or an
     * error; one whose text begins with an option's name is told with the line of the ini where
     * that stands.
     */
    int (*check)(const td_instance *instance, td_err *err) TD_ZERO;

    /* A connection to a listener whose protocol is this instance; see tcpserver.h. */
    void (*handle_stream)(td_connection *connection) TD_ZERO;

    bool needs_section TD_ZERO; /* a file that no [handler:NAME] mentions serves nothing */
    const td_metric_info *metrics TD_ZERO;
} td_plugin;

#define TD_PLUGIN_OF(...)                                                                          \
    {.abi_major = TD_ABI_MAJOR,                                                                    \
     .abi_minor = TD_ABI_MINOR,                                                                    \
     .plugin_size = sizeof(td_plugin),                                                             \
     .url_size = sizeof(td_url),                                                                   \
     .class_size = sizeof(td_handler_class),                                                       \
     .option_size = sizeof(td_option),                                                             \
     .shared_size = sizeof(td_shared_memory),                                                      \
     .metric_size = sizeof(td_metric_info),                                                        \
     __VA_ARGS__}

/*
 * In C++ by way of a static one: what stands in the initialiser of a variable that has a linkage
 * has one too, and the dynamic linker would unite the lists of all handlers.
 */
#ifdef __cplusplus
#define TD_PLUGIN(...)                                                                             \
    static const td_plugin td_plugin_here = TD_PLUGIN_OF(__VA_ARGS__);                             \
    TD_EXTERN_C __attribute__((visibility("default"))) const td_plugin tornado_plugin;             \
    const td_plugin tornado_plugin = td_plugin_here
#else
#define TD_PLUGIN(...)                                                                             \
    TD_EXTERN_C __attribute__((visibility("default"))) const td_plugin tornado_plugin;             \
    const td_plugin tornado_plugin = TD_PLUGIN_OF(__VA_ARGS__)
#endif

/* All valid as long as the worker lives. */
TD_API const char *td_instance_name(const td_instance *instance);
TD_API const void *td_instance_settings(const td_instance *instance); /* NULL without options */
TD_API void *td_instance_state(const td_instance *instance);
TD_API void *td_instance_shared(const td_instance *instance, const char *name); /* NULL: not declared */

#endif
