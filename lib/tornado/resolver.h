/*
 * Names to addresses without stopping the loop (Tornado's Resolver).
 *
 *     td_addresses addresses;
 *     int rc = td_resolve("db.internal", 5432, NULL, &addresses);
 *
 * Numbers ("127.0.0.1", "::1", "[::1]"), localhost and what is cached are answered at once; else
 * /etc/hosts and then the name servers of /etc/resolv.conf are asked, while others are served, and
 * then the system, if it has more to ask (resolver_system of [tornadod]).  Who asks for the same
 * name meanwhile waits for the same answer.  Answers are kept for the time that their servers
 * allow, between resolver_ttl_min and resolver_ttl_max; failures are not.
 *
 * All for the loop's thread; misuse is TD_EINVAL (or NULL) and logged.
 */
#ifndef TORNADO_RESOLVER_H
#define TORNADO_RESOLVER_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <tornado/abi.h>
#include <tornado/future.h>

#define TD_ADDRESSES_MAX 16 /* of one name; what a server tells beyond it is left out */

typedef struct td_endpoint { /* as connect(2) wants it */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t len;
} td_endpoint;

typedef struct td_addresses {
    size_t count;                        /* 1.. */
    td_endpoint items[TD_ADDRESSES_MAX]; /* the best first, RFC 6724 */
} td_addresses;

typedef struct td_resolve_options {
    size_t size TD_ZERO;        /* of the struct; set by TD_RESOLVE */
    int family TD_ZERO;         /* AF_INET or AF_INET6; 0: both */
    int64_t timeout_ms TD_ZERO; /* 0: resolver_timeout of [tornadod], 5 s */
} td_resolve_options;

#ifndef __cplusplus
#define TD_RESOLVE(...)                                                                            \
    (&(const td_resolve_options){.size = sizeof(td_resolve_options), __VA_ARGS__})
#else
#define TD_RESOLVE(...) TD_OPTIONS_OF(td_resolve_options, __VA_ARGS__)
#endif

/*
 * Wait for the addresses of host; options NULL: as usual.  0, TD_ENOTFOUND (there is no such name,
 * or it has no address of that family), TD_ETIMEDOUT, TD_EBUSY (too many are being looked up),
 * TD_ENAME (the servers cannot be reached, or have failed).
 */
TD_API int td_resolve(const char *host, uint16_t port, const td_resolve_options *options,
                      td_addresses *out);

/*
 * The same without waiting.  The result is a td_addresses * of whoever looks at it, who frees it
 * with td_addresses_destroy.
 */
TD_API td_future *td_resolve_future(const char *host, uint16_t port,
                                    const td_resolve_options *options);
TD_API void td_addresses_destroy(td_addresses **addresses); /* NULL inside is harmless */

/*
 * In this worker from now on, host (compared without regard to case) at port (0: at any) means
 * another one (Tornado's OverrideResolver): to_host is a name or a number, to_port 0 the same port.
 * to_host NULL takes it back.  An override is not overridden again.
 */
TD_API int td_resolver_override(const char *host, uint16_t port, const char *to_host,
                                uint16_t to_port);

#endif
