/*
 * The values of settings, ours and those that handlers declare (see <tornado/plugin.h>): out of
 * text and back.  Parsers return 0 or TD_ECONFIG; the text of the error has no file and line, the
 * caller puts them in front (td_err_prefix).
 */
#ifndef TORNADO_BASE_VALUE_H
#define TORNADO_BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <tornado/error.h>
#include <tornado/str.h>

/* 1*DIGIT, at most 18 of them; false for anything else. */
TD_PRIVATE bool td_value_parse_digits(td_str text, int64_t *out);

TD_PRIVATE int td_value_parse_int(const char *text, int64_t min, int64_t max, int64_t *out,
                                  td_err *err);

/* Bytes: 4096, 64k, 1m, 2g. */
TD_PRIVATE int td_value_parse_size(const char *text, int64_t min, int64_t max, int64_t *out,
                                   td_err *err);

/* Milliseconds: 10s, 250ms, 1h 30m, 2d; a bare number is seconds. */
TD_PRIVATE int td_value_parse_time(const char *text, int64_t min, int64_t max, int64_t *out,
                                   td_err *err);

/* on off true false yes no 1 0 t f y n */
TD_PRIVATE int td_value_parse_bool(const char *text, bool *out, td_err *err);

/* The same the other way round, as short as it can be: "64k", "1h 30m". */
#define TD_VALUE_TEXT_SIZE 64
TD_PRIVATE void td_value_format_size(int64_t bytes, char out[TD_VALUE_TEXT_SIZE]);
TD_PRIVATE void td_value_format_time(int64_t ms, char out[TD_VALUE_TEXT_SIZE]);

/* "127.0.0.1:8888", "[::]:8888", "unix:/run/tornadod/http.sock"; names are not looked up. */
TD_PRIVATE int td_value_parse_address(const char *text, struct sockaddr_storage *out,
                                      socklen_t *len_out, td_err *err);

/* Of `count` names the one nearest to `word` (edit distance), NULL when none is near. */
TD_PRIVATE const char *td_nearest(const char *word, const char *const *names, size_t count);

#endif
