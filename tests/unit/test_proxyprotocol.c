/*
 * Goal: a header of the PROXY protocol is read at every cut of its bytes, and anything else
 * refused.
 */
#include "http/proxyprotocol.h"

#include <stdio.h>
#include <string.h>
#include "unit.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\xc0\x00\x02\x01" "\xc0\x00\x02\x02" "\xdc\x04" "\x01\xbb" /* 192.0.2.1:56324 */
#define TCP6 V6_1 V6_1 "\xdc\x04" "\x01\xbb"
#define V6_1 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define V6_4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
#define BYTES_54 "/run/a-path-of-54-bytes/.............................."
#define UNIX BYTES_54 BYTES_54 BYTES_54 BYTES_54
#define SIZE_MAX_HERE 256

_Static_assert(sizeof(UNIX) - 1 == 216, "two paths of 108 bytes");

#define B(literal) literal, sizeof(literal) - 1

static const struct {
    const char *bytes;
    size_t len;
    const char *says; /* the peer, "own" for the connection's own, or what is wrong */
    bool https;
} rows[] = {
    /* version 1 */
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"), "192.0.2.1:56324", false},
    {B("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535",
     false},
    {B("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n"), "2001:db8::1:56324", false},
    {B("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:65535", false},
    {B("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), "192.0.2.1:1", false},
    {B("PROXY UNKNOWN\r\n"), "own", false},
    {B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "own", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 56324 \r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 \r\n"), "not a line of version 1", false},
    {B("PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 56324 65536\r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1 localhost 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2 192.0.2.2 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 ::1 ::1 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY TCP6 192.0.2.1 ::1 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY \r\n"), "not a line of version 1", false},
    {B("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 443\r\n"), "not a line of version 1", false},
    {B("PROXY UNKNOWN 45678901234567890123456789012345678901234567890123456789012345678901"
       "23456789012345678901234567890123456\r\n"),
     "a line of more than 107 bytes", false},
    {B("PROXY TCP4 192.0.2.1 192.0.2.2 1 443                                               "
       "                                     "),
     "a line of more than 107 bytes", false},

    /* version 2 */
    {B(SIGNATURE "\x21\x11\0\x0c" TCP4), "192.0.2.1:56324", false},
    {B(SIGNATURE "\x21\x21\0\x24" TCP6), "2001:db8::1:56324", false},
    {B(SIGNATURE "\x21\x21\0\x24" V6_4 V6_1 "\xdc\x04" "\x01\xbb"), "192.0.2.1:56324", false},
    {B(SIGNATURE "\x21\x31\0\xd8" UNIX), "unix::0", false},
    {B(SIGNATURE "\x20\x00\0\0"), "own", false},
    {B(SIGNATURE "\x20\x11\0\x0c" TCP4), "own", false},
    {B(SIGNATURE "\x20\xff\0\x03" "???"), "own", false},
    {B(SIGNATURE "\x21\x00\0\0"), "own", false},
    {B(SIGNATURE "\x21\x00\0\x04" "\x04\0\x01x"), "own", false},
    {B(SIGNATURE "\x21\x11\0\x0f" TCP4 "\x04\0\0"), "192.0.2.1:56324", false},
    {B(SIGNATURE "\x21\x11\0\x18" TCP4 "\x04\0\x02xy" "\xe0\0\x04\0\0\0\0"), "192.0.2.1:56324",
     false},
    {B(SIGNATURE "\x21\x11\0\x14" TCP4 "\x20\0\x05\x01\0\0\0\0"), "192.0.2.1:56324", true},
    {B(SIGNATURE "\x21\x11\0\x14" TCP4 "\x20\0\x05\x06\0\0\0\0"), "192.0.2.1:56324", false},
    {B(SIGNATURE "\x21\x11\0\x10" TCP4 "\x20\0\x01\x01"), "192.0.2.1:56324", false},
    {B(SIGNATURE "\x21\x11\0\x13" TCP4 "\x03\0\x04\xd6\xc8\xc7\x5f"), "192.0.2.1:56324", false},
    {B(SIGNATURE "\x21\x11\0\x13" TCP4 "\x03\0\x04\xd6\xc8\xc7\x5e"), "a wrong checksum", false},
    {B(SIGNATURE "\x21\x11\0\x12" TCP4 "\x03\0\x03\xd6\xc8\xc7"), "a wrong checksum", false},
    {B(SIGNATURE "\x21\x11\0\x0d" TCP4 "\x04"), "a TLV ends behind the header", false},
    {B(SIGNATURE "\x21\x11\0\x10" TCP4 "\x04\0\x02x"), "a TLV ends behind the header", false},
    {B(SIGNATURE "\x21\x11\0\x10" TCP4 "\x04\xff\xffx"), "a TLV ends behind the header", false},
    {B(SIGNATURE "\x21\x11\0\x0b" TCP4), "too short for its addresses", false},
    {B(SIGNATURE "\x21\x21\0\x0c" TCP4), "too short for its addresses", false},
    {B(SIGNATURE "\x21\x11\0\0"), "too short for its addresses", false},
    {B(SIGNATURE "\x21\x12\0\x0c" TCP4), "a family that no stream comes from", false},
    {B(SIGNATURE "\x21\x41\0\x0c" TCP4), "a family that no stream comes from", false},
    {B(SIGNATURE "\x21\x01\0\0"), "a family that no stream comes from", false},
    {B(SIGNATURE "\x22\x11\0\x0c" TCP4), "neither version 2 nor a command of it", false},
    {B(SIGNATURE "\x11\x11\0\x0c" TCP4), "neither version 2 nor a command of it", false},
    {B(SIGNATURE "\x31\x11\0\x0c" TCP4), "neither version 2 nor a command of it", false},
    {B(SIGNATURE "\x21\x11\0\xf1"), "max_header_size", false},
    {B(SIGNATURE "\x20\x11\xff\xff"), "max_header_size", false},

    /* neither */
    {B("GET / HTTP/1.1\r\n\r\n"), "no header of the PROXY protocol", false},
    {B("PROXYTCP4"), "no header of the PROXY protocol", false},
    {B("proxy TCP4"), "no header of the PROXY protocol", false},
    {B("\r\n\r\nGET"), "no header of the PROXY protocol", false},
    {B("\0"), "no header of the PROXY protocol", false},
};

static const char *
said(ssize_t rc, const td_proxy_header *header, const char *why)
{
    static char text[80];
    char peer[TD_PEER_TEXT_SIZE];

    if (rc < 0)
        return why;
    if (!header->has_peer)
        return "own";
    td_peer_format(&header->peer, peer);
    snprintf(text, sizeof(text), "%s:%u", peer, header->peer.port);
    return text;
}

/* In a place of its own of just that size: the sanitizers see who looks further. */
static ssize_t
parse(const char *bytes, size_t len, td_proxy_header *header, const char **why)
{
    char *copy = memcpy(malloc(len > 0 ? len : 1), bytes, len);
    const ssize_t rc = td_proxy_parse(copy, len, SIZE_MAX_HERE, header, why);

    free(copy);
    return rc;
}

START_TEST(headers_are_read_at_every_cut)
{
    td_proxy_header header;
    const char *why = NULL;
    size_t len = 0;
    ssize_t rc = 0;

    while (rc == 0 && len <= rows[_i].len)
        rc = parse(rows[_i].bytes, len++, &header, &why);
    ck_assert_str_eq(said(rc, &header, why), rows[_i].says);
    ck_assert(rc < 0 || header.https == rows[_i].https);
    if (rc > 0)
        ck_assert_uint_eq((size_t)rc, rows[_i].len);
}
END_TEST

START_TEST(what_is_behind_a_header_is_left)
{
    char text[1024];
    td_proxy_header header;
    const char *why = NULL;
    ssize_t rc;

    memset(text, '\n', sizeof(text));
    memcpy(text, rows[_i].bytes, rows[_i].len);
    rc = parse(text, sizeof(text), &header, &why);
    ck_assert_str_eq(said(rc, &header, why), rows[_i].says);
    if (rc > 0)
        ck_assert_uint_eq((size_t)rc, rows[_i].len);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, headers_are_read_at_every_cut, rows);
    ADD_TABLE(tcase, what_is_behind_a_header_is_left, rows);
}

int
main(void)
{
    return unit_run("proxyprotocol", fill);
}
