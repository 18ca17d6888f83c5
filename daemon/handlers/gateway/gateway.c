/*
 * gateway: relays a mount to HTTP/1.1 servers.
 *
 *     [handler:shop]
 *     file = gateway.so
 *     mount = /shop
 *     upstreams = 127.0.0.1:8000, https://shop.internal:8443, unix:/run/shop.sock
 *
 * A request is straight-line code: choose an upstream, send it what the client has sent, send the
 * client what it answers.  Both ways go on at once, piece by piece, and as fast as the slower side
 * takes them.  Each message is taken apart and framed anew, so what one side could understand in
 * two ways does not reach the other: hop-by-hop fields, and those that Connection names, end here.
 * A path with a segment ".." is answered 400: it would lead out of the mount.
 *
 * A client and an upstream that agree on a protocol of `upgrades` are left alone with each other:
 * their bytes pass, with no more of them under way than buffers hold, and so do their ends: one that
 * has said all may still listen.
 *
 * An upstream that fails max_fails times in fail_timeout is left alone for fail_timeout, unless
 * there is no other; each worker counts for itself.  It fails when there is no connection, no
 * answer, or none that comes to its end; a client that goes first is no failure.  A request goes to the next upstream when the
 * one it was meant for has not got any of it, or when a second time does no harm: an idempotent
 * method, all of its body at hand, nothing answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "fields.h"
#include "relay.h"
#include "target.h"
#include "upgrade.h"

#define HELD_UP_MS 1000 /* by a client: what the upstream does then tells nothing of its health */

/* ---- the body of the request */

static bool
has_header(td_handler *h, const char *name)
{
    return !td_str_is_null(td_request_header(h, name));
}

/* How long it is of one that is inflated on its way (decompress_request) nobody knows. */
static void
find_body(struct relay *relay)
{
    const td_str length = td_request_header(relay->h, "Content-Length");

    relay->length = td_str_is_null(length) ? -1 : strtoll(length.ptr, NULL, 10);
    relay->has_body = relay->length >= 0 || has_header(relay->h, "Transfer-Encoding") ||
                      has_header(relay->h, "X-Consumed-Content-Encoding");
    relay->is_whole = !relay->has_body || relay->length == 0;
    relay->body = relay->has_body ? TD_STR("") : td_str_make(NULL, 0);
}

static int
read_piece(struct relay *relay, td_str *piece_out)
{
    const int n = td_read_body(relay->h, piece_out);

    if (n < 0)
        td_raise(relay->h, 400, NULL); /* it has gone, or was told what is wrong */
    return n;
}

/* A small body is at hand before anybody is asked, so a slow client keeps no upstream busy. */
static void
read_small_body(struct relay *relay)
{
    td_str piece;
    size_t have;
    char *bytes;

    if (relay->is_whole)
        return;
    have = (size_t)read_piece(relay, &relay->body);
    relay->is_whole = have == 0 || (int64_t)have == relay->length;
    if (relay->is_whole || relay->length < 0 || relay->length > relay->settings->request_buffer)
        return;
    bytes = td_alloc(relay->h, (size_t)relay->length);
    memcpy(bytes, relay->body.ptr, have);
    while ((int64_t)have < relay->length && read_piece(relay, &piece) > 0) {
        memcpy(bytes + have, piece.ptr, piece.len);
        have += piece.len;
    }
    relay->body = td_str_make(bytes, have);
    relay->is_whole = true;
}

/* For the client, since then: an upstream that it holds up may give up. */
static void
note_wait(struct relay *relay, int64_t since_ms)
{
    relay->was_held_up |= td_ioloop_time_ms() - since_ms > HELD_UP_MS;
}

/* A large one goes along piece by piece, on a coroutine beside that which waits for the answer. */
static void
upload(struct relay *relay)
{
    td_fetch_stream *stream = relay->stream; /* whoever reads the answer finds it closed, and not gone */
    td_str piece = relay->body;
    int n = (int)piece.len;

    while (n > 0 && td_fetch_write(stream, piece) == 0) {
        relay->awaits_body_ms = td_ioloop_time_ms();
        n = td_read_body(relay->h, &piece);
        note_wait(relay, relay->awaits_body_ms);
        relay->awaits_body_ms = 0;
    }
    if (n == 0)
        td_fetch_end(stream);
    if (n < 0)
        td_fetch_close(&stream); /* nobody wants the answer to half a request */
}

/* ---- asking */

/* RFC 9110 section 9.2.2 */
static bool
is_idempotent(td_handler *h)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (td_str_equal(td_request_method(h), td_str_of(methods[i])))
            return true;
    return false;
}

static bool
may_try_again(const struct relay *relay)
{
    td_handler *h = relay->h;

    if (td_error_phase(h) <= TD_FETCH_CONNECT)
        return td_error_phase(h) == TD_FETCH_CONNECT;
    return relay->is_whole && is_idempotent(h) && td_error_code(h) != TD_ETIMEDOUT;
}

static bool
is_late_client(const struct relay *relay)
{
    return relay->awaits_body_ms != 0 && td_error_code(relay->h) == TD_ETIMEDOUT;
}

static bool
is_held_up(const struct relay *relay)
{
    return relay->was_held_up ||
           (relay->awaits_body_ms != 0 && td_ioloop_time_ms() - relay->awaits_body_ms > HELD_UP_MS);
}

/* Of a failure: it has to do with what that upstream does, and with no client. */
static bool
is_of_upstream(const struct relay *relay)
{
    return td_error_phase(relay->h) > TD_FETCH_QUEUED && !td_error_is_stale(relay->h) &&
           !is_late_client(relay) && !is_held_up(relay);
}

/* RFC 9110 section 15.6; all places for requests taken for too long is our own fault. */
static TD_NORETURN void
raise_failure(const struct relay *relay)
{
    td_handler *h = relay->h;
    const int status = td_error_phase(h) == TD_FETCH_QUEUED ? 503
                       : td_error_code(h) == TD_ETIMEDOUT   ? 504
                                                            : 502;

    if (is_late_client(relay))
        td_raise(h, 408, "no more of the body came in %lld ms",
                 (long long)relay->settings->timeout);
    td_raise(h, status, "upstream %s: %s", relay->upstream->name, td_error_text(h));
}

static const char *
text_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/* Ask that upstream, up to the head of its answer; NULL: td_error_text says why not. */
static td_response *
ask(struct relay *relay)
{
    const struct settings *settings = relay->settings;
    const td_str method = td_request_method(relay->h);
    const bool is_streamed = relay->has_body && !relay->is_whole;

    relay->stream = td_fetch_open(
        relay->h, target_url(relay),
        TD_FETCH(.method = method.ptr, .headers = relay->headers,
                 .headers_count = relay->headers_count,
                 .body = is_streamed ? td_str_make(NULL, 0) : relay->body,
                 .stream_body = is_streamed,
                 .content_length = is_streamed && relay->length > 0 ? relay->length : 0,
                 .allow_nonstandard_methods = true, .no_decompress = true, .max_redirects = -1,
                 .user_agent = "", .proxy_host = "",
                 .connect_timeout_ms = settings->connect_timeout,
                 .request_timeout_ms = settings->timeout,
                 .unix_socket = relay->upstream->unix_socket,
                 .no_validate_cert = !settings->tls_verify,
                 .ca_certs = text_or_null(settings->tls_ca),
                 .client_cert = text_or_null(settings->tls_certificate),
                 .client_key = text_or_null(settings->tls_key), .upgrade = upgrade_wanted(relay),
                 .connections = relay->upstream->connections,
                 .connections_kept = relay->upstream->connections_kept));
    if (relay->stream == NULL)
        return NULL;
    if (is_streamed)
        relay_start_beside(relay, upload);
    return td_fetch_head(relay->stream);
}

/* NULL: the one that it is with has to be it. */
static struct upstream *
choose(const struct relay *relay)
{
    if (relay->tries == relay->settings->tries)
        return NULL;
    return upstreams_choose(&relay->gateway->upstreams, relay->tried);
}

static void
go_to(struct relay *relay, struct upstream *upstream)
{
    relay->tried = upstreams_enter(&relay->gateway->upstreams, upstream, relay->tried);
    relay->tries++;
    relay->upstream = upstream;
}

static void
leave(struct relay *relay)
{
    if (relay->upstream != NULL)
        upstream_leave(relay->upstream);
    relay->upstream = NULL;
}

/* The same with the next ones where that does no harm. */
static td_response *
ask_until_answered(struct relay *relay)
{
    struct upstream *upstream = choose(relay);
    td_handler *h = relay->h;
    td_response *answer;

    for (;;) {
        go_to(relay, upstream);
        answer = ask(relay);
        if (answer != NULL && upstream->fails > 0)
            upstreams_note_head(&relay->gateway->upstreams, upstream);
        if (answer != NULL || td_is_finished(h) || td_error_phase(h) == TD_FETCH_QUEUED)
            return answer;
        if (is_of_upstream(relay))
            upstreams_note_failure(&relay->gateway->upstreams, relay->upstream);
        if (!may_try_again(relay) || (upstream = choose(relay)) == NULL)
            return NULL;
        td_log_warning("upstream %s: %s; %s is next", relay->upstream->name, td_error_text(h),
                       upstream->name);
        td_fetch_close(&relay->stream);
        leave(relay);
    }
}

/* ---- the answer */

static TD_NORETURN void
fail_within_body(const struct relay *relay)
{
    if (is_of_upstream(relay))
        upstreams_note_failure(&relay->gateway->upstreams, relay->upstream);
    raise_failure(relay);
}

static int
flush(struct relay *relay)
{
    const int64_t begun_ms = td_ioloop_time_ms();
    const int rc = td_flush(relay->h);

    note_wait(relay, begun_ms);
    return rc;
}

/* What comes at once is sent at once, with its head; what the client does not take is not read. */
static void
relay_body(struct relay *relay)
{
    const size_t buffer = relay->buffers ? (size_t)relay->settings->response_buffer : 0;
    td_handler *h = relay->h;
    size_t unsent = 0;
    td_str piece;
    int n;

    while ((n = td_fetch_read(relay->stream, &piece)) > 0) {
        if (td_write(h, piece) < 0)
            return;
        unsent += piece.len;
        if (unsent < buffer || (unsent < PIECE && td_fetch_is_ready(relay->stream)))
            continue;
        if (flush(relay) < 0)
            return;
        unsent = 0;
    }
    if (n == 0)
        upstream_note_success(relay->upstream);
    else if (!td_is_finished(h)) /* and the client has not gone first; it can tell */
        fail_within_body(relay);
}

/* RFC 9110 section 9.3.2: how long it would be, if that was told, but not that it is empty. */
static bool
has_unknown_length(td_handler *h, const td_response *answer)
{
    return td_str_equal(td_request_method(h), TD_STR("HEAD")) &&
           td_str_is_null(td_fetched_header(answer, "Content-Length"));
}

/* ---- all of it */

/*
 * It was asked how far it gets, and this is the end of its way; nobody is shown what he has sent.
 */
static void
answer_as_last(td_handler *h)
{
    td_set_status(h, td_str_equal(td_request_method(h), TD_STR("TRACE")) ? 501 : 204, NULL);
    td_finish(h);
}

static void
end(struct relay *relay)
{
    relay_stop_beside(relay);
    td_fetch_close(&relay->stream);
    leave(relay);
}

static void
run(td_handler *h)
{
    struct relay relay __attribute__((cleanup(end))) = {
        .h = h, .settings = td_settings(h), .gateway = td_state(h)};
    td_response *answer;

    if (target_climbs(td_request_path(h)))
        td_raise(h, 400, "the path has a segment ..");
    relay.hops = fields_find_hops(h);
    if (relay.hops == 0) {
        answer_as_last(h);
        return;
    }
    find_body(&relay);
    read_small_body(&relay);
    fields_of_request(&relay);
    answer = ask_until_answered(&relay);
    if (td_is_finished(h))
        return;
    if (answer == NULL)
        raise_failure(&relay);
    fields_of_answer(&relay, answer);
    if (answer->status == 101) {
        upstream_note_success(relay.upstream);
        upgrade_relay(&relay, answer);
        return;
    }
    if (has_unknown_length(h, answer))
        td_flush(h);
    relay_body(&relay);
    if (!td_is_finished(h))
        td_finish(h);
}

/* ---- the settings */

static int
write_via(struct gateway *gateway, const char *name, td_err *err)
{
    for (int minor = 0; minor < 2 && name[0] != '\0'; minor++)
        if (asprintf(&gateway->via[minor], "1.%d %s", minor, name) < 0) {
            gateway->via[minor] = NULL;
            return td_err_errno(err, "via");
        }
    return 0;
}

static int
make(const struct settings *settings, struct gateway **out, td_err *err)
{
    struct gateway *gateway = *out = calloc(1, sizeof(*gateway));
    int rc;

    if (gateway == NULL)
        return td_err_errno(err, "the upstreams");
    rc = upstreams_init(&gateway->upstreams, settings->upstreams, settings->balance, err);
    if (rc == 0)
        rc = write_via(gateway, settings->via, err);
    gateway->upstreams.max_fails = settings->max_fails;
    gateway->upstreams.fail_timeout_ms = settings->fail_timeout;
    if (rc == 0)
        rc = fields_parse_telling("x_forwarded", settings->x_forwarded, &gateway->x_forwarded, err);
    if (rc == 0)
        rc = fields_parse_telling("forwarded", settings->forwarded, &gateway->forwarded, err);
    if (rc == 0)
        rc = target_check_prefix("strip_prefix", settings->strip_prefix, err);
    if (rc == 0)
        rc = target_check_prefix("add_prefix", settings->add_prefix, err);
    return rc;
}

static void
destroy(struct gateway *gateway)
{
    if (gateway == NULL)
        return;
    upstreams_fini(&gateway->upstreams);
    free(gateway->via[0]);
    free(gateway->via[1]);
    free(gateway);
}

/* What would end the word that it is in its field, Host or Via, or refuse each request. */
static int
check_host(const char *key, const char *host, td_err *err)
{
    return strpbrk(host, " \t,;@/\\?#\"<>(){}") == NULL
               ? 0
               : td_err_set(err, TD_ECONFIG, "%s = %s: is no name of a host, such as shop.test:8080",
                            key, host);
}

static int
check_file(const char *key, const char *path, td_err *err)
{
    return path[0] == '\0' || access(path, R_OK) == 0 ? 0
                                                      : td_err_errno(err, "%s = %s", key, path);
}

static int
check(const td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct gateway *gateway;
    int rc = make(settings, &gateway, err);

    destroy(gateway);
    if (rc == 0)
        rc = check_host("host", settings->host, err);
    if (rc == 0)
        rc = check_host("via", settings->via, err);
    if (rc == 0)
        rc = check_file("tls_ca", settings->tls_ca, err);
    if (rc == 0)
        rc = check_file("tls_certificate", settings->tls_certificate, err);
    if (rc == 0)
        rc = check_file("tls_key", settings->tls_key, err);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct gateway *gateway;
    const int rc = make(td_instance_settings(instance), &gateway, err);

    if (rc == 0)
        upstreams_tell(&gateway->upstreams, instance);
    *state_out = gateway;
    return rc;
}

static void
stop(td_instance *instance)
{
    destroy(td_instance_state(instance));
}

/* Any method: prepare answers. */
static const td_handler_class Gateway = {
    .prepare = run,
    .flags = TD_ANY_METHOD | TD_STREAM_BODY | TD_CANCEL_ON_CLOSE | TD_SKIP_XSRF,
    .request_timeout_ms = -1,
    .name = "gateway"};

#define OPTION(type_, ...) TD_OPT_##type_(struct settings, __VA_ARGS__)

TD_PLUGIN(.name = "gateway", .version = "1.0", .urls = TD_URLS(TD_URL("(?:/.*)?", &Gateway)),
          .check = check, .load = load, .stop = stop, .needs_section = true,
          .metrics = TD_METRICS(UPSTREAMS_METRICS),
          .options = TD_OPTIONS(
              struct settings,
              OPTION(STRING, upstreams, NULL,
                     "Where to relay to: HOST:PORT, https://HOST:PORT or unix:/PATH, a list."),
              OPTION(STRING, balance, "round_robin",
                     "Which of them is next: round_robin, or least_busy of this worker."),
              OPTION(BOOL, pass_host, "on", "Tell them the client's Host; off: their own."),
              OPTION(STRING, host, "", "Tell them this Host. Unset: see pass_host."),
              OPTION(STRING, strip_prefix, "", "Taken off the path. Unset: nothing."),
              OPTION(STRING, add_prefix, "", "Put in front of the path. Unset: nothing."),
              OPTION(STRING, x_forwarded, "set",
                     "X-Forwarded-For, -Proto and -Host: set (what the client sends of the kind is "
                     "dropped), add (behind what the client sends), drop or pass."),
              OPTION(STRING, forwarded, "drop", "Forwarded (RFC 7239): set, add, drop or pass."),
              OPTION(STRING, via, "tornadod",
                     "What we are called in Via (RFC 9110 section 7.6.3). Empty: not sent."),
              OPTION(BOOL, underscores, "off",
                     "Pass headers with an underscore in their name, which some applications cannot "
                     "tell from those with a hyphen."),
              OPTION(TIME, connect_timeout, "5s", 1, 3600000, "To connect."),
              OPTION(TIME, timeout, "60s", 1, 86400000,
                     "The longest wait for an upstream: for its answer, for more of it, for it to "
                     "take more of a body.  A client that sends nothing of its body meanwhile is "
                     "answered 408."),
              OPTION(STRING, upgrades, "websocket",
                     "Protocols that a client may go on with, if the upstream will, a list: what the "
                     "two say is passed as it is. Empty: none."),
              OPTION(TIME, upgrade_timeout, "10m", 1, 86400000,
                     "How long the two may then both say nothing, at least."),
              OPTION(TIME, half_open_timeout, "30s", 1, 86400000,
                     "And one of them, when the other one has ended what it says."),
              OPTION(BOOL, tls_verify, "on",
                     "Of https: ask for a certificate that proves the host of upstreams."),
              OPTION(STRING, tls_ca, "", "File or directory of the CAs to trust. Unset: the system's."),
              OPTION(STRING, tls_certificate, "", "File with the certificate that we prove ourselves by."),
              OPTION(STRING, tls_key, "", "And with its key, if that is another one."),
              OPTION(INT, tries, "3", 1, UPSTREAMS_MAX, "Upstreams that one request may come to."),
              OPTION(INT, max_fails, "1", 0, 1000000,
                     "Failures within fail_timeout after which an upstream is left alone, breaks within an "
                     "answer among them; 0: never."),
              OPTION(TIME, fail_timeout, "10s", 1, 86400000, "And for how long."),
              OPTION(SIZE, request_buffer, "64k", 0, 8 << 20,
                     "A body up to that size is read whole before an upstream is asked."),
              OPTION(SIZE, response_buffer, "0", 0, 8 << 20,
                     "Bytes of an answer that are read before the client is sent the first. 0: what "
                     "comes is sent at once.")));
