/*
 * td_write_json: JSON as Python's json.dumps writes it (", " between members, ": " behind a key,
 * numbers as repr shows them), and with "</" as "<\/" so that it may stand in a script element, as
 * Tornado has it.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/escape.h"
#include "web/json.h"

#define DIGITS_MAX 17 /* that many tell any two doubles apart */

/* The shortest decimal digits that read back as `value` (finite, > 0): 0.DDD * 10^*exponent_out. */
static size_t
shortest_digits(double value, char digits[DIGITS_MAX], int *exponent_out)
{
    char text[32];
    size_t count = 0;

    /*
     * 15 digits always survive the way there and back, so that fewer show as zeros at the end; but
     * not those of a subnormal number, which has less precision.
     */
    for (int precision = value < DBL_MIN ? 1 : 15; precision <= DIGITS_MAX; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    *exponent_out = atoi(strchr(text, 'e') + 1) + 1;
    for (const char *p = text; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') /* the rest is the decimal point of the locale */
            digits[count++] = *p;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    return count;
}

static void
append_zeros(td_buf *out, int count)
{
    for (; count > 0; count--)
        td_buf_append(out, TD_STR("0"));
}

static void
append_double(td_buf *out, double value)
{
    char digits[DIGITS_MAX];
    size_t count;
    int exponent, whole;

    if (!isfinite(value)) {
        td_buf_append(out, TD_STR("null"));
        return;
    }
    if (signbit(value))
        td_buf_append(out, TD_STR("-"));
    if (value == 0) {
        td_buf_append(out, TD_STR("0.0"));
        return;
    }
    count = shortest_digits(fabs(value), digits, &exponent);
    if (exponent < -3 || exponent > 16) { /* 1e-05, 1.5e+16 */
        td_buf_append(out, td_str_make(digits, 1));
        if (count > 1)
            td_buf_append(out, TD_STR("."));
        td_buf_append(out, td_str_make(digits + 1, count - 1));
        td_buf_printf(out, "e%+03d", exponent - 1);
        return;
    }
    whole = exponent < (int)count ? exponent : (int)count;
    if (whole <= 0) { /* 0.00012 */
        td_buf_append(out, TD_STR("0."));
        append_zeros(out, -exponent);
        td_buf_append(out, td_str_make(digits, count));
        return;
    }
    td_buf_append(out, td_str_make(digits, (size_t)whole));
    append_zeros(out, exponent - whole);
    td_buf_append(out, TD_STR("."));
    if ((size_t)whole == count)
        td_buf_append(out, TD_STR("0"));
    td_buf_append(out, td_str_make(digits + whole, count - (size_t)whole));
}

void
td_json_append_string(td_buf *out, td_str s)
{
    td_buf_append(out, TD_STR("\""));
    td_json_escape(out, s);
    td_buf_append(out, TD_STR("\""));
}

void
td_json_append_value(td_buf *out, const td_json_pair *pair)
{
    switch ((td_json_type)pair->type) {
    case TD_JSON_STRING:
        td_json_append_string(out, pair->string);
        break;
    case TD_JSON_INT:
        td_buf_printf(out, "%lld", (long long)pair->integer);
        break;
    case TD_JSON_DOUBLE:
        append_double(out, pair->number);
        break;
    case TD_JSON_BOOL:
        td_buf_append(out, pair->integer != 0 ? TD_STR("true") : TD_STR("false"));
        break;
    case TD_JSON_RAW:
        td_buf_append(out, pair->string);
        break;
    case TD_JSON_NULL:
    default:
        td_buf_append(out, TD_STR("null"));
    }
}

/* "</" occurs in strings only, where "\/" is the same. */
int
td_json_send(td_handler *h, td_str json)
{
    int rc = 0;

    while (json.len > 0 && rc == 0) {
        const char *at = memmem(json.ptr, json.len, "</", 2);
        size_t len = at != NULL ? (size_t)(at + 1 - json.ptr) : json.len;

        rc = td_write(h, td_str_make(json.ptr, len));
        if (rc == 0 && at != NULL)
            rc = td_write(h, TD_STR("\\"));
        json = td_str_make(json.ptr + len, json.len - len);
    }
    return rc;
}

void
td_json_set_type(td_handler *h)
{
    if (!h->headers_written && !h->finished)
        td_set_header(h, "Content-Type", "application/json; charset=UTF-8");
}

int
td_write_json_object(td_handler *h, const td_json_pair *pairs, size_t count)
{
    /* td_write may raise, so the buffer is released by the unwinding, too. */
    td_buf out __attribute__((cleanup(td_buf_release))) = {0};

    if (!td_handler_usable(h, "td_write_json"))
        return TD_EINVAL;
    if (pairs == NULL && count > 0)
        return td_handler_misuse(h, "td_write_json", "there are no pairs");
    for (size_t i = 0; i < count; i++)
        if (pairs[i].key == NULL)
            return td_handler_misuse(h, "td_write_json", "a key is NULL");
    td_buf_append(&out, TD_STR("{"));
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            td_buf_append(&out, TD_STR(", "));
        td_json_append_string(&out, td_str_of(pairs[i].key));
        td_buf_append(&out, TD_STR(": "));
        td_json_append_value(&out, &pairs[i]);
    }
    td_buf_append(&out, TD_STR("}"));
    td_json_set_type(h);
    return td_json_send(h, td_buf_str(&out));
}
