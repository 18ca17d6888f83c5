/*
 * Goal: each rule for request heads is kept, on either way through the parser and at every split.
 *
 * The first column of a table is the section of RFC 9112, where no other document is named.
 */
#include <tornado/error.h>
#include "tests/fuzz/head_every_way.h"
#include "unit.h"

static const td_head_limits limits = {8192, 32768, 256};

#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST

/*
 * What is accepted, and what it says: method, path, ?query, host, name of the host, minor version,
 * Content-Length, and letters: k keep-alive, c chunked, a absolute-form, u upgrade, e 100-continue,
 * E another expectation.
 */
static const struct {
    const char *section, *input, *says;
} accepted[] = {
    {"3", "GET / HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET / - a:80 a 1 -1 k"},
    {"3.1", "HEAD / HTTP/1.1\r\n" HOST "\r\n", "HEAD / - a a 1 -1 k"},
    {"3.1", "PUT / HTTP/1.1\r\n" HOST "\r\n", "PUT / - a a 1 -1 k"},
    {"3.1", "DELETE / HTTP/1.1\r\n" HOST "\r\n", "DELETE / - a a 1 -1 k"},
    {"3.1", "PATCH / HTTP/1.1\r\n" HOST "\r\n", "PATCH / - a a 1 -1 k"},
    {"3.1", "OPTIONS / HTTP/1.1\r\n" HOST "\r\n", "OPTIONS / - a a 1 -1 k"},
    {"3.1", "TRACE / HTTP/1.1\r\n" HOST "\r\n", "TRACE? / - a a 1 -1 k"},
    {"3.1", "get / HTTP/1.1\r\n" HOST "\r\n", "get? / - a a 1 -1 k"},
    {"3.1", "GETS / HTTP/1.1\r\n" HOST "\r\n", "GETS? / - a a 1 -1 k"},
    {"3.1", "!#$%&'*+-.^_`|~09Az / HTTP/1.1\r\n" HOST "\r\n",
     "!#$%&'*+-.^_`|~09Az? / - a a 1 -1 k"},
    {"2.2", "\r\n\r\n" GET "\r\n", "GET / - a a 1 -1 k"},
    {"2.3", "GET / HTTP/1.2\r\n" HOST "\r\n", "GET / - a a 1 -1 k"},
    {"2.3", "GET / HTTP/1.9\r\n" HOST "\r\n", "GET / - a a 1 -1 k"},

    {"3.2.1", "GET /a/./..//b?c=d?e&/ HTTP/1.1\r\n" HOST "\r\n",
     "GET /a/./..//b ?c=d?e&/ a a 1 -1 k"},
    {"3.2.1", "GET /? HTTP/1.1\r\n" HOST "\r\n", "GET / ? a a 1 -1 k"},
    {"3.2.1", "GET //b HTTP/1.1\r\n" HOST "\r\n", "GET //b - a a 1 -1 k"},
    {"3.2.1", "GET /%41%aF%00?%zz% HTTP/1.1\r\n" HOST "\r\n", "GET /%41%aF%00 ?%zz% a a 1 -1 k"},
    {"3.2.1", "GET /-._~!$&'()*+,;=:@\"<>[]^`{|}\\ HTTP/1.1\r\n" HOST "\r\n",
     "GET /-._~!$&'()*+,;=:@\"<>[]^`{|}\\ - a a 1 -1 k"},
    {"3.2.2", "GET http://B:8/c?d HTTP/1.1\r\n" HOST "\r\n", "GET /c ?d B:8 B 1 -1 ka"},
    {"3.2.2", "GET HTTPS://b HTTP/1.1\r\n" HOST "\r\n", "GET / - b b 1 -1 ka"},
    {"3.2.2", "GET http://b?d HTTP/1.1\r\n" HOST "\r\n", "GET / ?d b b 1 -1 ka"},
    {"3.2.2", "GET http://[::1]:80/ HTTP/1.1\r\nHost:\r\n\r\n", "GET / - [::1]:80 [::1] 1 -1 ka"},
    {"3.2.2", "GET http://b/ HTTP/1.0\r\n\r\n", "GET / - b b 0 -1 a"},
    {"3.2.4", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * - a a 1 -1 k"},

    {"3.2", "GET / HTTP/1.1\r\nhOST:\r\n\r\n", "GET / -   1 -1 k"},
    {"3.2", "GET / HTTP/1.1\r\nHost: \t A.b-c_d~9!$&'()*+;=%41:65535 \t\r\n\r\n",
     "GET / - A.b-c_d~9!$&'()*+;=%41:65535 A.b-c_d~9!$&'()*+;=%41 1 -1 k"},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET / - a: a 1 -1 k"},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:00080\r\n\r\n", "GET / - a:00080 a 1 -1 k"},
    {"3.2", "GET / HTTP/1.1\r\nHost: 127.0.0.1:88\r\n\r\n",
     "GET / - 127.0.0.1:88 127.0.0.1 1 -1 k"},
    {"3.2", "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n",
     "GET / - [::ffff:1.2.3.4] [::ffff:1.2.3.4] 1 -1 k"},
    {"3.2", "GET / HTTP/1.0\r\n\r\n", "GET / - 127.0.0.1 127.0.0.1 0 -1 "},
    {"3.2", "GET / HTTP/1.0\r\n" HOST "\r\n", "GET / - a a 0 -1 "},

    {"5.1", GET "A: b\r\na: c\r\nX-9:d\r\n\r\n", "GET / - a a 1 -1 k"},
    {"5.1", GET "!#$%&'*+-.^_`|~09Az: \x21\xff\t\x80\r\n\r\n", "GET / - a a 1 -1 k"},
    {"5.1", GET "A:\r\nB: \r\nC:\t\r\nD:  \t \r\nE: x\t\r\n\r\n", "GET / - a a 1 -1 k"},

    {"6.1", POST "Transfer-Encoding: chunked\r\n\r\n", "POST / - a a 1 -1 kc"},
    {"6.1", POST "transfer-encodinG:\tCHUNKED \r\n\r\n", "POST / - a a 1 -1 kc"},
    {"6.1", POST "Transfer_Encoding: gzip\r\nTransfer-Encoding9: x\r\n\r\n", "POST / - a a 1 -1 k"},
    {"6.2", POST "Content-Length: 0\r\n\r\n", "POST / - a a 1 0 k"},
    {"6.2", POST "content-LENGTH:0012\r\n\r\n", "POST / - a a 1 12 k"},
    {"6.2", POST "Content-Length: 9223372036854775807\r\n\r\n",
     "POST / - a a 1 9223372036854775807 k"},
    {"6.2", POST "Content-Length: 5\r\nTransfer-Encodin: x\r\n\r\nhello", "POST / - a a 1 5 k"},
    {"5", POST "Content-Length: 5\t\r\n\r\n", "POST / - a a 1 5 k"},
    {"5", POST "Content-Length:\t5 \t \r\nX: a\tb\t\r\n\r\n", "POST / - a a 1 5 k"},

    {"9.3", GET "Connection: close\r\n\r\n", "GET / - a a 1 -1 "},
    {"9.3", GET "Connection: x, ,CLOSE\t,keep-alive\r\n\r\n", "GET / - a a 1 -1 "},
    {"9.3", GET "Connection: close\r\nConnection: keep-alive\r\n\r\n", "GET / - a a 1 -1 "},
    {"9.3", GET "Connection: closed, not-close\r\n\r\n", "GET / - a a 1 -1 k"},
    {"9.3", GET "Connection: \"close\"\r\nProxy-Connection: close\r\n\r\n", "GET / - a a 1 -1 k"},
    {"9.3", "GET / HTTP/1.0\r\n" HOST "Connection: Keep-Alive\r\n\r\n", "GET / - a a 0 -1 k"},
    {"9.3", "HEAD / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", "HEAD / - a a 0 -1 k"},
    {"9.3", "POST / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", "POST / - a a 0 -1 "},
    {"9.3", "POST / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\nContent-Length: 1\r\n\r\n",
     "POST / - a a 0 1 k"},
    {"9.3", "GET / HTTP/1.0\r\n" HOST "Connection: keep-alive, close\r\n\r\n", "GET / - a a 0 -1 "},

    {"RFC 9110 7.8", GET "Upgrade: x\r\nConnection: Upgrade\r\n\r\n", "GET / - a a 1 -1 ku"},
    {"RFC 9110 7.8", GET "Connection: keep-alive, UPGRADE\r\nupgrade: h2c\r\n\r\n",
     "GET / - a a 1 -1 ku"},
    {"RFC 9110 7.8", GET "Upgrade: websocket\r\n\r\n", "GET / - a a 1 -1 k"},
    {"RFC 9110 7.8", GET "Connection: upgrade\r\n\r\n", "GET / - a a 1 -1 k"},
    {"RFC 9110 7.8", "GET / HTTP/1.0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
     "GET / - 127.0.0.1 127.0.0.1 0 -1 "},
    {"RFC 9110 10.1.1", POST "Expect: 100-Continue\r\n\r\n", "POST / - a a 1 -1 ke"},
    {"RFC 9110 10.1.1", POST "Expect: 200-ok\r\n\r\n", "POST / - a a 1 -1 kE"},
    {"RFC 9110 10.1.1", POST "Expect: 100-continue, x\r\n\r\n", "POST / - a a 1 -1 kE"},
    {"RFC 9110 10.1.1", POST "Expect: 100-continue,\r\nExpect: 100-continue\r\n\r\n",
     "POST / - a a 1 -1 ke"},
    {"RFC 9110 10.1.1", POST "Expect: x\r\nExpect: 100-continue\r\n\r\n", "POST / - a a 1 -1 kE"},
    {"RFC 9110 10.1.1", POST "Expect:\r\n\r\n", "POST / - a a 1 -1 k"},
    {"RFC 9112 3.2.4", "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * - b b 1 -1 ka"},
    {"RFC 9112 3.2.4", "OPTIONS http://b? HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS / ? b b 1 -1 ka"},
    {"RFC 9110 10.1.1", "POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
     "POST / - 127.0.0.1 127.0.0.1 0 -1 "},
};

/* Each input ends in the byte that shows what is wrong; one byte less, and more is waited for. */
static const struct {
    const char *section, *input;
    int status;
} refused[] = {
    {"3.1", "\x16", 400},
    {"3.1", " ", 400},
    {"3.1", "G\x7f", 400},
    {"3.1", "G\xc3", 400},
    {"3.1", "GET/", 400},
    {"3.1", "GET\r", 400},
    {"3.1", "GET\t", 400},
    {"2.2", "\n", 400},
    {"2.2", "\r\r", 400},
    {"2.2", "\rG", 400},
    {"2.2", "\r\n\n", 400},
    {"2.2", "\r\n\r\n\r", 400},
    {"3.2", "GET /\t", 400},
    {"3.2", "GET /\x7f", 400},
    {"3.2", "GET /\x80", 400},
    {"3.2", "GET /?\xff", 400},
    {"3.2", "GET /#", 400},
    {"3.2", "GET /?#", 400},
    {"3.2", "GET /\r", 400},
    {"3.2", "GET /\n", 400},
    {"3.2", "GET  /", 400},
    {"3.2", "GET /  ", 400},
    {"3.2", "GET  HTTP/1.1\r\n", 400},
    {"3.2", "GET HTTP/1.1\r", 400},
    {"3.2", "GET a HTTP/1.1\r\n", 400},
    {"3.2", "GET a:80 HTTP/1.1\r\n", 400},
    {"3.2", "GET ?a HTTP/1.1\r\n", 400},
    {"3.2", "GET * HTTP/1.1\r\n", 400},
    {"3.2", "OPTIONS *x HTTP/1.1\r\n", 400},
    {"3.2", "OPTIONS a HTTP/1.1\r\n", 400},
    {"RFC 3986 2.1", "GET /% HTTP/1.1\r\n", 400},
    {"RFC 3986 2.1", "GET /%4 HTTP/1.1\r\n", 400},
    {"RFC 3986 2.1", "GET /%g0 HTTP/1.1\r\n", 400},
    {"RFC 3986 2.1", "GET /%0g?a HTTP/1.1\r\n", 400},
    {"RFC 3986 2.1", "GET http://a/%0 HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http:// HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http:///a HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://:80/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http:/a HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://u@h/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://u:p@h/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://h:8x/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://h:65536/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://[::1/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET http://a,b/ HTTP/1.1\r\n", 400},
    {"3.2.2", "GET ftp://h/ HTTP/1.1\r\n", 400},
    {"3.2.3", "CONNECT h:443 HTTP/1.1\r\n", 501},
    {"3.2.3", "CONNECT / HTTP/1.0\r\n", 501},
    {"2.3", "GET / h", 400},
    {"2.3", "GET / HTTPS", 400},
    {"2.3", "GET / HTTP/x", 400},
    {"2.3", "GET / HTTP/1,", 400},
    {"2.3", "GET / HTTP/1.x", 400},
    {"2.3", "GET / HTTP/1.10", 400},
    {"2.3", "GET / HTTP/1.1 ", 400},
    {"2.3", "GET / HTTP/11", 400},
    {"2.3", "GET / HTTP/1.1\n", 400},
    {"2.3", "GET / HTTP/1.1\r\r", 400},
    {"RFC 9110 15.6.6", "GET / HTTP/0.9\r\n", 505},
    {"RFC 9110 15.6.6", "GET / HTTP/2.0\r\n", 505},
    {"RFC 9110 15.6.6", "CONNECT % HTTP/9.9\r\n", 505},
    {"RFC 9113 3.4", "PRI * HTTP/2.0\r\n", 505},

    {"2.2", GET "\n", 400},
    {"2.2", GET "\rX", 400},
    {"2.2", GET "A: b\n", 400},
    {"2.2", GET "A: b\r\r", 400},
    {"2.2", GET "A: b\rc", 400},
    {"5.1", GET "A ", 400},
    {"5.1", GET "A\t", 400},
    {"5.1", GET ":", 400},
    {"5.1", GET "A\r", 400},
    {"5.1", GET "A(", 400},
    {"5.1", GET "A\x80", 400},
    {"5.2", "GET / HTTP/1.1\r\n ", 400},
    {"5.2", GET " ", 400},
    {"5.2", GET "A: b\r\n\t", 400},
    {"5.5", GET "A: \x01", 400},
    {"5.5", GET "A: b\x7f", 400},
    {"5.5", GET "A: b\x0b", 400},

    {"3.2", "GET / HTTP/1.1\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.2\r\n\r\n", 400},
    {"3.2", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
    {"3.2", GET HOST "\r\n", 400},
    {"3.2", "GET / HTTP/1.0\r\n" HOST "Host: b\r\n\r\n", 400},
    {"3.2", "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.0\r\nHost: a/\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: %4\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:8a\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: a:4294967376\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [v1.a]\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [0:0:0:0:0:0:0:0:0]\r\n\r\n", 400},
    {"3.2", "GET / HTTP/1.1\r\nHost: [000000000000000000000000000000000000000000::1]\r\n\r\n",
     400},

    {"6.1", POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: gzip, chunked\r\nContent-Length: 1\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: gzip\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: identity\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding:\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: ,chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: chunked,\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: gzip, , chunked,\r\n\r\n", 501},
    {"6.1", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: chunked;a=b\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: chunked;a=b, chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: xchunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: x y, chunked\r\n\r\n", 400},
    {"6.1", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"6.1", POST "Transfer-Encoding: a;q=\"1\" , b,chunked\r\n\r\n", 501},
    {"6.1", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 1, 1\r\n\r\n", 400},
    {"6.2", POST "Content-Length:\r\n\r\n", 400},
    {"6.2", POST "Content-Length: +1\r\n\r\n", 400},
    {"6.2", POST "Content-Length: -1\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 1_0\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 0x1\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 1 0\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 9223372036854775808\r\n\r\n", 400},
    {"6.2", POST "Content-Length: 18446744073709551617\r\n\r\n", 400},
};

static void
describe(const td_head *head, char *text, size_t size)
{
    const bool known = head->method < TD_METHODS_COUNT;
    const bool has_query = !td_str_is_null(head->query);

    ck_assert(!known || td_str_equal(td_method_name(head->method), head->method_name));
    snprintf(text, size, "%.*s%s %.*s %s%.*s %.*s %.*s %d %lld %s%s%s%s%s%s",
             TD_STR_FMT(head->method_name), known ? "" : "?", TD_STR_FMT(head->path),
             has_query ? "?" : "-", TD_STR_FMT(head->query), TD_STR_FMT(head->host),
             TD_STR_FMT(head->host_name), head->minor, (long long)head->content_length,
             head->keep_alive ? "k" : "", head->chunked ? "c" : "", head->absolute_form ? "a" : "",
             head->upgrade ? "u" : "", head->expect == TD_EXPECT_CONTINUE ? "e" : "",
             head->expect == TD_EXPECT_OTHER ? "E" : "");
}

START_TEST(a_good_head_says_this)
{
    const td_str input = td_str_of(accepted[_i].input);
    outcome o = parse_in_steps(input, &limits, false, input.len, 1);
    char text[512];

    ck_assert_msg(o.rc > 0, "section %s: refused %s: %s", accepted[_i].section, accepted[_i].input,
                  o.rc < 0 ? o.error.what : "incomplete");
    describe(&o.head, text, sizeof text);
    ck_assert_str_eq(text, accepted[_i].says);
    outcome_fini(&o);
    parse_every_way(input, &limits, SIZE_MAX - 1);
}
END_TEST

START_TEST(a_bad_head_is_refused_at_its_first_bad_byte)
{
    const td_str input = td_str_of(refused[_i].input);
    outcome o = parse_in_steps(input, &limits, true, 0, 1);

    ck_assert_msg(o.rc < 0, "section %s: accepted %s", refused[_i].section, refused[_i].input);
    ck_assert_int_eq(o.rc, TD_EBADMSG);
    ck_assert_msg(o.error.status == refused[_i].status, "section %s: %d %s: %s",
                  refused[_i].section, o.error.status, o.error.what, refused[_i].input);
    ck_assert_msg(o.told_at == input.len, "section %s: told at byte %zu: %s", refused[_i].section,
                  o.told_at, refused[_i].input);
    outcome_fini(&o);
    parse_every_way(input, &limits, SIZE_MAX - 1);
}
END_TEST

START_TEST(a_zero_byte_is_refused_everywhere)
{
    const td_str good = TD_STR("POST /a?b HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n");

    for (size_t at = 0; at < good.len; at++) {
        char text[64];

        memcpy(text, good.ptr, good.len);
        text[at] = '\0';

        outcome o = parse_in_steps(td_str_make(text, good.len), &limits, true, 0, 1);

        ck_assert_int_eq(o.rc, TD_EBADMSG);
        ck_assert_uint_eq(o.told_at, at + 1);
        outcome_fini(&o);
    }
}
END_TEST

START_TEST(field_lines_are_kept_in_order_and_trimmed)
{
    const td_str input = TD_STR(GET "B:c\r\nb: \td e\t \r\nEmpty: \r\n\r\n");
    static const char *const lines[][2] = {{"Host", "a"}, {"B", "c"}, {"b", "d e"}, {"Empty", ""}};

    for (int fast = 0; fast < 2; fast++) {
        outcome o = parse_in_steps(input, &limits, fast, input.len, 1);

        ck_assert_uint_eq(o.head.headers.count, COUNT_OF(lines));
        for (size_t i = 0; i < COUNT_OF(lines); i++) {
            ck_assert(td_str_equal(o.head.headers.items[i].name, td_str_of(lines[i][0])));
            ck_assert(td_str_equal(o.head.headers.items[i].value, td_str_of(lines[i][1])));
        }
        outcome_fini(&o);
    }
}
END_TEST

/* Parse GET with a path, a value and a count of lines as long as asked for. */
static void
expect_status(const td_head_limits *tight, size_t path_len, size_t value_len, size_t lines,
              int status)
{
    char text[4096], *p = text;

    p += sprintf(p, "GET /");
    p = memset(p, 'p', path_len - 1), p += path_len - 1;
    p += sprintf(p, " HTTP/1.1\r\nHost: ");
    p = memset(p, 'v', value_len), p += value_len;
    p += sprintf(p, "\r\n");
    for (size_t i = 1; i < lines; i++)
        p += sprintf(p, "A: b\r\n");
    p += sprintf(p, "\r\n");

    const td_str input = td_str_make(text, (size_t)(p - text));
    outcome o = parse_in_steps(input, tight, true, input.len, 1);

    if (status == 0)
        ck_assert_int_eq(o.rc, (ssize_t)input.len);
    else
        ck_assert_int_eq(o.rc < 0 ? o.error.status : 0, status);
    outcome_fini(&o);
    parse_every_way(input, tight, 100);
}

START_TEST(limits_hold_to_the_byte)
{
    const td_head_limits tight = {.request_line_max = 100, .size_max = 200, .headers_max = 3};

    expect_status(&tight, 87, 10, 1, 0); /* "GET " and " HTTP/1.1" are 13 bytes */
    expect_status(&tight, 88, 10, 1, 414);
    expect_status(&tight, 1, 174, 1, 0); /* 26 bytes for the rest */
    expect_status(&tight, 1, 175, 1, 431);
    expect_status(&tight, 1, 10, 3, 0);
    expect_status(&tight, 1, 10, 4, 431);
}
END_TEST

START_TEST(a_limit_is_told_as_soon_as_it_is_crossed)
{
    const td_head_limits tight = {.request_line_max = 10, .size_max = 40, .headers_max = 1};
    static const struct {
        const char *input;
        int status;
        size_t told_at;
    } rows[] = {
        {"GET /aaaaaaaaaaaaaaaaaaa", 414, 10},
        {"AAAAAAAAAAAAAAAAAAAAAAA", 414, 10},
        {"\r\nGET /aaaaaaaaaaaaaaaaaaa", 414, 12},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        outcome o = parse_in_steps(td_str_of(rows[i].input), &tight, true, 0, 1);

        ck_assert_int_eq(o.error.status, rows[i].status);
        ck_assert_uint_eq(o.told_at, rows[i].told_at);
        outcome_fini(&o);
    }

    const td_head_limits wide = {.request_line_max = 100, .size_max = 40, .headers_max = 1};
    outcome o = parse_in_steps(td_str_of(GET "Long: aaaaaaaaaaaaaaaaaaaaa"), &wide, true, 0, 1);

    ck_assert_int_eq(o.error.status, 431);
    ck_assert_uint_eq(o.told_at, strlen(GET) + 1); /* the second line has begun */
    outcome_fini(&o);
}
END_TEST

START_TEST(the_next_request_is_left_alone)
{
    const td_str first = TD_STR("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    const td_str both = TD_STR("GET /a HTTP/1.1\r\nHost: a\r\n\r\n\x16\x01 no request");

    for (int fast = 0; fast < 2; fast++) {
        outcome o = parse_in_steps(both, &limits, fast, both.len, 1);

        ck_assert_int_eq(o.rc, (ssize_t)first.len);
        ck_assert(td_str_equal(o.head.raw, first));
        outcome_fini(&o);
    }
}
END_TEST

START_TEST(leading_line_ends_are_counted_but_not_part_of_the_head)
{
    const td_str input = TD_STR("\r\n\r\n" GET "\r\n");
    outcome o = parse_in_steps(input, &limits, true, input.len, 1);

    ck_assert_int_eq(o.rc, (ssize_t)input.len);
    ck_assert_uint_eq(o.head.raw.len, input.len - 4);
    outcome_fini(&o);
}
END_TEST

START_TEST(a_head_that_is_not_complete_holds_no_memory)
{
    const td_str input = TD_STR(GET "A: b\r\nC: d\r\n");
    outcome o = parse_in_steps(input, &limits, true, 0, 1);

    ck_assert_int_eq(o.rc, 0);
    ck_assert_uint_eq(o.arena.total, 0);
    outcome_fini(&o);
}
END_TEST

START_TEST(a_known_method_has_its_name)
{
    ck_assert(td_str_equal(td_method_name(TD_METHOD_GET), TD_STR("GET")));
    ck_assert(td_str_equal(td_method_name(TD_METHOD_OPTIONS), TD_STR("OPTIONS")));
    ck_assert_uint_eq(td_method_name(TD_METHOD_OTHER).len, 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_set_timeout(tcase, 60);
    ADD_TABLE(tcase, a_good_head_says_this, accepted);
    ADD_TABLE(tcase, a_bad_head_is_refused_at_its_first_bad_byte, refused);
    tcase_add_test(tcase, a_zero_byte_is_refused_everywhere);
    tcase_add_test(tcase, field_lines_are_kept_in_order_and_trimmed);
    tcase_add_test(tcase, limits_hold_to_the_byte);
    tcase_add_test(tcase, a_limit_is_told_as_soon_as_it_is_crossed);
    tcase_add_test(tcase, the_next_request_is_left_alone);
    tcase_add_test(tcase, leading_line_ends_are_counted_but_not_part_of_the_head);
    tcase_add_test(tcase, a_head_that_is_not_complete_holds_no_memory);
    tcase_add_test(tcase, a_known_method_has_its_name);
}

int
main(void)
{
    return unit_run("parser", fill);
}
