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
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/handler.h>

typedef struct td_instance td_instance; /* one instance in one worker */

/*
 * One route.  pattern: a PCRE2 regular expression that is matched against the whole raw path, from
 * the mount point on, with named groups ((?<n>...) or (?P<n>...)) or positional ones, not both.
 */
typedef struct td_url {
    const char *pattern;               /* NULL ends the list */
    const td_handler_class *handler;
    const char *name;                  /* for td_reverse_url; NULL: none */
    const void *initialize_arg;        /* given to the class's initialize */
} td_url;

#ifdef __cplusplus
#define TD_URL(pattern_, handler_, ...) td_url{.pattern = (pattern_), .handler = (handler_), ##__VA_ARGS__}
#else
#define TD_URL(pattern_, handler_, ...) {.pattern = (pattern_), .handler = (handler_), ##__VA_ARGS__}
#define TD_URLS(...) ((const td_url[]){__VA_ARGS__, {.pattern = NULL}})
#endif

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
    const char *name;
    const char *default_value; /* as it would stand in the ini; NULL: the key is required */
    const char *help;
    int64_t min, max;          /* both 0: any */
    uint32_t offset;
    uint32_t type;             /* td_option_type */
} td_option;

/*
 *     struct settings { const char *greeting; int64_t ping_ms; };
 *     .options = TD_OPTIONS(struct settings,
 *                           TD_OPT_STRING(struct settings, greeting, "Hello", "what to say"),
 *                           TD_OPT_TIME(struct settings, ping_ms, "10s", 100, 3600000, "pause")),
 */
#define TD_OPT_STRING(struct_, field_, default_, help_)                                            \
    {#field_, default_, help_, 0, 0, offsetof(struct_, field_), TD_OPTION_STRING}
#define TD_OPT_BOOL(struct_, field_, default_, help_)                                              \
    {#field_, default_, help_, 0, 0, offsetof(struct_, field_), TD_OPTION_BOOL}
#define TD_OPT_INT(struct_, field_, default_, min_, max_, help_)                                   \
    {#field_, default_, help_, min_, max_, offsetof(struct_, field_), TD_OPTION_INT}
#define TD_OPT_SIZE(struct_, field_, default_, min_, max_, help_)                                  \
    {#field_, default_, help_, min_, max_, offsetof(struct_, field_), TD_OPTION_SIZE}
#define TD_OPT_TIME(struct_, field_, default_, min_, max_, help_)                                  \
    {#field_, default_, help_, min_, max_, offsetof(struct_, field_), TD_OPTION_TIME}
#ifndef __cplusplus
#define TD_OPTIONS(struct_, ...)                                                                   \
    ((const td_option[]){__VA_ARGS__, {.name = NULL}}), .settings_size = sizeof(struct_)
#endif

/*
 * Memory shared by all workers, made by the master, zeroed, kept across reloads of the same size:
 *
 *     .shared = TD_SHARED({"hits", sizeof(struct hits)}),
 */
typedef struct td_shared {
    const char *name; /* NULL ends the list */
    size_t size;      /* bytes */
} td_shared;

#ifndef __cplusplus
#define TD_SHARED(...) ((const td_shared[]){__VA_ARGS__, {NULL, 0}})
#endif

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
    uint16_t abi_major, abi_minor;
    uint16_t plugin_size, url_size, class_size, option_size; /* of the structs it was built with */
    const char *name, *version;
    const td_url *urls;
    const td_option *options;
    size_t settings_size; /* bytes of the struct that options fill in */
    const td_shared *shared;
    int (*load)(td_instance *instance, void **state_out, td_err *err);
    int (*start)(td_instance *instance, td_err *err);
    void (*drain)(td_instance *instance);
    void (*stop)(td_instance *instance);
} td_plugin;

#define TD_PLUGIN(...)                                                                             \
    TD_EXTERN_C __attribute__((visibility("default"))) const td_plugin tornado_plugin;             \
    const td_plugin tornado_plugin = {.abi_major = TD_ABI_MAJOR,                                   \
                                      .abi_minor = TD_ABI_MINOR,                                   \
                                      .plugin_size = sizeof(td_plugin),                            \
                                      .url_size = sizeof(td_url),                                  \
                                      .class_size = sizeof(td_handler_class),                      \
                                      .option_size = sizeof(td_option),                            \
                                      __VA_ARGS__}

/* All valid as long as the worker lives. */
TD_API const char *td_instance_name(const td_instance *instance);
TD_API const void *td_instance_settings(const td_instance *instance); /* NULL without options */
TD_API void *td_instance_state(const td_instance *instance);
TD_API void *td_instance_shared(const td_instance *instance, const char *name); /* NULL: not declared */

#endif
