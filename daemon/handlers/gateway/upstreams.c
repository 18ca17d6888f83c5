#include "upstreams.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- the settings */

/* "app.internal:8080", "[::1]:8080", "https://app.internal:8443", "unix:/run/app.sock" */
static int
add(struct upstreams *upstreams, const char *text, td_err *err)
{
    static const char https[] = "https://";
    struct upstream *upstream = &upstreams->items[upstreams->count];
    const bool is_https = strncasecmp(text, https, strlen(https)) == 0;
    const char *colon = strrchr(text, ':');
    char *origin = NULL;

    if (upstreams->count == UPSTREAMS_MAX)
        return td_err_set(err, TD_ECONFIG, "upstreams: more than %d", UPSTREAMS_MAX);
    upstream->name = text;
    if (strncmp(text, "unix:/", 6) == 0) {
        upstream->unix_socket = text + 5;
        upstream->origin = "http://localhost";
        upstreams->count++;
        return 0;
    }
    if (is_https)
        text += strlen(https);
    if (colon == NULL || colon <= text || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        atoi(colon + 1) < 1 || atoi(colon + 1) > 65535 || strpbrk(text, "/@?#\\%") != NULL)
        return td_err_set(err, TD_ECONFIG,
                          "upstreams: '%s' is none of HOST:PORT, https://HOST:PORT, unix:/PATH",
                          upstream->name);
    if (asprintf(&origin, "http%s://%s", is_https ? "s" : "", text) < 0)
        return td_err_errno(err, "upstreams: '%s'", upstream->name);
    upstream->origin = origin;
    upstreams->count++;
    return 0;
}

int
upstreams_init(struct upstreams *upstreams, const char *list, const char *balance, td_err *err)
{
    static const char separators[] = ", \t";
    char *rest;
    int rc = 0;

    upstreams->text = strdup(list);
    if (upstreams->text == NULL)
        return td_err_errno(err, "upstreams");
    for (char *text = strtok_r(upstreams->text, separators, &rest); text != NULL && rc == 0;
         text = strtok_r(NULL, separators, &rest))
        rc = add(upstreams, text, err);
    if (rc == 0 && upstreams->count == 0)
        rc = td_err_set(err, TD_ECONFIG, "upstreams = %s: names none", list);
    upstreams->least_busy = strcmp(balance, "least_busy") == 0;
    if (rc == 0 && !upstreams->least_busy && strcmp(balance, "round_robin") != 0)
        rc = td_err_set(err, TD_ECONFIG, "balance = %s: is neither round_robin nor least_busy",
                        balance);
    return rc;
}

void
upstreams_fini(struct upstreams *upstreams)
{
    for (size_t i = 0; i < upstreams->count; i++)
        if (upstreams->items[i].unix_socket == NULL)
            free((char *)upstreams->items[i].origin);
    free(upstreams->text);
}

void
upstreams_tell(struct upstreams *upstreams, const td_instance *instance)
{
    for (size_t i = 0; i < upstreams->count; i++) {
        struct upstream *upstream = &upstreams->items[i];

        upstream->requests = td_instance_metric_by(instance, "gateway_requests", upstream->name);
        upstream->failures = td_instance_metric_by(instance, "gateway_failures", upstream->name);
        upstream->retries = td_instance_metric_by(instance, "gateway_retries", upstream->name);
        upstream->in_flight =
            td_instance_metric_by(instance, "gateway_requests_in_flight", upstream->name);
        upstream->connections =
            td_instance_metric_by(instance, "gateway_connections", upstream->name);
        upstream->connections_kept =
            td_instance_metric_by(instance, "gateway_connections_kept", upstream->name);
        upstream->down = td_instance_metric_by(instance, "gateway_upstream_down", upstream->name);
    }
}

/* ---- the choice */

/* Its failures of so long ago count no more. */
static bool
is_forgiven(const struct upstreams *upstreams, const struct upstream *upstream, int64_t now_ms)
{
    return now_ms - upstream->failing_since_ms > upstreams->fail_timeout_ms;
}

static bool
is_up(const struct upstream *upstream, int64_t now_ms)
{
    return upstream->down_until_ms <= now_ms;
}

static bool
is_better(const struct upstreams *upstreams, const struct upstream *one,
          const struct upstream *other)
{
    return other == NULL || (upstreams->least_busy && one->busy < other->busy);
}

static struct upstream *
choose_among(struct upstreams *upstreams, uint64_t tried, bool even_down)
{
    const int64_t now_ms = td_ioloop_time_ms();
    struct upstream *best = NULL;
    size_t i = upstreams->next;

    for (size_t n = 0; n < upstreams->count; n++) {
        struct upstream *upstream = &upstreams->items[i];

        if (!(tried >> i & 1) && (even_down || is_up(upstream, now_ms)) &&
            is_better(upstreams, upstream, best))
            best = upstream;
        if (++i == upstreams->count)
            i = 0;
    }
    return best;
}

struct upstream *
upstreams_choose(struct upstreams *upstreams, uint64_t tried)
{
    struct upstream *upstream = choose_among(upstreams, tried, false);

    return upstream != NULL ? upstream : choose_among(upstreams, tried, true);
}

uint64_t
upstreams_enter(struct upstreams *upstreams, struct upstream *upstream, uint64_t tried)
{
    const size_t i = (size_t)(upstream - upstreams->items);

    upstreams->next = i + 1 < upstreams->count ? i + 1 : 0;
    upstream->busy++;
    td_metric_add(upstream->requests, 1);
    td_metric_add(upstream->in_flight, 1);
    if (tried != 0)
        td_metric_add(upstream->retries, 1);
    return tried | UINT64_C(1) << i;
}

void
upstream_leave(struct upstream *upstream)
{
    upstream->busy--;
    td_metric_add(upstream->in_flight, -1);
}

/* ---- health */

void
upstreams_note_failure(const struct upstreams *upstreams, struct upstream *upstream)
{
    const int64_t now_ms = td_ioloop_time_ms();

    td_metric_add(upstream->failures, 1);
    if (is_forgiven(upstreams, upstream, now_ms))
        upstream->fails = 0;
    if (upstream->fails++ == 0)
        upstream->failing_since_ms = now_ms;
    if (upstreams->max_fails == 0 || upstream->fails < upstreams->max_fails)
        return;
    td_metric_set(upstream->down, 1);
    if (!is_up(upstream, now_ms) || upstreams->count == 1)
        return;
    upstream->down_until_ms = now_ms + upstreams->fail_timeout_ms;
    td_log_warning("upstream %s: left alone for %lld ms after %u failures", upstream->name,
                   (long long)upstreams->fail_timeout_ms, upstream->fails);
}

void
upstreams_note_head(const struct upstreams *upstreams, struct upstream *upstream)
{
    if (is_forgiven(upstreams, upstream, td_ioloop_time_ms()))
        upstream_note_success(upstream);
}

void
upstream_note_success(struct upstream *upstream)
{
    if (upstream->fails == 0)
        return;
    if (upstream->down_until_ms != 0)
        td_log_info("upstream %s: answers again", upstream->name);
    upstream->fails = 0;
    upstream->down_until_ms = 0;
    td_metric_set(upstream->down, 0);
}
