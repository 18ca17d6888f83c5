/* Values that cannot be understood are treated as if they were not there, as the RFC wants it. */
#include "web/conditional.h"

#include "base/clock.h"
#include "base/escape.h"
#include "http/accept.h"

/* ---- entity tags */

/*
 * Take the next `*` or entity tag (without its W/) off the front; the null string: no more.
 *
 *   entity-tag = [ weak ] opaque-tag
 *   weak       = %s"W/"
 *   opaque-tag = DQUOTE *etagc DQUOTE
 */
static td_str
next_tag(td_str *list, bool *is_weak_out)
{
    const char *p = list->ptr, *end = p + list->len;
    td_str tag = {NULL, 0};

    while (p < end && *p != '*' && *p != '"')
        p++;
    *is_weak_out = p - list->ptr >= 2 && p[-1] == '/' && p[-2] == 'W';
    if (p < end && *p == '*') {
        tag = td_str_make(p, 1);
    } else if (p < end) {
        const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));

        if (close != NULL)
            tag = td_str_make(p, (size_t)(close + 1 - p));
    }
    *list = td_str_is_null(tag) ? td_str_make(end, 0)
                                : td_str_make(tag.ptr + tag.len, (size_t)(end - tag.ptr) - tag.len);
    return tag;
}

/* "x-gzip" of "x". */
static bool
is_coded(td_str tag, td_str ours)
{
    if (tag.len <= ours.len || ours.len < 2 || tag.ptr[ours.len - 1] != '-' ||
        memcmp(tag.ptr, ours.ptr, ours.len - 1) != 0)
        return false;
    const td_str coding = {tag.ptr + ours.len, tag.len - ours.len - 1};

    for (int i = 0; i < TD_CODING_IDENTITY; i++)
        if (td_str_equal(coding, td_coding_name((td_coding)i)))
            return true;
    return false;
}

/* The first of the list that is etag; the null string: none, or `*`. */
static td_str
find_tag(td_str etag, td_str list, bool weakly)
{
    bool ours_is_weak, is_weak;
    const td_str ours = next_tag(&etag, &ours_is_weak);
    td_str tag = next_tag(&list, &is_weak);

    while (!td_str_is_null(tag) && ((!weakly && (is_weak || ours_is_weak)) ||
                                    !(td_str_equal(tag, ours) || is_coded(tag, ours))))
        tag = next_tag(&list, &is_weak);
    return tag;
}

bool
td_etag_is_in(td_str etag, td_str list, bool weakly)
{
    bool is_weak;
    td_str rest = list;

    return td_str_equal(next_tag(&rest, &is_weak), TD_STR("*")) ||
           !td_str_is_null(find_tag(etag, list, weakly));
}

td_str
td_etag_known(td_str etag, td_str list)
{
    return find_tag(etag, list, true);
}

/* ---- ranges */

/* Take 1*DIGIT off the front; too large a number is as large as it can be. */
static bool
take_number(td_str *s, uint64_t *out)
{
    uint64_t number = 0;
    bool fits = true;
    size_t i = 0;

    for (; i < s->len && td_byte_is(s->ptr[i], TD_BYTE_DIGIT); i++)
        fits = fits && !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(s->ptr[i] - '0'), &number);
    *s = td_str_make(s->ptr + i, s->len - i);
    *out = fits ? number : UINT64_MAX;
    return i > 0;
}

static bool
take_byte(td_str *s, char byte)
{
    if (s->len == 0 || s->ptr[0] != byte)
        return false;
    *s = td_str_make(s->ptr + 1, s->len - 1);
    return true;
}

/*
 *   int-range    = first-pos "-" [ last-pos ]
 *   suffix-range = "-" suffix-length
 *
 * 206 and the piece, perhaps all; 416; or 200: it is not valid, as one with last-pos < first-pos is
 * not (section 14.1.1).
 */
static int
parse_range(td_str rest, uint64_t size, td_byte_range *out)
{
    uint64_t first, last = UINT64_MAX;

    if (take_byte(&rest, '-')) {
        if (!take_number(&rest, &last) || rest.len > 0)
            return 200;
        if (last == 0)
            return 416;
        if (last > size)
            last = size;
        *out = (td_byte_range){size - last, last};
        return 206;
    }
    if (!take_number(&rest, &first) || !take_byte(&rest, '-'))
        return 200;
    if (rest.len > 0 && (!take_number(&rest, &last) || rest.len > 0 || last < first))
        return 200;
    if (first >= size)
        return 416;
    if (last >= size)
        last = size - 1;
    *out = (td_byte_range){first, last - first + 1};
    return 206;
}

static bool
touch(td_byte_range a, td_byte_range b)
{
    return a.first <= b.first + b.length && b.first <= a.first + a.length;
}

static td_byte_range
join(td_byte_range a, td_byte_range b)
{
    const uint64_t first = a.first < b.first ? a.first : b.first;
    const uint64_t end_a = a.first + a.length, end_b = b.first + b.length;

    return (td_byte_range){first, (end_a > end_b ? end_a : end_b) - first};
}

/*
 * Section 15.3.7.2: those that overlap may become one, so never is more sent than the file has.  It
 * stands where the first of them stood; joined, it may touch others.
 */
static void
add_range(td_byte_ranges *ranges, td_byte_range range)
{
    size_t place = ranges->count;

    for (size_t i = 0; i < ranges->count;) {
        if (!touch(ranges->items[i], range)) {
            i++;
            continue;
        }
        range = join(ranges->items[i], range);
        ranges->count--;
        memmove(&ranges->items[i], &ranges->items[i + 1],
                (ranges->count - i) * sizeof(ranges->items[0]));
        place = i < place ? i : place;
        i = 0;
    }
    place = place < ranges->count ? place : ranges->count;
    memmove(&ranges->items[place + 1], &ranges->items[place],
            (ranges->count - place) * sizeof(ranges->items[0]));
    ranges->items[place] = range;
    ranges->count++;
}

/*
 *   ranges-specifier = range-unit "=" range-set
 *   range-set        = 1#range-spec
 *
 * Section 14.2: many small ranges may be ignored; ours are when there are more than ranges_max.
 */
int
td_ranges_parse(td_str value, uint64_t size, size_t ranges_max, td_byte_ranges *out)
{
    td_str unit, rest, element;
    size_t elements = 0;

    out->count = 0;
    out->too_many = false;
    value = td_str_trim(value);
    unit = td_str_make(value.ptr, value.len < 6 ? value.len : 6);
    if (!td_str_equal_nocase(unit, TD_STR("bytes=")))
        return 200;
    rest = td_str_make(value.ptr + 6, value.len - 6);
    while (td_list_next(&rest, &element)) {
        td_byte_range range;
        int status;

        if (elements++ == ranges_max) {
            out->too_many = true;
            return 200;
        }
        status = parse_range(element, size, &range);
        if (status == 200)
            return 200;
        if (status == 206)
            add_range(out, range);
    }
    if (out->count == 0)
        return elements > 0 ? 416 : 200;
    return out->items[0].length == size ? 200 : 206;
}

/* ---- preconditions */

enum field { IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE };

static const td_str names[] = {
    [IF_MATCH] = {"If-Match", 8},
    [IF_UNMODIFIED_SINCE] = {"If-Unmodified-Since", 19},
    [IF_NONE_MATCH] = {"If-None-Match", 13},
    [IF_MODIFIED_SINCE] = {"If-Modified-Since", 17},
    [RANGE] = {"Range", 5},
    [IF_RANGE] = {"If-Range", 8},
};

#define FIELDS_COUNT (sizeof(names) / sizeof(names[0]))

/* Most requests have none of them: one look at all lines says so. */
bool
td_is_conditional(const td_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        const td_str name = headers->items[i].name;
        const char initial = (char)(name.ptr[0] | 0x20);

        if ((initial == 'i' && name.len >= 8 && name.ptr[2] == '-') ||
            (initial == 'r' && name.len == 5))
            return true;
    }
    return false;
}

static bool
is_modified_since(td_str value, time_t modified, bool otherwise)
{
    time_t since;

    return td_http_date_parse(value, &since) == 0 ? modified > since : otherwise;
}

/*
 * RFC 9110 section 13.1.5.  A date is a strong validator only when the file cannot have changed
 * again in the same second.
 */
static bool
is_same_as(td_str if_range, const td_validators *validators)
{
    time_t date;

    if (memchr(if_range.ptr, '"', if_range.len) != NULL)
        return td_str_equal(td_str_trim(if_range), validators->etag);
    return td_http_date_parse(if_range, &date) == 0 && date == validators->modified &&
           date < td_clock_cached_wall - 1;
}

/* A version that is not there is in no list, not even in `*` (sections 13.1.1 and 13.1.2). */
static bool
is_named(td_str etag, time_t modified, td_str list, bool weakly)
{
    return (!td_str_is_null(etag) || modified >= 0) && td_etag_is_in(etag, list, weakly);
}

/* Section 13.2.2; without a date the fields with dates say nothing. */
static int
judge(td_method method, td_str etag, time_t modified, const td_str values[FIELDS_COUNT])
{
    const bool reads = method == TD_METHOD_GET || method == TD_METHOD_HEAD;

    if (!td_str_is_null(values[IF_MATCH])) {
        if (!is_named(etag, modified, values[IF_MATCH], false))
            return 412;
    } else if (!td_str_is_null(values[IF_UNMODIFIED_SINCE]) && modified >= 0) {
        if (is_modified_since(values[IF_UNMODIFIED_SINCE], modified, false))
            return 412;
    }
    if (!td_str_is_null(values[IF_NONE_MATCH])) {
        if (is_named(etag, modified, values[IF_NONE_MATCH], true))
            return reads ? 304 : 412;
    } else if (!td_str_is_null(values[IF_MODIFIED_SINCE]) && modified >= 0 && reads) {
        if (!is_modified_since(values[IF_MODIFIED_SINCE], modified, true))
            return 304;
    }
    return 200;
}

static void
collect(td_request *request, td_str values[FIELDS_COUNT])
{
    for (size_t i = 0; i < FIELDS_COUNT; i++)
        values[i] = td_headers_get(&request->head.headers, &request->arena, names[i]);
}

int
td_precondition_status(td_request *request, td_str etag, time_t modified)
{
    td_str values[FIELDS_COUNT];

    if (!td_is_conditional(&request->head.headers))
        return 200;
    collect(request, values);
    return judge((td_method)request->head.method, etag, modified, values);
}

int
td_conditional_status(td_request *request, const td_validators *validators, size_t ranges_max,
                      td_byte_ranges *ranges_out)
{
    td_str values[FIELDS_COUNT];
    int status;

    ranges_out->too_many = false;

    if (!td_is_conditional(&request->head.headers))
        return 200;
    collect(request, values);
    status = judge((td_method)request->head.method, validators->etag, validators->modified, values);
    if (status != 200)
        return status;
    if (td_str_is_null(values[RANGE]) || request->head.method != TD_METHOD_GET)
        return 200; /* section 14.2: Range is defined for GET alone */
    if (!td_str_is_null(values[IF_RANGE]) && !is_same_as(values[IF_RANGE], validators))
        return 200;
    return td_ranges_parse(values[RANGE], validators->size, ranges_max, ranges_out);
}
