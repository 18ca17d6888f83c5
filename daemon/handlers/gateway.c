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
 * takes them.  Each message is taken apart and framed anew, so what one side could understand in two
 * ways does not reach the other: hop-by-hop fields, and those that Connection names, end here.  A path
 * with a segment ".." is answered 400: it would lead out of the mount.
 *
 * A client and an upstream that agree on a protocol of `upgrades` are left alone with each other: their
 * bytes pass, with no more of them under way than buffers hold.
 *
 * An upstream that fails max_fails times in fail_timeout is left alone for fail_timeout, unless there
 * is no other; each worker counts for itself.  A request goes to the next upstream when the one it was
 * meant for has not got any of it, or when a second time does no harm: an idempotent method, all of
 * its body at hand, nothing answered.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <tornado/tornado.h>

#define SEPARATORS ", \t"
#define UPSTREAMS_MAX 64
#define PIECE 65536 /* bytes that td_read_body and td_fetch_read give at most */

struct settings {
    const char *upstreams, *balance, *host, *strip_prefix, *add_prefix, *x_forwarded, *forwarded;
    const char *via, *upgrades, *tls_ca, *tls_certificate, *tls_key;
    bool pass_host, underscores, tls_verify;
    int64_t connect_timeout, timeout, fail_timeout, upgrade_timeout; /* ms */
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

struct upstream {
    const char *name; /* as the settings have it, for the log */
    const char *origin;
    const char *unix_socket; /* NULL: it is an address */
    unsigned busy;           /* requests of this worker that are with it */
    unsigned fails;          /* since failing_since_ms */
    int64_t failing_since_ms, down_until_ms;
};

struct gateway {
    char *text; /* that names lie in */
    struct upstream upstreams[UPSTREAMS_MAX];
    size_t count, next; /* whose turn it is */
    bool least_busy;
    enum telling x_forwarded, forwarded;
};

/* A request on its way. */
struct relay {
    td_handler *h;
    const struct settings *settings;
    struct gateway *gateway;
    struct upstream *upstream; /* it is with; NULL: none */
    uint64_t tried;            /* bit i: upstream i */
    td_fetch_stream *stream;
    void (*other_way)(struct relay *);
    td_future *beside; /* the coroutine for the other way; NULL: there is none */
    td_future *ended;  /* set when it has ended; NULL: it has not begun */
    td_iostream *client, *server; /* once HTTP has ended */
    int64_t moved_ms;             /* when the last bytes came on either of them */

    int64_t hops;                  /* of Max-Forwards; -1: it is none of ours */
    const td_header_line *headers; /* to send */
    size_t headers_count;
    bool has_body;
    int64_t length; /* of the body, -1: not told */
    td_str body;    /* what was read of it so far */
    bool is_whole;  /* that is all */
};

/* ---- upstreams */

static bool
is_up(const struct upstream *upstream, int64_t now_ms)
{
    return upstream->down_until_ms <= now_ms;
}

static bool
is_better(const struct gateway *gateway, const struct upstream *one, const struct upstream *other)
{
    return other == NULL || (gateway->least_busy && one->busy < other->busy);
}

static struct upstream *
choose_among(const struct relay *relay, bool even_down)
{
    struct gateway *gateway = relay->gateway;
    const int64_t now_ms = td_ioloop_time_ms();
    struct upstream *best = NULL;

    for (size_t n = 0; n < gateway->count; n++) {
        const size_t i = (gateway->next + n) % gateway->count;
        struct upstream *upstream = &gateway->upstreams[i];

        if (!(relay->tried >> i & 1) && (even_down || is_up(upstream, now_ms)) &&
            is_better(gateway, upstream, best))
            best = upstream;
    }
    return best;
}

/* The next one in turn, or of those the least busy, that was not tried; NULL: this has to be it. */
static struct upstream *
choose(const struct relay *relay)
{
    struct upstream *upstream;

    if (__builtin_popcountll(relay->tried) >= relay->settings->tries)
        return NULL;
    upstream = choose_among(relay, false);
    return upstream != NULL ? upstream : choose_among(relay, true);
}

static void
go_to(struct relay *relay, struct upstream *upstream)
{
    struct gateway *gateway = relay->gateway;
    const size_t i = (size_t)(upstream - gateway->upstreams);

    gateway->next = (i + 1) % gateway->count;
    relay->tried |= UINT64_C(1) << i;
    relay->upstream = upstream;
    upstream->busy++;
}

static void
leave(struct relay *relay)
{
    if (relay->upstream != NULL)
        relay->upstream->busy--;
    relay->upstream = NULL;
}

static void
note_failure(const struct relay *relay)
{
    const struct settings *settings = relay->settings;
    struct upstream *upstream = relay->upstream;
    const int64_t now_ms = td_ioloop_time_ms();

    if (now_ms - upstream->failing_since_ms > settings->fail_timeout)
        upstream->fails = 0;
    if (upstream->fails++ == 0)
        upstream->failing_since_ms = now_ms;
    if (settings->max_fails == 0 || upstream->fails < settings->max_fails ||
        !is_up(upstream, now_ms) || relay->gateway->count == 1)
        return;
    upstream->down_until_ms = now_ms + settings->fail_timeout;
    td_log_warning("upstream %s: left alone for %lld ms after %u failures", upstream->name,
                   (long long)settings->fail_timeout, upstream->fails);
}

static void
note_success(struct upstream *upstream)
{
    if (upstream->fails == 0)
        return;
    if (upstream->down_until_ms != 0)
        td_log_info("upstream %s: answers again", upstream->name);
    upstream->fails = 0;
    upstream->down_until_ms = 0;
}

/* ---- fields that are not passed on */

/* To applications that make variables of them (CGI, WSGI) an underscore is a hyphen. */
static bool
begins_as(const char *name, const char *wanted, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (tolower((unsigned char)(name[i] == '_' ? '-' : name[i])) !=
            tolower((unsigned char)wanted[i]))
            return false;
    return true;
}

static bool
is_called(const char *name, const char *wanted)
{
    return begins_as(name, wanted, strlen(wanted) + 1);
}

/* RFC 9110 section 7.6.1, and how the message is framed: each connection has its own. */
static bool
is_hop_by_hop(const char *name)
{
    static const char *const names[] = {
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
        "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (is_called(name, names[i]))
            return true;
    return false;
}

/* True when a value of Connection names that field. */
static bool
is_in_list(const char *list, const char *name)
{
    const size_t len = strlen(name);

    for (list += strspn(list, SEPARATORS); *list != '\0'; list += strspn(list, SEPARATORS)) {
        const size_t token = strcspn(list, SEPARATORS);

        if (token == len && strncasecmp(list, name, len) == 0)
            return true;
        list += token;
    }
    return false;
}

static bool
is_named_by_connection(const td_header_line *lines, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(lines[i].name, "Connection") == 0 && is_in_list(lines[i].value, name))
            return true;
    return false;
}

/* What applications take for the word of a gateway. */
static bool
is_x_forwarded(const char *name)
{
    return begins_as(name, "X-Forwarded-", strlen("X-Forwarded-")) ||
           is_called(name, "X-Real-IP") || is_called(name, "X-Scheme");
}

/* ---- the head of the request */

/* Those of the client that go along; room for ours is left behind them. */
#define OURS_MAX 8

static bool
is_passed(const struct relay *relay, const td_header_line *lines, size_t count, size_t i)
{
    const char *name = lines[i].name;
    const enum telling x_forwarded = relay->gateway->x_forwarded;
    const enum telling forwarded = relay->gateway->forwarded;

    if (is_hop_by_hop(name) || is_called(name, "Host") || is_called(name, "Expect") ||
        (relay->hops > 0 && is_called(name, "Max-Forwards")) ||
        is_named_by_connection(lines, count, name))
        return false;
    if (!relay->settings->underscores && strchr(name, '_') != NULL)
        return false;
    if (is_x_forwarded(name))
        return x_forwarded == TELL_PASS ||
               (x_forwarded == TELL_ADD && !is_called(name, "X-Forwarded-For"));
    return !is_called(name, "Forwarded") || forwarded == TELL_PASS;
}

struct lines {
    td_header_line *items;
    size_t count;
};

static void
add_line(struct lines *lines, const char *name, const char *value)
{
    lines->items[lines->count++] = (td_header_line){name, value};
}

/* Where what the client says of it counts, that went along; unless its Connection named that, too. */
static void
tell_unless_told(struct lines *lines, const char *name, td_str value)
{
    for (size_t i = 0; i < lines->count; i++)
        if (is_called(lines->items[i].name, name))
            return;
    add_line(lines, name, value.ptr);
}

static void
add_x_forwarded(const struct relay *relay, struct lines *lines)
{
    td_handler *h = relay->h;
    const td_str address = td_request_remote_addr(h);
    const td_str before = td_request_header(h, "X-Forwarded-For");
    const bool is_first = relay->gateway->x_forwarded == TELL_SET || td_str_is_null(before);

    add_line(lines, "X-Forwarded-For",
             is_first ? address.ptr
                      : td_sprintf(h, "%.*s, %.*s", TD_STR_FMT(before), TD_STR_FMT(address)).ptr);
    tell_unless_told(lines, "X-Forwarded-Proto", td_request_scheme(h));
    tell_unless_told(lines, "X-Forwarded-Host", td_request_host(h));
}

/* RFC 9110 section 5.6.4: what is put behind a string that does not end would be inside it. */
static bool
ends_its_strings(td_str value)
{
    bool is_inside = false;

    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '"')
            is_inside = !is_inside;
        else if (value.ptr[i] == '\\' && is_inside)
            i++;
    }
    return !is_inside;
}

/* RFC 7239 section 4: an address of IPv6 has brackets, and with them quotes. */
static void
add_forwarded(const struct relay *relay, struct lines *lines)
{
    td_handler *h = relay->h;
    const td_str address = td_request_remote_addr(h);
    const td_str before = td_request_header(h, "Forwarded");
    const bool is_unix = td_str_equal(address, TD_STR("unix:"));
    const bool is_v6 = !is_unix && strchr(address.ptr, ':') != NULL;
    const td_str node = is_unix ? TD_STR("unknown")
                        : is_v6 ? td_sprintf(h, "\"[%.*s]\"", TD_STR_FMT(address))
                                : address;
    const bool is_first = relay->gateway->forwarded == TELL_SET || td_str_is_null(before) ||
                          !ends_its_strings(before);

    add_line(lines, "Forwarded",
             td_sprintf(h, "%.*s%sfor=%.*s;host=\"%.*s\";proto=%.*s", TD_STR_FMT(is_first ? TD_STR("") : before),
                        is_first ? "" : ", ", TD_STR_FMT(node), TD_STR_FMT(td_request_host(h)),
                        TD_STR_FMT(td_request_scheme(h)))
                 .ptr);
}

/* RFC 9110 section 7.6.3: the protocol as it came, and who we are; behind those before us. */
static void
add_via(const struct relay *relay, struct lines *lines)
{
    const td_str version = td_request_version(relay->h); /* "HTTP/1.1" */

    add_line(lines, "Via",
             td_sprintf(relay->h, "%s %s", version.ptr + strlen("HTTP/"), relay->settings->via).ptr);
}

static void
make_headers(struct relay *relay)
{
    const struct settings *settings = relay->settings;
    const struct gateway *gateway = relay->gateway;
    const td_header_line *from;
    const size_t count = td_request_headers(relay->h, &from);
    struct lines lines = {td_alloc(relay->h, (count + OURS_MAX) * sizeof(*from)), 0};

    if (settings->host[0] != '\0')
        add_line(&lines, "Host", settings->host);
    else if (settings->pass_host)
        add_line(&lines, "Host", td_request_host(relay->h).ptr);
    for (size_t i = 0; i < count; i++)
        if (is_passed(relay, from, count, i))
            add_line(&lines, from[i].name, from[i].value);
    if (relay->hops > 0)
        add_line(&lines, "Max-Forwards", td_sprintf(relay->h, "%lld", (long long)relay->hops - 1).ptr);
    if (settings->via[0] != '\0')
        add_via(relay, &lines);
    if (gateway->x_forwarded == TELL_SET || gateway->x_forwarded == TELL_ADD)
        add_x_forwarded(relay, &lines);
    if (gateway->forwarded == TELL_SET || gateway->forwarded == TELL_ADD)
        add_forwarded(relay, &lines);
    relay->headers = lines.items;
    relay->headers_count = lines.count;
}

/* RFC 9110 section 7.6.2: how many may still pass it on; -1: any number. */
static int64_t
find_hops(td_handler *h)
{
    const td_str method = td_request_method(h), hops = td_request_header(h, "Max-Forwards");

    if (hops.len == 0 || strspn(hops.ptr, "0123456789") != hops.len ||
        !(td_str_equal(method, TD_STR("OPTIONS")) || td_str_equal(method, TD_STR("TRACE"))))
        return -1;
    return strtoll(hops.ptr, NULL, 10);
}

/* It was asked how far it gets, and this is the end of its way. */
static void
answer_as_last(td_handler *h)
{
    if (td_str_equal(td_request_method(h), TD_STR("TRACE")))
        td_raise(h, 501, "Max-Forwards: 0, and here nobody is shown what he has sent");
    td_set_status(h, 204, NULL);
    td_finish(h);
}

/* The next byte, which may be written as %XX. */
static char
take_byte(const char **at, const char *end)
{
    char hex[3] = "";

    if (**at != '%' || end - *at < 3)
        return *(*at)++;
    memcpy(hex, *at + 1, 2);
    *at += 3;
    return (char)strtol(hex, NULL, 16);
}

/*
 * True when a segment is "..", which leads an upstream that resolves it out of the mount (RFC 3986
 * section 6.2.2.3: clients do that before they ask).  Some take %2F or a backslash for a slash, and some
 * end a segment at a semicolon.
 */
static bool
climbs(td_str path)
{
    enum { DOTS_MAX = 3 }; /* or some other byte */
    const char *at = path.ptr, *const end = path.ptr + path.len;
    int dots = 0;

    while (at < end) {
        const char c = take_byte(&at, end);

        if ((c == '/' || c == '\\' || c == ';') && dots == 2)
            return true;
        if (c == '/' || c == '\\')
            dots = 0;
        else
            dots = c == '.' && dots < DOTS_MAX ? dots + 1 : DOTS_MAX;
    }
    return dots == 2;
}

/* One that is empty is another one than none (RFC 3986 section 6.2.3). */
static bool
has_query(td_handler *h, td_str query)
{
    const td_str target = query.len > 0 ? query : td_request_uri(h);

    return query.len > 0 || (target.len > 0 && target.ptr[target.len - 1] == '?');
}

/* The URL of the request at that upstream; its path is passed as it came. */
static const char *
make_url(const struct relay *relay)
{
    const struct settings *settings = relay->settings;
    const size_t stripped = strlen(settings->strip_prefix);
    td_handler *h = relay->h;
    td_str path = td_request_path(h), query = td_request_query(h);

    if (stripped > 0 && path.len >= stripped && memcmp(path.ptr, settings->strip_prefix, stripped) == 0 &&
        (path.len == stripped || path.ptr[stripped] == '/'))
        path = td_str_make(path.ptr + stripped, path.len - stripped);
    return td_sprintf(h, "%s%s%s%.*s%s%.*s", relay->upstream->origin, settings->add_prefix,
                      path.len == 0 ? "/" : "", TD_STR_FMT(path), has_query(h, query) ? "?" : "",
                      TD_STR_FMT(query))
        .ptr;
}

/* ---- the body of the request */

static void
find_body(struct relay *relay)
{
    const td_str length = td_request_header(relay->h, "Content-Length");

    relay->length = td_str_is_null(length) ? -1 : strtoll(length.ptr, NULL, 10);
    relay->has_body = relay->length >= 0 ||
                      !td_str_is_null(td_request_header(relay->h, "Transfer-Encoding"));
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

/* A large one goes along piece by piece, on a coroutine beside that which waits for the answer. */
static void
upload(struct relay *relay)
{
    td_fetch_stream *stream = relay->stream; /* whoever reads the answer finds it closed, and not gone */
    td_str piece = relay->body;
    int n = (int)piece.len;

    while (n > 0 && td_fetch_write(stream, piece) == 0)
        n = td_read_body(relay->h, &piece);
    if (n == 0)
        td_fetch_end(stream);
    if (n < 0)
        td_fetch_close(&stream); /* nobody wants the answer to half a request */
}

static void
tell_ended(struct relay **relay)
{
    td_future_set_result((*relay)->ended, NULL);
}

static void
run_beside(void *arg)
{
    struct relay *relay __attribute__((cleanup(tell_ended))) = arg;

    relay->ended = td_future_create();
    relay->other_way(relay);
}

static void
start_beside(struct relay *relay, void (*other_way)(struct relay *))
{
    relay->other_way = other_way;
    relay->beside = td_spawn(run_beside, relay);
}

/* What was just woken still has a few steps to go with what is ours. */
static void
stop_beside(struct relay *relay)
{
    if (relay->beside == NULL)
        return;
    td_future_cancel(relay->beside);
    td_future_unref(relay->beside);
    relay->beside = NULL;
    if (relay->ended == NULL)
        return;
    td_cancel_disable();
    td_await(relay->ended, NULL);
    td_cancel_enable();
    relay->ended = NULL;
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

/* RFC 9110 section 15.6; all places for requests taken for too long is our own fault. */
static int
status_of_failure(td_handler *h)
{
    if (td_error_phase(h) == TD_FETCH_QUEUED)
        return 503;
    return td_error_code(h) == TD_ETIMEDOUT ? 504 : 502;
}

/* The protocol that the client would like to go on with, if that is one of those that are passed. */
static const char *
find_upgrade(const struct relay *relay)
{
    const td_str wanted = td_request_upgrade(relay->h);

    return !td_str_is_null(wanted) && !relay->has_body &&
                   is_in_list(relay->settings->upgrades, wanted.ptr)
               ? wanted.ptr
               : NULL;
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
        relay->h, make_url(relay),
        TD_FETCH(.method = method.ptr, .headers = relay->headers,
                 .headers_count = relay->headers_count,
                 .body = is_streamed ? td_str_make(NULL, 0) : relay->body,
                 .stream_body = is_streamed,
                 .content_length = is_streamed && relay->length > 0 ? relay->length : 0,
                 .allow_nonstandard_methods = true, .no_decompress = true, .max_redirects = -1,
                 .user_agent = "",
                 .connect_timeout_ms = settings->connect_timeout,
                 .request_timeout_ms = settings->timeout,
                 .unix_socket = relay->upstream->unix_socket,
                 .no_validate_cert = !settings->tls_verify,
                 .ca_certs = text_or_null(settings->tls_ca),
                 .client_cert = text_or_null(settings->tls_certificate),
                 .client_key = text_or_null(settings->tls_key), .upgrade = find_upgrade(relay)));
    if (relay->stream == NULL)
        return NULL;
    if (is_streamed)
        start_beside(relay, upload);
    return td_fetch_head(relay->stream);
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
        if (answer != NULL)
            note_success(upstream);
        if (answer != NULL || td_is_finished(h) || td_error_phase(h) == TD_FETCH_QUEUED)
            return answer;
        note_failure(relay);
        if (!may_try_again(relay) || (upstream = choose(relay)) == NULL)
            return NULL;
        td_log_warning("upstream %s: %s; %s is next", relay->upstream->name, td_error_text(h),
                       upstream->name);
        td_fetch_close(&relay->stream);
        leave(relay);
    }
}

/* ---- the answer */

/* Status and fields. */
static void
relay_head(const struct relay *relay, const td_response *answer)
{
    td_handler *h = relay->h;

    td_set_status(h, answer->status, answer->reason.len > 0 ? answer->reason.ptr : NULL);
    td_clear_header(h, "Server");
    td_clear_header(h, "Content-Type");
    td_set_etag(h, NULL); /* it is for the upstream to have one */
    for (size_t i = 0; i < answer->headers_count; i++) {
        const td_header_line *line = &answer->headers[i];

        if (!is_hop_by_hop(line->name) && strcasecmp(line->name, "Date") != 0 &&
            !is_named_by_connection(answer->headers, answer->headers_count, line->name))
            td_add_header(h, line->name, line->value);
        else if (strcasecmp(line->name, "Content-Length") == 0)
            td_set_header(h, line->name, line->value);
    }
}

/* How much may wait for more before the client is sent it. */
static size_t
buffer_size(const struct relay *relay, const td_response *answer)
{
    const td_str told = td_fetched_header(answer, "X-Accel-Buffering");

    return td_str_equal(told, TD_STR("no")) ? 0 : (size_t)relay->settings->response_buffer;
}

/* What comes at once is sent at once, with its head; what the client does not take is not read. */
static void
relay_body(const struct relay *relay, const td_response *answer)
{
    const size_t buffer = buffer_size(relay, answer);
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
        if (td_flush(h) < 0)
            return;
        unsent = 0;
    }
    if (n < 0 && !td_is_finished(h)) /* the client can tell that it is not complete */
        td_raise(h, status_of_failure(h), "upstream %s: %s", relay->upstream->name,
                 td_error_text(h));
}

/* RFC 9110 section 9.3.2: how long it would be, if that was told, but not that it is empty. */
static bool
has_unknown_length(td_handler *h, const td_response *answer)
{
    return td_str_equal(td_request_method(h), TD_STR("HEAD")) &&
           td_str_is_null(td_fetched_header(answer, "Content-Length"));
}

/* ---- behind an upgrade */

/* 1: bytes; 0: neither side has said anything for upgrade_timeout; or an error. */
static int
read_upgraded(struct relay *relay, td_iostream *from, td_str *piece_out)
{
    const int64_t timeout_ms = relay->settings->upgrade_timeout;
    int rc;

    do
        rc = td_iostream_read_partial(from, PIECE, piece_out);
    while (rc == TD_EDRAINING || /* only the two know how to say goodbye: they have drain_timeout */
           (rc == TD_ETIMEDOUT && td_ioloop_time_ms() - relay->moved_ms < timeout_ms));
    relay->moved_ms = td_ioloop_time_ms();
    return rc == 0 ? 1 : rc == TD_ETIMEDOUT ? 0 : rc;
}

/* One way, until one of them has closed: what it has said before still arrives. */
static void
pump(struct relay *relay, td_iostream *from, td_iostream *to)
{
    td_str piece;

    while (read_upgraded(relay, from, &piece) > 0 && td_iostream_write(to, piece) == 0 &&
           td_iostream_flush(to) == 0)
        ;
    td_iostream_close(from);
    td_iostream_close(to);
}

static void
pump_down(struct relay *relay)
{
    pump(relay, relay->server, relay->client);
}

static void
relay_upgraded(struct relay *relay, const td_response *answer)
{
    const int64_t timeout_ms = relay->settings->upgrade_timeout;

    relay->server = td_fetch_detach(relay->stream);
    relay->client =
        td_detach(relay->h, TD_DETACH(.upgrade = td_fetched_header(answer, "Upgrade").ptr,
                                      .stream = TD_IOSTREAM(.timeout_ms = timeout_ms)));
    if (relay->client == NULL)
        return;
    td_iostream_set_timeout(relay->server, timeout_ms);
    relay->moved_ms = td_ioloop_time_ms();
    start_beside(relay, pump_down);
    pump(relay, relay->client, relay->server);
}

static void
end(struct relay *relay)
{
    stop_beside(relay);
    td_fetch_close(&relay->stream);
    leave(relay);
}

static void
run(td_handler *h)
{
    struct relay relay __attribute__((cleanup(end))) = {
        .h = h, .settings = td_settings(h), .gateway = td_state(h)};
    td_response *answer;

    if (climbs(td_request_path(h)))
        td_raise(h, 400, "the path has a segment ..");
    relay.hops = find_hops(h);
    if (relay.hops == 0) {
        answer_as_last(h);
        return;
    }
    find_body(&relay);
    read_small_body(&relay);
    make_headers(&relay);
    answer = ask_until_answered(&relay);
    if (td_is_finished(h))
        return;
    if (answer == NULL)
        td_raise(h, status_of_failure(h), "upstream %s: %s", relay.upstream->name,
                 td_error_text(h));
    relay_head(&relay, answer);
    if (answer->status == 101) {
        relay_upgraded(&relay, answer);
        return;
    }
    if (has_unknown_length(h, answer))
        td_flush(h);
    relay_body(&relay, answer);
    if (!td_is_finished(h))
        td_finish(h);
}

/* ---- the settings */

/* "app.internal:8080", "[::1]:8080", "https://app.internal:8443", "unix:/run/app.sock" */
static int
add_upstream(struct gateway *gateway, const char *text, td_err *err)
{
    struct upstream *upstream = &gateway->upstreams[gateway->count];
    static const char https[] = "https://";
    const bool is_https = strncasecmp(text, https, strlen(https)) == 0;
    const char *colon = strrchr(text, ':');
    char *origin = NULL;

    if (gateway->count == UPSTREAMS_MAX)
        return td_err_set(err, TD_ECONFIG, "upstreams: more than %d", UPSTREAMS_MAX);
    upstream->name = text;
    if (strncmp(text, "unix:/", 6) == 0) {
        upstream->unix_socket = text + 5;
        upstream->origin = "http://localhost";
        gateway->count++;
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
        abort();
    upstream->origin = origin;
    gateway->count++;
    return 0;
}

static int
parse_telling(const char *key, const char *text, enum telling *out, td_err *err)
{
    static const char *const names[] = {
        [TELL_SET] = "set", [TELL_ADD] = "add", [TELL_DROP] = "drop", [TELL_PASS] = "pass"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum telling)i;
            return 0;
        }
    return td_err_set(err, TD_ECONFIG, "%s = %s: is none of set, add, drop, pass", key, text);
}

static int
check_prefix(const char *key, const char *text, td_err *err)
{
    const size_t len = strlen(text);

    if (len == 0 || (text[0] == '/' && text[len - 1] != '/' && strpbrk(text, " ?#\t") == NULL))
        return 0;
    return td_err_set(err, TD_ECONFIG, "%s = %s: is no path that begins, and does not end, with a slash", key,
                      text);
}

static int
parse_upstreams(struct gateway *gateway, const char *upstreams, td_err *err)
{
    char *rest;
    int rc = 0;

    gateway->text = strdup(upstreams);
    for (char *text = strtok_r(gateway->text, SEPARATORS, &rest); text != NULL && rc == 0;
         text = strtok_r(NULL, SEPARATORS, &rest))
        rc = add_upstream(gateway, text, err);
    if (rc == 0 && gateway->count == 0)
        rc = td_err_set(err, TD_ECONFIG, "upstreams = %s: names none", upstreams);
    return rc;
}

static int
make(const struct settings *settings, struct gateway **out, td_err *err)
{
    struct gateway *gateway = calloc(1, sizeof(*gateway));
    int rc = parse_upstreams(gateway, settings->upstreams, err);

    *out = gateway;
    gateway->least_busy = strcmp(settings->balance, "least_busy") == 0;
    if (rc == 0 && !gateway->least_busy && strcmp(settings->balance, "round_robin") != 0)
        rc = td_err_set(err, TD_ECONFIG, "balance = %s: is neither round_robin nor least_busy",
                        settings->balance);
    if (rc == 0)
        rc = parse_telling("x_forwarded", settings->x_forwarded, &gateway->x_forwarded, err);
    if (rc == 0)
        rc = parse_telling("forwarded", settings->forwarded, &gateway->forwarded, err);
    if (rc == 0)
        rc = check_prefix("strip_prefix", settings->strip_prefix, err);
    if (rc == 0)
        rc = check_prefix("add_prefix", settings->add_prefix, err);
    return rc;
}

static void
destroy(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->count; i++)
        if (gateway->upstreams[i].unix_socket == NULL)
            free((char *)gateway->upstreams[i].origin);
    free(gateway->text);
    free(gateway);
}

static int
check(const td_instance *instance, td_err *err)
{
    struct gateway *gateway;
    const int rc = make(td_instance_settings(instance), &gateway, err);

    destroy(gateway);
    return rc;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct gateway *gateway;
    const int rc = make(td_instance_settings(instance), &gateway, err);

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
                     "take more of a body."),
              OPTION(STRING, upgrades, "websocket",
                     "Protocols that a client may go on with, if the upstream will, a list: what the "
                     "two say is passed as it is. Empty: none."),
              OPTION(TIME, upgrade_timeout, "10m", 1, 86400000,
                     "How long the two may then both say nothing, at least."),
              OPTION(BOOL, tls_verify, "on",
                     "Of https: ask for a certificate that proves the host of upstreams."),
              OPTION(STRING, tls_ca, "", "File or directory of the CAs to trust. Unset: the system's."),
              OPTION(STRING, tls_certificate, "", "File with the certificate that we prove ourselves by."),
              OPTION(STRING, tls_key, "", "And with its key, if that is another one."),
              OPTION(INT, tries, "3", 1, UPSTREAMS_MAX, "Upstreams that one request may come to."),
              OPTION(INT, max_fails, "1", 0, 1000000,
                     "Failures within fail_timeout after which an upstream is left alone; 0: never."),
              OPTION(TIME, fail_timeout, "10s", 1, 86400000, "And for how long."),
              OPTION(SIZE, request_buffer, "64k", 0, 8 << 20,
                     "A body up to that size is read whole before an upstream is asked."),
              OPTION(SIZE, response_buffer, "0", 0, 8 << 20,
                     "Bytes of an answer that are read before the client is sent the first. 0: what "
                     "comes is sent at once.")));
