/*
 * Strict where the protocol is: a header that is not exactly one is refused, since who sends it is
 * trusted to say the truth.  Sections are those of version 2 of the specification.
 */
#include "http/proxyprotocol.h"

#include "base/network.h"

enum {
    V2_PREFIX = 16, /* signature, version and command, family, length */
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    FAMILY_UNSPEC = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    FAMILY_UNIX_STREAM = 0x31,
    TYPE_CRC32C = 0x03,
    TYPE_SSL = 0x20,
    TLV_PREFIX = 3,    /* type and length */
    SSL_LEN_MIN = 5,   /* flags, result of the verification */
    SSL_CLIENT = 0x01, /* flag: the client has connected by TLS */
};

static ssize_t
fail(const char **why_out, const char *why)
{
    *why_out = why;
    return TD_EBADMSG;
}

/* ---- version 1: section 2.1 */

/* A word and the one space behind it off the front of the line. */
static td_str
take_word(td_str *line)
{
    const char *space = memchr(line->ptr, ' ', line->len);
    const size_t len = space != NULL ? (size_t)(space - line->ptr) : line->len;
    const td_str word = td_str_make(line->ptr, len);
    const size_t taken = len + (space != NULL);

    *line = td_str_make(line->ptr + taken, line->len - taken);
    return word;
}

static bool
take_address(td_str *line, bool is_v6, td_address *out)
{
    const td_str word = take_word(line);

    return (memchr(word.ptr, ':', word.len) != NULL) == is_v6 && td_address_parse(word, out);
}

/* "TCP4 192.0.2.1 192.0.2.2 56324 443", or UNKNOWN and anything behind it. */
static bool
parse_v1(td_str line, td_proxy_header *out)
{
    const td_str protocol = take_word(&line);
    const bool is_v6 = td_str_equal(protocol, TD_STR("TCP6"));
    td_address source, destination;
    uint16_t source_port, destination_port;

    if (td_str_equal(protocol, TD_STR("UNKNOWN")))
        return true;
    if (!is_v6 && !td_str_equal(protocol, TD_STR("TCP4")))
        return false;
    if (!take_address(&line, is_v6, &source) || !take_address(&line, is_v6, &destination) ||
        !td_port_parse(take_word(&line), &source_port) || !td_port_parse(line, &destination_port))
        return false;
    out->peer = td_peer_make(source, source_port);
    out->has_peer = true;
    return true;
}

static ssize_t
take_v1(const char *bytes, size_t len, td_proxy_header *out, const char **why_out)
{
    static const size_t prefix = sizeof("PROXY ") - 1;
    const size_t looked_at = len < TD_PROXY_V1_MAX ? len : TD_PROXY_V1_MAX;
    const char *end = memchr(bytes, '\n', looked_at);

    if (end == NULL && len < TD_PROXY_V1_MAX)
        return 0;
    if (end == NULL)
        return fail(why_out, "a line of more than 107 bytes");
    if (end[-1] != '\r' ||
        !parse_v1(td_str_make(bytes + prefix, (size_t)(end - bytes) - prefix - 1), out))
        return fail(why_out, "not a line of version 1");
    return end + 1 - bytes;
}

/* ---- version 2: section 2.2 */

static unsigned
get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t
get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* RFC 3720 appendix B.4 */
static uint32_t
crc32c_add(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    return crc;
}

/* Section 2.2.3: the checksum of the whole header, the place of the checksum taken as zeros. */
static bool
is_checksum_good(const uint8_t *header, size_t len, const uint8_t *checksum)
{
    uint32_t crc = 0xffffffff;

    for (const uint8_t *at = header; at < header + len; at++)
        crc = crc32c_add(crc, at >= checksum && at < checksum + 4 ? 0 : *at);
    return ~crc == get32(checksum);
}

static const char *
take_tlvs(const uint8_t *header, size_t len, const uint8_t *at, td_proxy_header *out)
{
    const uint8_t *const end = header + len;

    while (at < end) {
        if (end - at < TLV_PREFIX || (unsigned)(end - at - TLV_PREFIX) < get16(at + 1))
            return "a TLV ends behind the header";

        const uint8_t *value = at + TLV_PREFIX;
        const unsigned value_len = get16(at + 1);

        if (*at == TYPE_CRC32C && (value_len != 4 || !is_checksum_good(header, len, value)))
            return "a wrong checksum";
        if (*at == TYPE_SSL && value_len >= SSL_LEN_MIN)
            out->https = (value[0] & SSL_CLIENT) != 0;
        at = value + value_len;
    }
    return NULL;
}

/* Bytes of both addresses and ports, or -1: a family that no stream comes from. */
static int
addresses_len(uint8_t family)
{
    switch (family) {
    case FAMILY_UNSPEC:
        return 0;
    case FAMILY_TCP4:
        return 2 * 4 + 2 * 2;
    case FAMILY_TCP6:
        return 2 * 16 + 2 * 2;
    case FAMILY_UNIX_STREAM:
        return 2 * 108;
    default:
        return -1;
    }
}

static td_peer
peer_of(uint8_t family, const uint8_t *addresses)
{
    td_address address = {.len = 0};

    if (family == FAMILY_UNIX_STREAM)
        return td_peer_make(address, 0);
    if (family == FAMILY_TCP6)
        return td_peer_make(td_address_of_v6(addresses), (uint16_t)get16(addresses + 2 * 16));
    address.len = 4;
    memcpy(address.bytes, addresses, 4);
    return td_peer_make(address, (uint16_t)get16(addresses + 2 * 4));
}

static const char *
parse_v2(const uint8_t *header, size_t len, td_proxy_header *out)
{
    const uint8_t command = header[12], family = header[13];
    const int addresses = addresses_len(family);

    if (command == COMMAND_LOCAL)
        return NULL; /* "must discard the protocol block including the family" */
    if (addresses < 0)
        return "a family that no stream comes from";
    if (len < (size_t)(V2_PREFIX + addresses))
        return "too short for its addresses";
    if (family != FAMILY_UNSPEC) {
        out->peer = peer_of(family, header + V2_PREFIX);
        out->has_peer = true;
    }
    return take_tlvs(header, len, header + V2_PREFIX + addresses, out);
}

static ssize_t
take_v2(const char *bytes, size_t len, size_t size_max, td_proxy_header *out, const char **why_out)
{
    const uint8_t *header = (const uint8_t *)bytes;
    const char *why;

    if (len < V2_PREFIX)
        return 0;

    const size_t size = V2_PREFIX + get16(header + 14);

    if (header[12] != COMMAND_LOCAL && header[12] != COMMAND_PROXY)
        return fail(why_out, "neither version 2 nor a command of it");
    if (size > size_max)
        return fail(why_out, "max_header_size");
    if (len < size)
        return 0;
    why = parse_v2(header, size, out);
    return why == NULL ? (ssize_t)size : fail(why_out, why);
}

/* ---- which of them */

static bool
may_begin_with(const char *bytes, size_t len, td_str signature)
{
    return memcmp(bytes, signature.ptr, len < signature.len ? len : signature.len) == 0;
}

ssize_t
td_proxy_parse(const char *bytes, size_t len, size_t size_max, td_proxy_header *out,
               const char **why_out)
{
    *out = (td_proxy_header){.has_peer = false};
    if (len == 0)
        return 0;
    if (may_begin_with(bytes, len, TD_STR("PROXY ")))
        return take_v1(bytes, len, out, why_out);
    if (may_begin_with(bytes, len, TD_STR("\r\n\r\n\0\r\nQUIT\n")))
        return take_v2(bytes, len, size_max, out, why_out);
    return fail(why_out, "no header of the PROXY protocol");
}
