/* What the chapters of the gateway know of each other: the settings, and a request on its way. */
#ifndef GATEWAY_RELAY_H
#define GATEWAY_RELAY_H

#include <tornado/tornado.h>
#include "upstreams.h"

#define SEPARATORS ", \t"
#define PIECE 65536 /* bytes that td_read_body and td_fetch_read give at most */

struct settings {
    const char *upstreams, *balance, *host, *strip_prefix, *add_prefix, *x_forwarded, *forwarded;
    const char *via, *upgrades, *tls_ca, *tls_certificate, *tls_key;
    bool pass_host, underscores, tls_verify;
    int64_t connect_timeout, timeout, fail_timeout; /* ms */
    int64_t upgrade_timeout, half_open_timeout;
    int64_t max_fails, tries;
    int64_t request_buffer, response_buffer; /* bytes */
};

/* What becomes of the fields that tell of the client. */
enum telling {
    TELL_SET,  /* as we know it; what the client says of itself is dropped */
    TELL_ADD,  /* behind what the client says */
    TELL_DROP, /* nothing */
    TELL_PASS, /* what the client says */
};

struct gateway {
    struct upstreams upstreams;
    enum telling x_forwarded, forwarded;
    char *via[2]; /* by the minor of the client's HTTP/1.x; NULL: not sent */
};

struct relay {
    td_handler *h;
    const struct settings *settings;
    struct gateway *gateway;
    struct upstream *upstream; /* it is with; NULL: none */
    uint64_t tried;            /* bit i: upstream i */
    int64_t tries;             /* so many */
    td_fetch_stream *stream;
    void (*other_way)(struct relay *);
    td_future *beside; /* the coroutine for the other way; NULL: there is none */
    td_future *ended;  /* set when it has ended; NULL: it has not begun */
    td_iostream *client, *server; /* once HTTP has ended */
    int64_t moved_ms;             /* when the last bytes, or an end, came on either, or left */
    bool is_half_open;            /* one of them sends no more */

    int64_t hops;                  /* of Max-Forwards; -1: it is none of ours */
    const td_header_line *headers; /* to send */
    size_t headers_count;
    bool has_body;
    int64_t length; /* of the body, -1: not told */
    td_str body;    /* what was read of it so far */
    bool is_whole;  /* that is all */
    int64_t awaits_body_ms; /* since when, while the upstream is with the rest; 0: it is not */
    bool was_held_up;       /* the upstream, by the client, at any time */
    bool buffers;   /* the answer, as the settings say: it did not ask not to */
};

/*
 * Run other_way(relay) on a coroutine of its own beside that which runs; once a request, and
 * stopped by whoever has started it before *relay goes.
 */
void relay_start_beside(struct relay *relay, void (*other_way)(struct relay *));
void relay_await_beside(struct relay *relay); /* until it has ended */
void relay_stop_beside(struct relay *relay); /* harmless when there is none */

#endif
