/*
 * Addresses and networks: IPv4 and IPv6 in numbers, strictly as inet_pton reads them, and the lists
 * of them that a setting holds.  An IPv4 address in IPv6 form (::ffff:10.0.0.1) is that IPv4
 * address.
 */
#ifndef TORNADO_BASE_NETWORK_H
#define TORNADO_BASE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>
#include <tornado/str.h>
#include "base/arena.h"

typedef struct td_address {
    uint8_t bytes[16];
    uint8_t len; /* 4, 16, or 0: a unix socket */
} td_address;

typedef struct td_network {
    td_address address; /* of a unix socket: all of them */
    uint8_t bits;       /* of the address that count, the others are 0 */
} td_network;

typedef struct td_networks {
    const char *text; /* as it stands in the file; NULL: unset */
    const td_network *items;
    size_t count;
} td_networks;

/* "10.0.0.1", "2001:db8::1"; false for anything else. */
TD_PRIVATE bool td_address_parse(td_str text, td_address *out);

TD_PRIVATE bool td_port_parse(td_str text, uint16_t *out); /* 1*5DIGIT, up to 65535 */

/* "host", "host:port", "[::1]:port" or "::1": borrowed, and 0 for no port; false: none of them. */
TD_PRIVATE bool td_port_split(td_str text, td_str *host_out, uint16_t *port_out);

/* An address from the 16 bytes of an IPv6 address. */
TD_PRIVATE td_address td_address_of_v6(const uint8_t bytes[16]);

/*
 * "10.0.0.0/8, 127.0.0.1, fd00::/8, unix:": with commas or blanks in between.  Names are not looked
 * up.  *out is in the arena, but for its text.
 */
TD_PRIVATE int td_networks_parse(td_arena *arena, const char *text, td_networks *out, td_err *err);

TD_PRIVATE bool td_networks_have(const td_networks *networks, const uint8_t *address,
                                 size_t address_len);

#endif
