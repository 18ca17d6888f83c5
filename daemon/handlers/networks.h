/*
 * Addresses and networks of clients, for options that hold a list of them: "127.0.0.1, 10.0.0.0/8,
 * fd00::/8".
 */
#ifndef HANDLERS_NETWORKS_H
#define HANDLERS_NETWORKS_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>

/* IPv4 as it stands in IPv6. */
struct network {
    unsigned char address[16];
    int bits;
};

struct networks {
    struct network *items;
    size_t count;
};

static inline bool
networks_parse_address(const char *text, unsigned char *out)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET6, text, out) == 1)
        return true;
    memcpy(out, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1;
}

/* 1*3DIGIT; -1: it is not. */
static inline int
networks_parse_prefix(const char *text)
{
    const size_t len = strspn(text, "0123456789");

    return len > 0 && len <= 3 && text[len] == '\0' ? atoi(text) : -1;
}

/* Clear the bits behind the prefix.  True: some were set, so something else may have been meant. */
static inline bool
networks_cut(struct network *network)
{
    bool was_cut = false;

    for (int i = network->bits; i < 128; i++) {
        const unsigned char bit = (unsigned char)(0x80 >> i % 8);

        was_cut |= (network->address[i / 8] & bit) != 0;
        network->address[i / 8] &= (unsigned char)~bit;
    }
    return was_cut;
}

/* "10.0.0.0/8", or an address alone. */
static inline int
networks_parse_one(const char *key, char *text, struct network *out, td_err *err)
{
    char *slash = strchr(text, '/'), cut[INET6_ADDRSTRLEN];
    const bool is_v4 = strchr(text, ':') == NULL;
    const int bits_max = is_v4 ? 32 : 128;
    const int bits = slash != NULL ? networks_parse_prefix(slash + 1) : bits_max;

    if (slash != NULL)
        *slash = '\0';
    if (!networks_parse_address(text, out->address) || bits < 0 || bits > bits_max)
        return td_err_set(err, TD_ECONFIG, "%s: '%s%s%s' is no address or network", key, text,
                          slash != NULL ? "/" : "", slash != NULL ? slash + 1 : "");
    out->bits = bits + (is_v4 ? 96 : 0);
    if (!networks_cut(out))
        return 0;
    inet_ntop(is_v4 ? AF_INET : AF_INET6, out->address + (is_v4 ? 12 : 0), cut, sizeof(cut));
    return td_err_set(err, TD_ECONFIG, "%s: '%s/%d': the network is %s/%d, the address alone %s",
                      key, text, bits, cut, bits, text);
}

static inline int
networks_parse_words(const char *key, char *text, struct networks *out, td_err *err)
{
    char *rest;
    int rc = 0;

    for (char *word = strtok_r(text, ", \t", &rest); word != NULL && rc == 0;
         word = strtok_r(NULL, ", \t", &rest))
        rc = networks_parse_one(key, word, &out->items[out->count++], err);
    return rc;
}

/* 0, or an error that names the option.  Either way networks_free gives back what out holds. */
static inline int
networks_parse(const char *key, const char *list, struct networks *out, td_err *err)
{
    char *text = strdup(list);
    int rc;

    out->items = calloc(strlen(list) / 2 + 1, sizeof(struct network));
    if (text != NULL && out->items != NULL)
        rc = networks_parse_words(key, text, out, err);
    else
        rc = td_err_errno(err, "%s", key);
    free(text);
    return rc;
}

static inline void
networks_free(struct networks *networks)
{
    free(networks->items);
}

static inline bool
networks_is_in(const struct network *network, const unsigned char *address)
{
    const int whole = network->bits / 8, rest = network->bits % 8;
    const unsigned char mask = (unsigned char)(0xff00 >> rest);

    return memcmp(network->address, address, (size_t)whole) == 0 &&
           (rest == 0 || ((network->address[whole] ^ address[whole]) & mask) == 0);
}

/* address: as td_request_remote_addr tells it; a unix socket is in none. */
static inline bool
networks_have(const struct networks *networks, const char *address)
{
    unsigned char bytes[16];

    if (!networks_parse_address(address, bytes))
        return false;
    for (size_t i = 0; i < networks->count; i++)
        if (networks_is_in(&networks->items[i], bytes))
            return true;
    return false;
}

#endif
