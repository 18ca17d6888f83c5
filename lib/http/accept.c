/* Elements are taken off the front of the list one by one; nothing is kept of them but numbers. */
#include "http/accept.h"

#include "base/escape.h"
#include "http/headers.h"

#define UNSAID (-1)

/* ---- elements */

/*
 *   qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
 */
static int
parse_quality(td_str s)
{
    int quality, unit = 100;

    if (s.len == 0 || s.len > 5 || (s.ptr[0] != '0' && s.ptr[0] != '1') ||
        (s.len > 1 && s.ptr[1] != '.'))
        return UNSAID;
    quality = (s.ptr[0] - '0') * TD_QUALITY_MAX;
    for (size_t i = 2; i < s.len; i++, unit /= 10) {
        if (!td_byte_is(s.ptr[i], TD_BYTE_DIGIT))
            return UNSAID;
        quality += (s.ptr[i] - '0') * unit;
    }
    return quality <= TD_QUALITY_MAX ? quality : UNSAID;
}

/* What stands in front of the next semicolon, trimmed. */
static td_str
take_parameter(td_str *rest)
{
    const char *end = memchr(rest->ptr, ';', rest->len);
    const size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    const td_str parameter = {rest->ptr, len};

    *rest = td_str_make(rest->ptr + len + (end != NULL), rest->len - len - (end != NULL));
    return td_str_trim(parameter);
}

/*
 * Take the next element that is well-formed off the front; parameters other than q say nothing to
 * us.
 *
 *   weight = OWS ";" OWS "q=" qvalue
 */
static bool
next_element(td_str *list, td_str *name_out, int *quality_out)
{
    td_str element;

    while (td_list_next(list, &element)) {
        int quality = TD_QUALITY_MAX;

        *name_out = take_parameter(&element);
        while (element.len > 0) {
            const td_str parameter = take_parameter(&element);

            if (parameter.len >= 2 && (parameter.ptr[0] | 0x20) == 'q' && parameter.ptr[1] == '=')
                quality = parse_quality(td_str_make(parameter.ptr + 2, parameter.len - 2));
        }
        if (quality != UNSAID && name_out->len > 0) {
            *quality_out = quality;
            return true;
        }
    }
    return false;
}

/* ---- codings */

static const td_str names[] = {
    [TD_CODING_ZSTD] = {"zstd", 4},
    [TD_CODING_BR] = {"br", 2},
    [TD_CODING_GZIP] = {"gzip", 4},
    [TD_CODING_IDENTITY] = {"identity", 8},
};

td_str
td_coding_name(td_coding coding)
{
    return names[coding];
}

/* RFC 9110 section 8.4.1.3: x-gzip is gzip. */
static int
coding_of(td_str name)
{
    if (td_str_equal_nocase(name, TD_STR("x-gzip")))
        return TD_CODING_GZIP;
    for (int i = 0; i < TD_CODINGS_COUNT; i++)
        if (td_str_equal_nocase(name, names[i]))
            return i;
    return TD_CODINGS_COUNT;
}

/*
 * Section 12.5.3: identity is acceptable unless it, or `*` and not it, has a quality of 0; who does
 * not name it likes whatever is named better.
 */
static void
fill_unsaid(int qualities[TD_CODINGS_COUNT], int others)
{
    for (int i = 0; i < TD_CODING_IDENTITY; i++)
        if (qualities[i] == UNSAID)
            qualities[i] = others != UNSAID ? others : 0;
    if (qualities[TD_CODING_IDENTITY] == UNSAID)
        qualities[TD_CODING_IDENTITY] = others != 0;
}

td_coding
td_accept_coding(td_str list, unsigned offered)
{
    int qualities[TD_CODINGS_COUNT] = {UNSAID, UNSAID, UNSAID, UNSAID};
    int others = UNSAID, best = TD_CODING_IDENTITY, quality;
    td_str name;

    if (td_str_is_null(list))
        return TD_CODING_IDENTITY;
    while (next_element(&list, &name, &quality)) {
        const int coding = coding_of(name);
        int *said = coding < TD_CODINGS_COUNT         ? &qualities[coding]
                    : td_str_equal(name, TD_STR("*")) ? &others
                                                      : NULL;

        if (said != NULL && *said == UNSAID)
            *said = quality;
    }
    fill_unsaid(qualities, others);
    for (int i = TD_CODING_IDENTITY - 1; i >= 0; i--)
        if (offered & TD_CODING_BIT(i) && qualities[i] > 0 && qualities[i] >= qualities[best])
            best = i;
    return (td_coding)best;
}

/* ---- media types */

/* 3: the type itself; 2: type/STAR; 1: STAR/STAR; 0: another. */
static int
specificity(td_str range, td_str type)
{
    const char *slash = memchr(type.ptr, '/', type.len);
    const size_t len = slash != NULL ? (size_t)(slash + 1 - type.ptr) : 0;

    if (td_str_equal_nocase(range, type))
        return 3;
    if (len > 0 && range.len == len + 1 && range.ptr[len] == '*' &&
        td_str_equal_nocase(td_str_make(range.ptr, len), td_str_make(type.ptr, len)))
        return 2;
    return td_str_equal(range, TD_STR("*/*")) ? 1 : 0;
}

int
td_accept_media(td_str list, td_str type)
{
    int best = 0, found = 0, quality;
    td_str range;

    if (td_str_is_null(list))
        return TD_QUALITY_MAX;
    while (next_element(&list, &range, &quality)) {
        const int how = specificity(range, type);

        if (how > best) {
            best = how;
            found = quality;
        }
    }
    return found;
}

/* ---- languages */

/* `tag` is `range`, or begins with it and a hyphen. */
static bool
is_part_of(td_str tag, td_str range)
{
    return tag.len >= range.len && (tag.len == range.len || tag.ptr[range.len] == '-') &&
           td_str_equal_nocase(td_str_make(tag.ptr, range.len), range);
}

int
td_accept_language(td_str list, td_str tag)
{
    int by_range = UNSAID, beyond = UNSAID, others = UNSAID, quality;
    size_t longest = 0;
    td_str range;

    if (td_str_is_null(list))
        return TD_QUALITY_MAX;
    while (next_element(&list, &range, &quality)) {
        if (td_str_equal(range, TD_STR("*"))) {
            if (others == UNSAID)
                others = quality;
        } else if (is_part_of(tag, range)) {
            if (range.len > longest) {
                longest = range.len;
                by_range = quality;
            }
        } else if (is_part_of(range, tag) && quality > 0 && quality > beyond) {
            beyond = quality; /* "not fr-CH" is not "no fr" */
        }
    }
    if (by_range != UNSAID)
        return by_range;
    if (beyond != UNSAID)
        return beyond;
    return others != UNSAID ? others : 0;
}

/* ---- names */

bool
td_accept_names(td_str list, td_str type)
{
    td_str range;
    int quality;

    if (td_str_is_null(list))
        return false;
    while (next_element(&list, &range, &quality))
        if (td_str_equal_nocase(range, type))
            return quality > 0;
    return false;
}
