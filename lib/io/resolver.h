/*
 * td_resolver, as the layers above and the daemon see it: look-ups without a coroutine.
 *
 * One resolver a thread, made when the first name is looked up, gone with its loop.
 */
#ifndef TORNADO_IO_RESOLVER_H
#define TORNADO_IO_RESOLVER_H

#include <netdb.h>
#include <stdbool.h>
#include <tornado/error.h>
#include <tornado/resolver.h>
#include "io/ioloop.h"

/* getaddrinfo(3), or what stands for it in a test. */
typedef int td_system_lookup(const char *host, const char *service, const struct addrinfo *hints,
                             struct addrinfo **out);

typedef struct td_resolver_options {
    const char *servers; /* "127.0.0.1:5353, [::1]"; NULL: of /etc/resolv.conf; must live on */
    int64_t try_ms;      /* for one server to answer; then the next, three times round */
    int64_t timeout_ms;  /* for all of it, when the caller does not say; 0: 5 s */
    int64_t ttl_min_ms;  /* /etc/hosts and the system tell no time: this one then */
    int64_t ttl_max_ms;  /* 0: nothing is cached */
    size_t cache_max;    /* names */
    size_t pending_max;  /* names that are being looked up */

    /*
     * Asked, on threads, for names that neither /etc/hosts nor the servers know; NULL: nobody is.
     */
    td_system_lookup *system_lookup;
} td_resolver_options;

/* Before this thread's first look-up. */
TD_PRIVATE void td_resolver_configure(const td_resolver_options *options);

/*
 * td_resolver_override for each of "db.internal=10.0.0.1, api:443=localhost:8443, old=[::1]:80".
 * TD_ECONFIG, and err has the part that is none; then nothing was overridden.
 */
TD_PRIVATE int td_resolver_override_list(const char *text, td_err *err);

/* Whether such a list, or one of servers as in the options, is one; off a loop, too. */
TD_PRIVATE int td_resolver_check_overrides(const char *text, td_err *err);
TD_PRIVATE int td_resolver_check_servers(const char *text, td_err *err);

/* True when the file at path (/etc/nsswitch.conf) has more to ask for hosts than files and dns. */
TD_PRIVATE bool td_resolver_system_knows_more(const char *path);

#pragma GCC visibility push(hidden)

typedef struct td_lookup td_lookup;

/* error 0 and the addresses, valid during the call; or why not.  On the loop's stack. */
typedef void td_lookup_fn(td_lookup *lookup, int error, const td_addresses *addresses);

struct td_lookup { /* the caller's; zeroed memory is one that does not run */
    td_list link;  /* of those that wait for the same name */
    td_callback answered;
    td_timer timer;
    td_ioloop *loop;
    uint16_t port;
    struct name *name; /* referenced; NULL: it was not to be had */
    int error;
    td_lookup_fn *done;
};

/*
 * 1 and *out when the answer is known already; 0: lookup->done is going to be called, never from
 * inside; else why not, as td_resolve.
 */
int td_lookup_start(td_lookup *lookup, const char *host, uint16_t port,
                    const td_resolve_options *options, td_lookup_fn *done, td_addresses *out);
void td_lookup_stop(td_lookup *lookup); /* done is not called any more; harmless when it was */

bool td_resolve_number(const char *host, uint16_t port, td_endpoint *out); /* "::1", "[::1]" */

void td_resolver_close(void); /* for td_ioloop_destroy */

#pragma GCC visibility pop

#endif
