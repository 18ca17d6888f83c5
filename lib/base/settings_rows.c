/* options.def as tables. */
#include "base/settings_rows.h"

#include <stddef.h>

#define TD_BETWEEN(min_, max_) .min = (min_), .max = (max_)
#define TD_WORD_OR(word_, min_, max_) .word = (word_), .min = (min_), .max = (max_)
#define TD_ONE_OF(...) .choices = (const char *const[]){__VA_ARGS__, NULL}
#define TD_OR_WORD(word_) .word = (word_)
#define TD_ANY .word = NULL
#define ROW(struct_, field_, key_, kind_, default__, text_, ...)                                   \
    {.key = (key_),                                                                                \
     .kind = TD_KIND_##kind_,                                                                      \
     .default_text = default__,                                                                    \
     .text = (text_),                                                                              \
     .offset = offsetof(struct_, field_),                                                          \
     __VA_ARGS__},

static const td_setting_row tornadod_rows[] = {
#define TD_TORNADOD(field, key, kind, default_, bounds, text)                                      \
    ROW(td_tornadod_settings, field, key, kind, default_, text, bounds)
#include "base/options.def"
};

static const td_setting_row log_rows[] = {
#define TD_LOGGING(field, key, kind, default_, bounds, text)                                       \
    ROW(td_log_settings, field, key, kind, default_, text, bounds)
#include "base/options.def"
};

static const td_setting_row listener_rows[] = {
#define TD_LISTENER(field, key, kind, default_, bounds, text)                                      \
    ROW(td_listener_settings, field, key, kind, default_, text, bounds)
#include "base/options.def"
};

static const td_setting_row application_rows[] = {
#define TD_APPLICATION(field, key, kind, default_, bounds, text)                                   \
    ROW(td_application_settings, field, key, kind, default_, text, bounds)
#include "base/options.def"
};

static const td_setting_row handler_rows[] = {
#define TD_HANDLER(field, key, kind, default_, bounds, text)                                       \
    ROW(td_handler_settings, field, key, kind, default_, text, bounds)
#include "base/options.def"
};

const td_setting_row td_limit_rows[] = {
#define TD_LIMIT(field, key, kind, default_, bounds, scopes_, text)                                \
    ROW(td_limits, field, key, kind, default_, text, .scopes = (scopes_), bounds)
#include "base/options.def"
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const size_t td_limit_rows_count = COUNT_OF(td_limit_rows);

const td_section_kind td_section_kinds[TD_SECTIONS_COUNT] = {
    [TD_SECTION_TORNADOD] = {"tornadod", false, TD_IN_TORNADOD, tornadod_rows,
                             COUNT_OF(tornadod_rows), "The daemon."},
    [TD_SECTION_LOG] = {"log", false, 0, log_rows, COUNT_OF(log_rows),
                        "What is logged, and where."},
    [TD_SECTION_LISTEN] = {"listen", true, TD_IN_LISTENER, listener_rows, COUNT_OF(listener_rows),
                           "A socket that requests come from. Without any such section there is "
                           "one with these defaults."},
    [TD_SECTION_APPLICATION] = {"application", true, TD_IN_APPLICATION, application_rows,
                                COUNT_OF(application_rows),
                                "Handlers that serve together. [application] is short for "
                                "[application:default], which is there without being mentioned."},
    [TD_SECTION_HANDLER] = {"handler", true, TD_IN_HANDLER, handler_rows, COUNT_OF(handler_rows),
                            "A handler and the options that it has declared itself. A file in the "
                            "directory of the handlers that no section mentions is served as if "
                            "there were one with these defaults."},
};
