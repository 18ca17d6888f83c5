/* Goal: a value is read if it is good and in range; if not, the text says what would be. */
#include "base/value.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include "unit.h"

typedef int parse_fn(const char *text, int64_t min, int64_t max, int64_t *out, td_err *err);

#define NO_INT "is not a whole number"
#define NO_SIZE "is not a size such as 4096, 64k, 1m or 2g"
#define NO_TIME "is not a time such as 250ms, 10s or 1h 30m"

static const struct {
    parse_fn *parse;
    const char *text;
    int64_t min, max, value;
    const char *error; /* behind the quoted text; NULL: it is good */
} numbers[] = {
    {td_value_parse_int, "0", -10, 10, 0, NULL},
    {td_value_parse_int, "-10", -10, 10, -10, NULL},
    {td_value_parse_int, "007", -10, 10, 7, NULL},
    {td_value_parse_int, "9223372036854775807", 0, INT64_MAX, INT64_MAX, NULL},
    {td_value_parse_int, "11", -10, 10, 0, "is not between -10 and 10"},
    {td_value_parse_int, "9223372036854775808", 0, INT64_MAX, 0, NO_INT},
    {td_value_parse_int, "", -10, 10, 0, NO_INT},
    {td_value_parse_int, "-", -10, 10, 0, NO_INT},
    {td_value_parse_int, "--1", -10, 10, 0, NO_INT},
    {td_value_parse_int, "+1", -10, 10, 0, NO_INT},
    {td_value_parse_int, " 1", -10, 10, 0, NO_INT},
    {td_value_parse_int, "1 ", -10, 10, 0, NO_INT},
    {td_value_parse_int, "1.0", -10, 10, 0, NO_INT},
    {td_value_parse_int, "0x1", -10, 10, 0, NO_INT},
    {td_value_parse_size, "0", 0, 100, 0, NULL},
    {td_value_parse_size, "4096", 0, INT64_MAX, 4096, NULL},
    {td_value_parse_size, "64k", 0, INT64_MAX, 65536, NULL},
    {td_value_parse_size, "1M", 0, INT64_MAX, 1048576, NULL},
    {td_value_parse_size, "2g", 0, INT64_MAX, 2147483648, NULL},
    {td_value_parse_size, "1k", 4096, 65536, 0, "is not between 4k and 64k"},
    {td_value_parse_size, "9223372036854775807k", 0, INT64_MAX, 0, NO_SIZE},
    {td_value_parse_size, "", 0, 100, 0, NO_SIZE},
    {td_value_parse_size, "k", 0, 100, 0, NO_SIZE},
    {td_value_parse_size, "-1", 0, 100, 0, NO_SIZE},
    {td_value_parse_size, "1kb", 0, INT64_MAX, 0, NO_SIZE},
    {td_value_parse_size, "1 k", 0, INT64_MAX, 0, NO_SIZE},
    {td_value_parse_size, "1t", 0, INT64_MAX, 0, NO_SIZE},
    {td_value_parse_time, "0", 0, 100, 0, NULL},
    {td_value_parse_time, "10", 0, 60000, 10000, NULL},
    {td_value_parse_time, "250ms", 0, 60000, 250, NULL},
    {td_value_parse_time, "10s", 0, 60000, 10000, NULL},
    {td_value_parse_time, "10 sec", 0, 60000, 10000, NULL},
    {td_value_parse_time, "1m", 0, 60000, 60000, NULL},
    {td_value_parse_time, "1min", 0, 60000, 60000, NULL},
    {td_value_parse_time, "1h 30m", 0, INT64_MAX, 5400000, NULL},
    {td_value_parse_time, "1h30m5s1ms", 0, INT64_MAX, 5405001, NULL},
    {td_value_parse_time, "2d", 0, INT64_MAX, 172800000, NULL},
    {td_value_parse_time, "2h", 10, 3600000, 0, "is not between 10ms and 1h"},
    {td_value_parse_time, "", 0, 100, 0, NO_TIME},
    {td_value_parse_time, "s", 0, 100, 0, NO_TIME},
    {td_value_parse_time, "-1s", 0, 100, 0, NO_TIME},
    {td_value_parse_time, "1h 30", 0, INT64_MAX, 0, NO_TIME},
    {td_value_parse_time, "1h 30x", 0, INT64_MAX, 0, NO_TIME},
    {td_value_parse_time, "1.5s", 0, INT64_MAX, 0, NO_TIME},
    {td_value_parse_time, "1 ", 0, INT64_MAX, 0, NO_TIME},
    {td_value_parse_time, "9223372036854775807s", 0, INT64_MAX, 0, NO_TIME},
    {td_value_parse_time, "9223372036854775807ms 1ms", 0, INT64_MAX, 0, NO_TIME},
};

static const struct {
    const char *text;
    int64_t value; /* -1: no number */
} digits[] = {
    {"0", 0},   {"007", 7}, {"999999999999999999", INT64_C(999999999999999999)},
    {"", -1},   {"-1", -1}, {"1000000000000000000", -1},
    {"1 ", -1}, {"+1", -1}, {"1_0", -1}, {"0x1", -1},
};

START_TEST(digits_are_a_number_or_not)
{
    int64_t value = -1;
    const bool good = td_value_parse_digits(td_str_of(digits[_i].text), &value);

    ck_assert_int_eq(good, digits[_i].value >= 0);
    ck_assert_int_eq(value, digits[_i].value);
}
END_TEST

START_TEST(numbers_sizes_and_times)
{
    int64_t value = 77;
    td_err err;
    const int rc = numbers[_i].parse(numbers[_i].text, numbers[_i].min, numbers[_i].max, &value,
                                     &err);
    char error[128];

    if (numbers[_i].error == NULL) {
        ck_assert_int_eq(rc, 0);
        ck_assert_int_eq(value, numbers[_i].value);
        return;
    }
    snprintf(error, sizeof(error), "'%s' %s", numbers[_i].text, numbers[_i].error);
    ck_assert_int_eq(rc, TD_ECONFIG);
    ck_assert_str_eq(err.text, error);
    ck_assert_int_eq(value, 77);
}
END_TEST

static const struct {
    void (*format)(int64_t value, char out[TD_VALUE_TEXT_SIZE]);
    parse_fn *parse;
    int64_t value;
    const char *text;
} texts[] = {
    {td_value_format_size, td_value_parse_size, 0, "0"},
    {td_value_format_size, td_value_parse_size, 1000, "1000"},
    {td_value_format_size, td_value_parse_size, 1025, "1025"},
    {td_value_format_size, td_value_parse_size, 65536, "64k"},
    {td_value_format_size, td_value_parse_size, 1073741824, "1g"},
    {td_value_format_size, td_value_parse_size, INT64_MAX, "9223372036854775807"},
    {td_value_format_time, td_value_parse_time, 0, "0"},
    {td_value_format_time, td_value_parse_time, 250, "250ms"},
    {td_value_format_time, td_value_parse_time, 65000, "1m 5s"},
    {td_value_format_time, td_value_parse_time, 90061001, "1d 1h 1m 1s 1ms"},
    {td_value_format_time, td_value_parse_time, INT64_MAX, "106751991167d 7h 12m 55s 807ms"},
};

START_TEST(what_is_written_reads_back)
{
    char text[TD_VALUE_TEXT_SIZE];
    int64_t value;

    texts[_i].format(texts[_i].value, text);
    ck_assert_str_eq(text, texts[_i].text);
    ck_assert_int_eq(texts[_i].parse(text, 0, INT64_MAX, &value, NULL), 0);
    ck_assert_int_eq(value, texts[_i].value);
}
END_TEST

static const struct {
    const char *text;
    int value; /* -1: refused */
} switches[] = {
    {"on", 1}, {"ON", 1},   {"true", 1}, {"yes", 1}, {"y", 1},  {"t", 1},     {"1", 1},
    {"off", 0}, {"False", 0}, {"no", 0},   {"n", 0},   {"f", 0},  {"0", 0},     {"", -1},
    {"2", -1}, {"onn", -1}, {"enable", -1}, {" on", -1},
};

START_TEST(switches_have_many_words)
{
    bool value = false;
    td_err err;
    const int rc = td_value_parse_bool(switches[_i].text, &value, &err);

    ck_assert_int_eq(rc, switches[_i].value < 0 ? TD_ECONFIG : 0);
    ck_assert_int_eq(value, switches[_i].value == 1);
}
END_TEST

static const struct {
    const char *text;
    int family; /* 0: refused */
    const char *host;
    int port;
} addresses[] = {
    {"127.0.0.1:8888", AF_INET, "127.0.0.1", 8888},
    {"0.0.0.0:0", AF_INET, "0.0.0.0", 0},
    {"[::]:8888", AF_INET6, "::", 8888},
    {"[::1]:65535", AF_INET6, "::1", 65535},
    {"[fe80::1:2]:1", AF_INET6, "fe80::1:2", 1},
    {"unix:/run/x.sock", AF_UNIX, "/run/x.sock", 0},
    {"", 0, NULL, 0},
    {"8888", 0, NULL, 0},
    {":8888", 0, NULL, 0},
    {"localhost:8888", 0, NULL, 0},
    {"127.0.0.1", 0, NULL, 0},
    {"127.0.0.1:", 0, NULL, 0},
    {"127.0.0.1:65536", 0, NULL, 0},
    {"127.0.0.1:-0", 0, NULL, 0},
    {"127.0.0.1:80 ", 0, NULL, 0},
    {"127.0.0.1:0x50", 0, NULL, 0},
    {"127.0.0.256:80", 0, NULL, 0},
    {"::1:80", 0, NULL, 0},
    {"[::1:80", 0, NULL, 0},
    {"[]:80", 0, NULL, 0},
    {"[127.0.0.1]:80", 0, NULL, 0},
    {"[::1]80", 0, NULL, 0},
    {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]:80", 0, NULL, 0},
    {"unix:", 0, NULL, 0},
    {"unix:relative.sock", 0, NULL, 0},
};

START_TEST(addresses_are_numbers_or_paths)
{
    struct sockaddr_storage address;
    socklen_t len;
    char host[INET6_ADDRSTRLEN] = "";
    td_err err;
    const int rc = td_value_parse_address(addresses[_i].text, &address, &len, &err);
    const struct sockaddr_in *v4 = (const void *)&address;
    const struct sockaddr_in6 *v6 = (const void *)&address;
    const struct sockaddr_un *local = (const void *)&address;

    if (addresses[_i].family == 0) {
        ck_assert_int_eq(rc, TD_ECONFIG);
        return;
    }
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_int_eq(address.ss_family, addresses[_i].family);
    if (address.ss_family == AF_UNIX) {
        ck_assert_uint_eq(len, sizeof(*local));
        ck_assert_str_eq(local->sun_path, addresses[_i].host);
        return;
    }
    ck_assert_uint_eq(len, address.ss_family == AF_INET ? sizeof(*v4) : sizeof(*v6));
    inet_ntop(address.ss_family,
              address.ss_family == AF_INET ? (const void *)&v4->sin_addr : &v6->sin6_addr, host,
              sizeof(host));
    ck_assert_str_eq(host, addresses[_i].host);
    ck_assert_int_eq(ntohs(v4->sin_port), addresses[_i].port); /* both have it at the same place */
}
END_TEST

START_TEST(the_path_of_a_socket_has_at_most_107_bytes)
{
    struct sockaddr_storage address;
    char text[128];
    socklen_t len;

    snprintf(text, sizeof(text), "unix:/%0106d", 1);
    ck_assert_int_eq(td_value_parse_address(text, &address, &len, NULL), 0);
    snprintf(text, sizeof(text), "unix:/%0107d", 1);
    ck_assert_int_eq(td_value_parse_address(text, &address, &len, NULL), TD_ECONFIG);
}
END_TEST

static const struct {
    const char *word, *nearest;
} typos[] = {
    {"workers", "workers"},       {"worker", "workers"},  {"wrokers", "workers"},
    {"Workers", "workers"},       {"handler", "handlers"}, {"pidfile", "pid_file"},
    {"max_heder_siz", "max_header_size"}, {"user", "user"}, {"usre", "user"},
    {"", NULL},                   {"x", NULL},            {"port", NULL},
    {"compress_response", NULL},
};

START_TEST(the_nearest_name_is_the_one_that_was_meant)
{
    static const char *const names[] = {"workers", "handlers", "user", "pid_file",
                                        "max_header_size", "max_headers"};
    const char *nearest = td_nearest(typos[_i].word, names, COUNT_OF(names));

    if (typos[_i].nearest == NULL)
        ck_assert_ptr_null(nearest);
    else
        ck_assert_pstr_eq(nearest, typos[_i].nearest);
}
END_TEST

START_TEST(long_words_are_near_nothing)
{
    char word[200];
    const char *names[] = {word};

    memset(word, 'x', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    ck_assert_ptr_null(td_nearest(word, names, 1));
    ck_assert_ptr_null(td_nearest("xx", names, 1));
    word[64] = '\0';
    ck_assert_ptr_eq(td_nearest(word, names, 1), word);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, numbers_sizes_and_times, numbers);
    ADD_TABLE(tcase, digits_are_a_number_or_not, digits);
    ADD_TABLE(tcase, what_is_written_reads_back, texts);
    ADD_TABLE(tcase, switches_have_many_words, switches);
    ADD_TABLE(tcase, addresses_are_numbers_or_paths, addresses);
    tcase_add_test(tcase, the_path_of_a_socket_has_at_most_107_bytes);
    ADD_TABLE(tcase, the_nearest_name_is_the_one_that_was_meant, typos);
    tcase_add_test(tcase, long_words_are_near_nothing);
}

int
main(void)
{
    return unit_run("value", fill);
}
