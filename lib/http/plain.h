/*
 * What nearly every head consists of, 16 bytes at a time: for the ways through a head that know no
 * more than that, and leave the rest to others.  Where a run ends earlier than the grammar lets it
 * (at HTAB in a value, at most of the token bytes in a name), the head is not plain.
 */
#ifndef TORNADO_HTTP_PLAIN_H
#define TORNADO_HTTP_PLAIN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>
#include <tornado/str.h>
#include "base/assert.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/*
 * Whether s is `word`, a literal of 4 or more lower-case letters, digits and '-', without regard to
 * case.  Setting bit 0x20 changes no byte into one of these but the upper-case letters; the control
 * bytes that it would change have been refused.
 */
#define TD_IS_WORD(s, word) td_is_word((s), (word), sizeof(word) - 1)

static inline uint32_t
td_load4(const char *p)
{
    uint32_t word;

    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint64_t
td_load8(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return word;
}

static inline __attribute__((always_inline)) bool
td_is_word(td_str s, const char *word, size_t len)
{
    uint64_t differs = 0;

    if (s.len != len)
        return false;
    if (len < 8)
        return ((td_load4(s.ptr) | UINT32_C(0x20202020)) ^ td_load4(word)) == 0 &&
               ((td_load4(s.ptr + len - 4) | UINT32_C(0x20202020)) ^ td_load4(word + len - 4)) == 0;
    for (size_t at = 0; at < len; at += 8) {
        const size_t from = at + 8 <= len ? at : len - 8; /* the last words may overlap */

        differs |= (td_load8(s.ptr + from) | UINT64_C(0x2020202020202020)) ^ td_load8(word + from);
    }
    return differs == 0;
}

/* ---- runs */

typedef unsigned char td_block __attribute__((vector_size(16)));

/* Each byte of a result is 0xff where it ends the run, and 0 elsewhere. */
static inline td_block
td_name_ends(td_block b)
{
    return (td_block)~((((b | 0x20) - 'a') < 26) | ((b - '0') < 10) | (b == '-'));
}

static inline td_block
td_value_ends(td_block b)
{
    return (td_block)((b < 0x20) | (b == 0x7f));
}

static inline td_block
td_target_ends(td_block b)
{
    return (td_block)(((b - 0x21) >= 0x7f - 0x21) | (b == '#'));
}

/* The index of the first 0xff from the given one on; 16: none. */
static inline unsigned
td_first_end(td_block ends, unsigned from)
{
#ifdef __SSE2__
    const unsigned mask = (unsigned)_mm_movemask_epi8((__m128i)ends) >> from << from;

    return (unsigned)__builtin_ctz(mask | 1U << 16);
#else
    uint64_t halves[2];

    for (unsigned i = 0; i < from; i++)
        ends[i] = 0;
    memcpy(halves, &ends, sizeof halves);
    if (halves[0] != 0)
        return (unsigned)__builtin_ctzll(le64toh(halves[0])) / 8;
    return halves[1] != 0 ? 8 + (unsigned)__builtin_ctzll(le64toh(halves[1])) / 8 : 16;
#endif
}

static inline td_block
td_load_block(const char *p)
{
    td_block b;

    memcpy(&b, p, sizeof b);
    return b;
}

/*
 * The first byte of [p, end) that ends the run, or end; the 16 bytes before end must be readable.
 */
static inline __attribute__((always_inline)) const char *
td_find_end(const char *p, const char *end, td_block (*ends)(td_block))
{
    for (; end - p >= 16; p += 16) {
        const unsigned at = td_first_end(ends(td_load_block(p)), 0);

        if (at < 16)
            return p + at;
    }
    /* The last 16 bytes, without those that lie before p. */
    return end - 16 + td_first_end(ends(td_load_block(end - 16)), (unsigned)(16 - (end - p)));
}

/* True when none of 8 or more bytes ends the run; of fewer it is not known. */
static inline __attribute__((always_inline)) bool
td_is_run(td_str s, td_block (*ends)(td_block))
{
    uint64_t words[2];
    td_block b;

    if (s.len >= sizeof(b))
        return td_find_end(s.ptr, s.ptr + s.len, ends) == s.ptr + s.len;
    if (s.len < sizeof(words[0]))
        return false;
    words[0] = td_load8(s.ptr);
    words[1] = td_load8(s.ptr + s.len - sizeof(words[1])); /* some bytes twice */
    memcpy(&b, words, sizeof(b));
    return td_first_end(ends(b), 0) == sizeof(b);
}

/* ---- lines */

/* A field line that is not the last.  Returns what is behind it, or NULL: it is not plain. */
static inline const char *
td_plain_line(const char *start, const char *end, td_str *name_out, td_str *value_out)
{
    /* The line's end first: the processor can begin with the next line while it looks at this. */
    const char *const stop = td_find_end(start, end, td_value_ends);

    if (end - stop < (ptrdiff_t)sizeof "\r\n\r\n" - 1 || memcmp(stop, "\r\n", 2) != 0)
        return NULL;

    const char *const colon = td_find_end(start, end, td_name_ends);
    const char *value = colon + 1, *value_end = stop;

    if (colon == start || *colon != ':')
        return NULL;
    while (*value == ' ')
        value++;
    while (TD_UNLIKELY(value_end[-1] == ' ') && value_end > value)
        value_end--;
    *name_out = td_str_make(start, (size_t)(colon - start));
    *value_out = td_str_make(value, (size_t)(value_end - value));
    return stop + 2;
}

#endif
