/* The values of settings: numbers, sizes, times, switches and addresses, out of text and back. */
#include "base/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* 1*DIGIT at *text, which moves behind it; false when there is none or it does not fit. */
static bool
take_number(const char **text, int64_t *out)
{
    int64_t value = 0;
    const char *c = *text;

    if (!is_digit(*c))
        return false;
    for (; is_digit(*c); c++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *c - '0', &value))
            return false;
    *text = c;
    *out = value;
    return true;
}

/* ---- whole numbers */

bool
td_value_parse_digits(td_str text, int64_t *out)
{
    int64_t number = 0;

    if (text.len == 0 || text.len > 18)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        number = number * 10 + (text.ptr[i] - '0');
    }
    *out = number;
    return true;
}

int
td_value_parse_int(const char *text, int64_t min, int64_t max, int64_t *out, td_err *err)
{
    const char *rest = text + (text[0] == '-');
    int64_t value;

    if (!take_number(&rest, &value) || *rest != '\0')
        return td_err_set(err, TD_ECONFIG, "'%s' is not a whole number", text);
    if (text[0] == '-')
        value = -value;
    if (value < min || value > max)
        return td_err_set(err, TD_ECONFIG, "'%s' is not between %" PRId64 " and %" PRId64, text,
                          min, max);
    *out = value;
    return 0;
}

/* ---- sizes */

static const struct {
    char letter;
    int shift;
} size_units[] = {{'g', 30}, {'m', 20}, {'k', 10}};

static bool
take_size_unit(const char **text, int64_t *value)
{
    const char letter = (char)(**text | 0x20);

    if (**text == '\0')
        return true;
    for (size_t i = 0; i < sizeof(size_units) / sizeof(size_units[0]); i++)
        if (size_units[i].letter == letter) {
            ++*text;
            return !__builtin_mul_overflow(*value, INT64_C(1) << size_units[i].shift, value);
        }
    return false;
}

void
td_value_format_size(int64_t bytes, char out[TD_VALUE_TEXT_SIZE])
{
    for (size_t i = 0; i < sizeof(size_units) / sizeof(size_units[0]); i++)
        if (bytes > 0 && (bytes & ((INT64_C(1) << size_units[i].shift) - 1)) == 0) {
            snprintf(out, TD_VALUE_TEXT_SIZE, "%" PRId64 "%c", bytes >> size_units[i].shift,
                     size_units[i].letter);
            return;
        }
    snprintf(out, TD_VALUE_TEXT_SIZE, "%" PRId64, bytes);
}

int
td_value_parse_size(const char *text, int64_t min, int64_t max, int64_t *out, td_err *err)
{
    const char *rest = text;
    int64_t value;
    char min_text[TD_VALUE_TEXT_SIZE], max_text[TD_VALUE_TEXT_SIZE];

    if (!take_number(&rest, &value) || !take_size_unit(&rest, &value) || *rest != '\0')
        return td_err_set(err, TD_ECONFIG, "'%s' is not a size such as 4096, 64k, 1m or 2g", text);
    if (value < min || value > max) {
        td_value_format_size(min, min_text);
        td_value_format_size(max, max_text);
        return td_err_set(err, TD_ECONFIG, "'%s' is not between %s and %s", text, min_text,
                          max_text);
    }
    *out = value;
    return 0;
}

/* ---- times */

static const struct {
    const char *name;
    int64_t ms;
} time_units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"ms", 1},
                  {"m", 60000},    {"sec", 1000},  {"s", 1000}};

/* *value times the unit at *text, which moves behind it. */
static bool
take_time_unit(const char **text, int64_t *value)
{
    for (size_t i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++) {
        const size_t len = strlen(time_units[i].name);

        if (strncmp(*text, time_units[i].name, len) != 0)
            continue;
        *text += len;
        return !__builtin_mul_overflow(*value, time_units[i].ms, value);
    }
    return false;
}

/* One or more numbers with units, or a bare number of seconds. */
static bool
take_time(const char *text, int64_t *out)
{
    int64_t part;

    if (!take_number(&text, &part))
        return false;
    if (*text == '\0')
        return !__builtin_mul_overflow(part, 1000, out);
    *out = 0;
    for (;;) {
        text += strspn(text, " ");
        if (!take_time_unit(&text, &part) || __builtin_add_overflow(*out, part, out))
            return false;
        text += strspn(text, " ");
        if (*text == '\0')
            return true;
        if (!take_number(&text, &part))
            return false;
    }
}

void
td_value_format_time(int64_t ms, char out[TD_VALUE_TEXT_SIZE])
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t len = 0;

    if (ms == 0)
        snprintf(out, TD_VALUE_TEXT_SIZE, "0");
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (ms / units[i].ms > 0)
            len += (size_t)snprintf(out + len, TD_VALUE_TEXT_SIZE - len, "%s%" PRId64 "%s",
                                    len > 0 ? " " : "", ms / units[i].ms, units[i].name);
        ms %= units[i].ms;
    }
}

int
td_value_parse_time(const char *text, int64_t min, int64_t max, int64_t *out, td_err *err)
{
    int64_t value;
    char min_text[TD_VALUE_TEXT_SIZE], max_text[TD_VALUE_TEXT_SIZE];

    if (!take_time(text, &value))
        return td_err_set(err, TD_ECONFIG, "'%s' is not a time such as 250ms, 10s or 1h 30m", text);
    if (value < min || value > max) {
        td_value_format_time(min, min_text);
        td_value_format_time(max, max_text);
        return td_err_set(err, TD_ECONFIG, "'%s' is not between %s and %s", text, min_text,
                          max_text);
    }
    *out = value;
    return 0;
}

/* ---- switches */

int
td_value_parse_bool(const char *text, bool *out, td_err *err)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"on", true},  {"off", false}, {"true", true}, {"false", false},
                 {"yes", true}, {"no", false},  {"1", true},    {"0", false},
                 {"t", true},   {"f", false},   {"y", true},    {"n", false}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(words[i].word, text) == 0) {
            *out = words[i].value;
            return 0;
        }
    return td_err_set(err, TD_ECONFIG, "'%s' is neither on nor off", text);
}

/* ---- addresses */

static int
parse_unix_address(const char *text, const char *path, struct sockaddr_storage *out,
                   socklen_t *len_out, td_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t size = strlen(path) + 1;

    if (path[0] != '/')
        return td_err_set(err, TD_ECONFIG, "'%s' is not unix: and a path that begins with /", text);
    if (size > sizeof(address.sun_path))
        return td_err_set(err, TD_ECONFIG, "'%s': the path of a socket has at most %zu bytes", text,
                          sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, size);
    memcpy(out, &address, sizeof(address));
    *len_out = sizeof(address);
    return 0;
}

/* The host of "HOST:PORT" without brackets; false when it cannot be one. */
static bool
split_host(const char *text, const char *colon, char *host, size_t size, bool *is_v6_out)
{
    const bool is_v6 = text[0] == '[';
    size_t len = (size_t)(colon - text);

    if (is_v6) {
        if (len < 2 || text[len - 1] != ']')
            return false;
        text++;
        len -= 2;
    }
    if (len >= size)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    *is_v6_out = is_v6;
    return true;
}

static int
parse_ip_address(const char *text, struct sockaddr_storage *out, socklen_t *len_out)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN];
    int64_t port;
    bool is_v6;

    if (colon == NULL || !split_host(text, colon, host, sizeof(host), &is_v6) ||
        td_value_parse_int(colon + 1, 0, 65535, &port, NULL) < 0 || colon[1] == '-')
        return TD_ECONFIG;

    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, host,
                  is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1)
        return TD_ECONFIG;
    memset(out, 0, sizeof(*out));
    *len_out = is_v6 ? sizeof(v6) : sizeof(v4);
    memcpy(out, is_v6 ? (void *)&v6 : (void *)&v4, *len_out);
    return 0;
}

int
td_value_parse_address(const char *text, struct sockaddr_storage *out, socklen_t *len_out,
                       td_err *err)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix_address(text, text + 5, out, len_out, err);
    if (parse_ip_address(text, out, len_out) < 0)
        return td_err_set(err, TD_ECONFIG,
                          "'%s' is not an address such as 127.0.0.1:8888, [::1]:8888 or "
                          "unix:/run/tornadod/http.sock",
                          text);
    return 0;
}

/* ---- names that were meant */

#define WORD_MAX_BYTES 64

static size_t
smallest(size_t a, size_t b, size_t c)
{
    const size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/*
 * How many letters have to be put in, left out, replaced, or exchanged with their neighbour.
 * Both words have at most WORD_MAX_BYTES.
 */
static size_t
distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX_BYTES + 1];
    size_t *before_last = rows[0], *last = rows[1], *row = rows[2];
    const size_t b_len = strlen(b);

    for (size_t j = 0; j <= b_len; j++)
        last[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = smallest(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smallest(row[j], before_last[j - 2] + 1, row[j]);
        }

        size_t *reused = before_last;

        before_last = last;
        last = row;
        row = reused;
    }
    return last[b_len];
}

const char *
td_nearest(const char *word, const char *const *names, size_t count)
{
    const size_t len = strlen(word);
    const char *nearest = NULL;
    size_t least = (len + 2) / 3 + 1; /* a third of the letters may be wrong */

    if (len == 0 || len > WORD_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const size_t d = strlen(names[i]) <= WORD_MAX_BYTES ? distance(word, names[i]) : least;

        if (d < least) {
            least = d;
            nearest = names[i];
        }
    }
    return nearest;
}
