/*
 * The servers that a request may go to: which is next, and which is left alone for a while.  Each
 * worker has its own view of them.
 */
#ifndef GATEWAY_UPSTREAMS_H
#define GATEWAY_UPSTREAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/tornado.h>

#define UPSTREAMS_MAX 64

struct upstream {
    const char *name; /* as the settings have it, for the log */
    const char *origin;
    const char *unix_socket; /* NULL: it is an address */
    unsigned busy;           /* requests of this worker that are with it */
    td_metric *requests, *failures, *retries, *in_flight, *down; /* that tell it */
    td_metric *connections, *connections_kept;
    unsigned fails;          /* since failing_since_ms */
    int64_t failing_since_ms, down_until_ms;
};

struct upstreams {
    char *text; /* that names lie in */
    struct upstream items[UPSTREAMS_MAX];
    size_t count, next; /* whose turn it is */
    bool least_busy;
    int64_t max_fails; /* in fail_timeout_ms; 0: any number */
    int64_t fail_timeout_ms;
};

/* Zeroed memory, and what the settings say: 0, or an error that names the option. */
int upstreams_init(struct upstreams *upstreams, const char *list, const char *balance, td_err *err);
void upstreams_fini(struct upstreams *upstreams); /* after a failed init, too */

/* What the upstreams do is told from now on by the metrics of UPSTREAMS_METRICS. */
#define UPSTREAMS_METRICS                                                                          \
    TD_COUNTER_BY("gateway_requests", "Requests that went to an upstream.", "upstream",            \
                  "upstreams"),                                                                    \
        TD_COUNTER_BY("gateway_failures", "Requests that an upstream has not answered to the end.",  \
                      "upstream", "upstreams"),                                                    \
        TD_COUNTER_BY("gateway_retries", "Requests that came to it after another has failed.",     \
                      "upstream", "upstreams"),                                                    \
        TD_GAUGE_BY("gateway_requests_in_flight", "Requests that are with it.", "upstream",        \
                    "upstreams"),                                                                  \
        TD_GAUGE_BY("gateway_connections", "Connections to it, in use or kept.", "upstream",       \
                    "upstreams"),                                                                  \
        TD_GAUGE_BY("gateway_connections_kept", "Those of them that are kept for a request.",      \
                    "upstream", "upstreams"),                                                      \
        TD_GAUGE_BY("gateway_upstream_down",                                                       \
                    "Workers for whom it failed max_fails times and has not answered since.",      \
                    "upstream", "upstreams")
void upstreams_tell(struct upstreams *upstreams, const td_instance *instance);

/*
 * The next one in turn, or of those the least busy, that is none of `tried` (bit i: items[i]);
 * those that are left alone last.  NULL: all were tried.
 */
struct upstream *upstreams_choose(struct upstreams *upstreams, uint64_t tried);

/* A request goes there: its bit of `tried`, so far.  upstream_leave when it is done. */
uint64_t upstreams_enter(struct upstreams *upstreams, struct upstream *upstream, uint64_t tried);
void upstream_leave(struct upstream *upstream);

/*
 * How it went.  An answer that breaks off is a failure, too (nginx's max_fails and HAProxy's observe
 * end at its head).  So the head alone is a success only of one whose failures are longer ago than
 * fail_timeout: who begins each answer and ends none would never have failed twice.
 */
void upstreams_note_failure(const struct upstreams *upstreams, struct upstream *upstream);
void upstreams_note_head(const struct upstreams *upstreams, struct upstream *upstream); /* has fails */
void upstream_note_success(struct upstream *upstream);

#endif
