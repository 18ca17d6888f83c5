/*
 * The proxy by which other servers are asked, as settings have it, and those servers that are asked
 * without it.
 */
#ifndef TORNADO_BASE_CLIENTPROXY_H
#define TORNADO_BASE_CLIENTPROXY_H

#include "base/network.h"

/* A server, or several, to which the way is straight. */
typedef struct td_bypass {
    bool is_for_all;
    bool is_below;        /* names below this one, but not it */
    td_str name;          /* that host and what is below; null: see networks */
    td_networks networks; /* of a host that is an address */
    uint16_t port;        /* 0: any */
} td_bypass;

typedef struct td_client_proxy {
    const char *host; /* NULL: there is none; "[::1]" keeps its brackets */
    uint16_t port;
    const char *username, *password; /* NULL: it wants none */
    const td_bypass *bypasses;
    size_t bypasses_count;
} td_client_proxy;

/*
 * Each takes one setting: "HOST:PORT"; a file with one line "USER:PASSWORD"; a list as no_proxy has
 * it, with commas or blanks between: "*", "example.com" (it and what is below), ".example.com" or
 * "*.example.com" (what is below), addresses and networks, each but networks with ":PORT" if
 * wanted. What is found is in the arena, or borrowed from text.  0, or TD_ECONFIG or -errno, which
 * says nothing of what is in the file.
 */
TD_PRIVATE int td_client_proxy_parse(td_arena *arena, const char *text, td_client_proxy *proxy,
                                     td_err *err);
TD_PRIVATE int td_client_proxy_read_credentials(td_arena *arena, const char *path,
                                                td_client_proxy *proxy, td_err *err);
TD_PRIVATE int td_client_proxy_parse_bypasses(td_arena *arena, const char *text,
                                              td_client_proxy *proxy, td_err *err);

/*
 * The way to that server, a name or an address ("[::1]" or "::1"), is by the proxy.  To localhost
 * and what is below it, and to addresses that loop back, it never is.  Names are not looked up.
 */
TD_PRIVATE bool td_client_proxy_is_for(const td_client_proxy *proxy, td_str host, uint16_t port);

#endif
