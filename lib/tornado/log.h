/* Logging for handlers: one line a call, with the plugin's name in front.  Thread-safe. */
#ifndef TORNADO_LOG_H
#define TORNADO_LOG_H

#include <stdbool.h>
#include <tornado/abi.h>

typedef enum td_log_level {
    TD_LOG_DEBUG,
    TD_LOG_INFO,
    TD_LOG_WARNING,
    TD_LOG_ERROR,
    TD_LOG_CRITICAL,
} td_log_level;

/*
 * Format like printf, no newline at the end.  Control bytes in the result are written as \xNN; past
 * 4 KiB it is cut.  Never waits: what cannot be written at once is dropped, and counted in the log.
 */
TD_API void td_log(td_log_level level, const char *format, ...) TD_PRINTF(2, 3);

/*
 * Whether such a line would be logged: by log_level of the handler's section, or level of [log].
 * td_log asks that first of all; this is for lines whose arguments are expensive.
 */
TD_API bool td_log_enabled(td_log_level level);

#define td_log_debug(...) td_log(TD_LOG_DEBUG, __VA_ARGS__)
#define td_log_info(...) td_log(TD_LOG_INFO, __VA_ARGS__)
#define td_log_warning(...) td_log(TD_LOG_WARNING, __VA_ARGS__)
#define td_log_error(...) td_log(TD_LOG_ERROR, __VA_ARGS__)

#endif
