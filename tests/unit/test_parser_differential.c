/*
 * Goal: the fast scanner and http-parser, and every split of the input, agree on mutated heads.
 *
 * The mutations are the same in every run.  tests/fuzz/fuzz_head.c asks the same of other inputs.
 */
#include "tests/fuzz/head_every_way.h"
#include "unit.h"

#ifdef __SANITIZE_ADDRESS__
#define MUTATIONS 100000
#else
#define MUTATIONS 1000000
#endif

static const char *const seeds[] = {
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:8888\r\n\r\n",
    "GET /plaintext?a=b%20c HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive\r\n\r\n",
    "POST /a%2Fb HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nAccept: */*\r\n\r\nhello, world",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET http://user.example:80/x?y HTTP/1.1\r\nHost: [::1]:8888\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    "OPTIONS https://[2001:db8::1]?q HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive, x\r\nConnection: close\r\n\r\n",
    "HEAD / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\n",
    "GET /chat HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "PURGE /x HTTP/1.2\r\nHost: a\r\nX:\r\nY: \t z \t\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "\r\n\r\nDELETE /a/./../b//c HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\nBad name: x\r\nX: \x80\x01\x7f\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "GET /browser?page=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11)\r\n"
    "Accept: text/html,application/xhtml+xml;q=0.9\r\nAccept-Language: en\r\n"
    "Accept-Encoding: gzip\r\nCookie: a=b; c=d\r\nUpgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\nTE: trailers\r\n\r\n",
};

/* What heads are made of, and what breaks them. */
static const char *const pieces[] = {
    " ", "\t", "\r", "\n", "\r\n", "\r\n\r\n", ":", ",", ";", "=", "\"", "@", "_", "!", "\\",
    "%", "%4", "%zz", "?", "#", "*", "/", "//", "[", "]", "[::1]", ":65535", ":65536", "0", "9",
    "\x01", "\x7f", "\x80", "\xff", "GET", "POST", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http://",
    "chunked", "close", "upgrade", "keep-alive", "100-continue",
    "Host: a\r\n", "Host:\r\n", "Connection: close\r\n", "Upgrade: h2c\r\n",
    "Expect: 100-Continue\r\n", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n",
    "Content-Length: 18446744073709551616\r\n", "Transfer-Encoding: x\r\n",
};

static const td_head_limits limits[] = {
    {8192, 32768, 256}, {8192, 32768, 256}, {24, 32768, 256}, {8192, 80, 256}, {8192, 32768, 2},
};

static uint64_t state;

/* xorshift64*: below n, which is not 0. */
static size_t
pick(size_t n)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)((state * UINT64_C(2685821657736338717)) >> 33) % n;
}

/* Put `piece` in the place of old_len bytes at `at`. */
static size_t
replace(char *text, size_t len, size_t at, size_t old_len, td_str piece)
{
    memmove(text + at + piece.len, text + at + old_len, len - at - old_len);
    memcpy(text + at, piece.ptr, piece.len);
    return len - old_len + piece.len;
}

static size_t
mutate(char *text, size_t len)
{
    const size_t at = pick(len + 1);
    const size_t old_len = pick(3) == 0 ? pick(len - at + 1) % 8 : pick(2);
    const char random[] = {(char)pick(256)};
    td_str piece = td_str_of(pieces[pick(sizeof pieces / sizeof pieces[0])]);

    switch (pick(4)) {
    case 0:
        piece = td_str_make(random, 1);
        break;
    case 1:
        piece = TD_STR("");
        break;
    default:
        break;
    }
    return replace(text, len, at, old_len <= len - at ? old_len : 0, piece);
}

START_TEST(all_ways_agree_on_the_seeds)
{
    parse_every_way(td_str_of(seeds[_i]), &limits[0], SIZE_MAX - 1);
}
END_TEST

START_TEST(all_ways_agree_on_mutated_heads)
{
    const size_t seeds_count = sizeof seeds / sizeof seeds[0];
    size_t accepted = 0;

    state = UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)_i;
    for (size_t i = 0; i < MUTATIONS / 4; i++) {
        const td_head_limits *limit = &limits[pick(sizeof limits / sizeof limits[0])];
        const char *seed = seeds[pick(seeds_count)];
        char text[1024];
        size_t len = strlen(seed);

        memcpy(text, seed, len);
        for (size_t times = 1 + pick(3); times > 0; times--)
            len = mutate(text, len);

        const td_str input = td_str_make(text, len);
        outcome whole = parse_in_steps(input, limit, false, len, 1);

        accepted += whole.rc > 0;
        if (whole.rc > 0)
            must_be_well_formed(&whole.head, limit);
        compare_with(&whole, input, limit, true, len, 1);
        compare_with(&whole, input, limit, true, pick(len + 1), 1 + pick(len + 1));
        if (i % 16 == 0)
            compare_with(&whole, input, limit, true, 0, 1);
        outcome_fini(&whole);
    }
    ck_assert_uint_gt(accepted, MUTATIONS / 80); /* else they are too wild to show anything */
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, all_ways_agree_on_the_seeds, 0, sizeof seeds / sizeof seeds[0]);
    tcase_add_loop_test(tcase, all_ways_agree_on_mutated_heads, 0, 4);
}

int
main(void)
{
    return unit_run("parser_differential", fill);
}
