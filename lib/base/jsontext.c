#include "base/jsontext.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/escape.h"

/* ---- numbers */

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

/* ---- nesting */

static void
append_string(td_buf *out, td_str s)
{
    td_buf_append(out, TD_STR("\""));
    td_json_escape(out, s);
    td_buf_append(out, TD_STR("\""));
}

/* What stands in front of a value; where that goes. */
static td_buf *
begin_value(td_jsontext *text, const char *key)
{
    if (text->is_filled)
        td_buf_append(text->to, TD_STR(", "));
    if (key != NULL) {
        append_string(text->to, td_str_of(key));
        td_buf_append(text->to, TD_STR(": "));
    }
    text->is_filled = true;
    return text->to;
}

static void
open_level(td_jsontext *text, const char *key, bool is_array)
{
    TD_ASSERT(text->depth < TD_JSONTEXT_DEPTH);
    td_buf_append(begin_value(text, key), is_array ? TD_STR("[") : TD_STR("{"));
    text->arrays &= ~(UINT64_C(1) << text->depth);
    text->arrays |= (uint64_t)is_array << text->depth;
    text->depth++;
    text->is_filled = false;
}

void
td_jsontext_open_object(td_jsontext *text, const char *key)
{
    open_level(text, key, false);
}

void
td_jsontext_open_array(td_jsontext *text, const char *key)
{
    open_level(text, key, true);
}

bool
td_jsontext_is_in_array(const td_jsontext *text)
{
    return text->depth > 0 && (text->arrays >> (text->depth - 1) & 1) != 0;
}

void
td_jsontext_close(td_jsontext *text)
{
    TD_ASSERT(text->depth > 0);
    td_buf_append(text->to, td_jsontext_is_in_array(text) ? TD_STR("]") : TD_STR("}"));
    text->depth--;
    text->is_filled = true;
}

/* ---- values */

void
td_jsontext_str(td_jsontext *text, const char *key, td_str value)
{
    append_string(begin_value(text, key), value);
}

void
td_jsontext_string(td_jsontext *text, const char *key, const char *value)
{
    if (value != NULL)
        td_jsontext_str(text, key, td_str_of(value));
    else
        td_jsontext_raw(text, key, TD_STR("null"));
}

void
td_jsontext_number(td_jsontext *text, const char *key, uint64_t value)
{
    td_buf_decimal(begin_value(text, key), value);
}

void
td_jsontext_signed(td_jsontext *text, const char *key, int64_t value)
{
    td_buf_printf(begin_value(text, key), "%" PRId64, value);
}

void
td_jsontext_double(td_jsontext *text, const char *key, double value)
{
    append_double(begin_value(text, key), value);
}

void
td_jsontext_bool(td_jsontext *text, const char *key, bool value)
{
    td_jsontext_raw(text, key, value ? TD_STR("true") : TD_STR("false"));
}

void
td_jsontext_raw(td_jsontext *text, const char *key, td_str json)
{
    td_buf_append(begin_value(text, key), json);
}
