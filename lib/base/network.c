/* Networks as bits to compare: no name is looked up, and one that says two things is an error. */
#include "base/network.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>
#include "base/value.h"

td_address
td_address_of_v6(const uint8_t bytes[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const bool is_v4 = memcmp(bytes, mapped, sizeof(mapped)) == 0;
    td_address address = {.len = is_v4 ? 4 : 16};

    memcpy(address.bytes, bytes + (is_v4 ? 12 : 0), address.len);
    return address;
}

bool
td_address_parse(td_str text, td_address *out)
{
    char copy[INET6_ADDRSTRLEN];
    td_address address = {.len = 4};
    struct in6_addr v6;

    if (text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, address.bytes) == 1) {
        *out = address;
        return true;
    }
    if (inet_pton(AF_INET6, copy, &v6) != 1)
        return false;
    *out = td_address_of_v6(v6.s6_addr);
    return true;
}

bool
td_port_parse(td_str text, uint16_t *out)
{
    int64_t port;

    if (text.len > 5 || !td_value_parse_digits(text, &port) || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

bool
td_port_split(td_str text, td_str *host_out, uint16_t *port_out)
{
    const char *colon = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;
    const bool has_port =
        colon != NULL && (text.ptr[0] == '[' ? colon > text.ptr && colon[-1] == ']'
                                             : memchr(text.ptr, ':', text.len) == colon);
    const size_t len = has_port ? (size_t)(colon - text.ptr) : text.len;

    if (len == 0)
        return false;
    *port_out = 0;
    *host_out = td_str_make(text.ptr, len);
    return !has_port || td_port_parse(td_str_make(colon + 1, text.len - len - 1), port_out);
}

static bool
is_equal_up_to(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    const unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

/* A network's own address ends in zeros: with more behind the prefix something else was meant. */
static int
refuse_more_bits(const td_network *network, td_str text, td_err *err)
{
    const int family = network->address.len == 4 ? AF_INET : AF_INET6;
    char whole[INET6_ADDRSTRLEN], alone[INET6_ADDRSTRLEN];
    uint8_t cut[16] = {0};

    for (unsigned i = 0; i < network->bits; i++)
        cut[i / 8] |= network->address.bytes[i / 8] & (0x80 >> i % 8);
    if (memcmp(cut, network->address.bytes, network->address.len) == 0)
        return 0;
    inet_ntop(family, cut, whole, sizeof(whole));
    inet_ntop(family, network->address.bytes, alone, sizeof(alone));
    return td_err_set(err, TD_ECONFIG, "'%.*s': the network is %s/%u, the address alone %s",
                      TD_STR_FMT(text), whole, network->bits, alone);
}

static int
parse_network(td_str text, td_network *out, td_err *err)
{
    const char *slash = memchr(text.ptr, '/', text.len);
    const size_t address_len = slash != NULL ? (size_t)(slash - text.ptr) : text.len;
    const bool is_v6 = memchr(text.ptr, ':', address_len) != NULL;
    int64_t bits = is_v6 ? 128 : 32;

    *out = (td_network){.bits = 0};
    if (td_str_equal(text, TD_STR("unix:")))
        return 0;
    if (!td_address_parse(td_str_make(text.ptr, address_len), &out->address))
        return td_err_set(err, TD_ECONFIG,
                          "'%.*s' is no network such as 10.0.0.0/8, 127.0.0.1, fd00::/8 or unix:",
                          TD_STR_FMT(text));

    const int64_t bits_max = bits;
    const int64_t dropped = bits_max - out->address.len * 8; /* of an IPv4 address in IPv6 form */

    if (slash != NULL &&
        (!td_value_parse_digits(td_str_make(slash + 1, text.len - address_len - 1), &bits) ||
         bits > bits_max || bits < dropped))
        return td_err_set(err, TD_ECONFIG,
                          "'%.*s': the prefix is not between %" PRId64 " and %" PRId64,
                          TD_STR_FMT(text), dropped, bits_max);
    out->bits = (uint8_t)(bits - dropped);
    return refuse_more_bits(out, text, err);
}

/* The next of the list, whose front is taken off; empty when there is none left. */
static td_str
next_network(const char **text)
{
    static const char between[] = ", \t";
    td_str network;

    *text += strspn(*text, between);
    network = td_str_make(*text, strcspn(*text, between));
    *text += network.len;
    return network;
}

static size_t
count_networks(const char *text)
{
    size_t count = 0;

    while (next_network(&text).len > 0)
        count++;
    return count;
}

int
td_networks_parse(td_arena *arena, const char *text, td_networks *out, td_err *err)
{
    const size_t count = count_networks(text);
    td_network *items = TD_ARENA_ARRAY(arena, td_network, count);
    const char *rest = text;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = parse_network(next_network(&rest), &items[i], err);
    if (rc == 0)
        *out = (td_networks){.text = count > 0 ? text : NULL, .items = items, .count = count};
    return rc;
}

bool
td_networks_have(const td_networks *networks, const uint8_t *address, size_t address_len)
{
    for (size_t i = 0; i < networks->count; i++) {
        const td_network *network = &networks->items[i];

        if (network->address.len == address_len &&
            is_equal_up_to(network->address.bytes, address, network->bits))
            return true;
    }
    return false;
}
