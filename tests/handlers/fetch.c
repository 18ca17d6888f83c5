/* Goal: what a server of test_fetch.py does becomes an answer, or a sentence that says why not. */
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>
#include <unistd.h>

static const char *
text_or_null(td_handler *h, const char *name)
{
    const td_str text = td_get_argument_default(h, name, "");

    return text.len > 0 ? text.ptr : NULL;
}

static int64_t
number(td_handler *h, const char *name)
{
    return strtoll(td_get_argument_default(h, name, "0").ptr, NULL, 10);
}

/* All that the caller of /fetch may ask for. */
static td_fetch_options
options_of(td_handler *h)
{
    static const td_fetch_header secrets[] = {
        {"Authorization", "Bearer secret"}, {"Cookie", "a=b"}, {"X-Mine", "kept"},
        {"Host", "named.example"}, {"Content-Type", "text/mine"}};
    td_fetch_options options = {.size = sizeof(options)};
    const char *body = text_or_null(h, "body");
    const int64_t zeros = number(h, "zeros");

    options.method = text_or_null(h, "method");
    if (body != NULL)
        options.body = td_str_of(body);
    if (zeros > 0)
        options.body = td_str_make(td_alloc(h, (size_t)zeros), (size_t)zeros);
    if (number(h, "secrets") > 0) {
        options.headers = secrets;
        options.headers_count = sizeof(secrets) / sizeof(secrets[0]);
    }
    options.connect_timeout_ms = number(h, "connect_ms");
    options.request_timeout_ms = number(h, "ms");
    options.max_redirects = (int)number(h, "redirects");
    options.max_body_size = number(h, "max_body");
    options.no_decompress = number(h, "raw") > 0;
    options.expect_100_continue = number(h, "expect") > 0;
    options.unix_socket = text_or_null(h, "unix");
    options.auth_username = text_or_null(h, "user");
    options.no_keep_alive = number(h, "alone") > 0;
    options.source_address = text_or_null(h, "source");
    options.family = (int)number(h, "family");
    options.no_validate_cert = number(h, "insecure") > 0;
    options.ca_certs = text_or_null(h, "ca");
    options.client_cert = text_or_null(h, "cert");
    options.client_key = text_or_null(h, "key");
    options.proxy_host = text_or_null(h, "proxy_host");
    if (number(h, "no_proxy") > 0)
        options.proxy_host = "";
    options.proxy_port = (uint16_t)number(h, "proxy_port");
    options.proxy_username = text_or_null(h, "proxy_user");
    options.proxy_password = text_or_null(h, "proxy_password");
    return options;
}

/* The first line says how it went, then come headers, an empty line and the body. */
static void
tell(td_handler *h, const td_response *answer)
{
    td_writef(h, "%d %s %d %s\n", answer->status, answer->reason.ptr, answer->redirects,
              answer->effective_url.ptr);
    for (size_t i = 0; i < answer->headers_count; i++)
        td_writef(h, "%s: %s\n", answer->headers[i].name, answer->headers[i].value);
    td_write_text(h, "\n");
    td_write(h, answer->body);
}

static void
fetch(td_handler *h)
{
    const td_fetch_options options = options_of(h);
    const td_response *answer = td_fetch(h, td_get_argument(h, "url").ptr, &options);

    td_set_header(h, "Content-Type", "text/plain");
    if (answer != NULL)
        tell(h, answer);
    else
        td_writef(h, "%d: %s", td_error_code(h), td_error_text(h));
}

/* All at once, by futures. */
static void
several(td_handler *h)
{
    const size_t count = (size_t)number(h, "count");
    const td_fetch_options options = options_of(h);
    td_future **futures = td_alloc(h, count * sizeof(*futures));
    void **answers = td_alloc(h, count * sizeof(*answers));

    for (size_t i = 0; i < count; i++)
        futures[i] = td_fetch_future(h, td_get_argument(h, "url").ptr, &options);
    td_await(td_gather(futures, count, answers), NULL);
    for (size_t i = 0; i < count; i++) {
        const td_response *answer = answers[i];

        td_writef(h, "%d %d %d %.*s\n", answer->status, answer->error, (int)answer->phase,
                  TD_STR_FMT(answer->status == 599 ? answer->reason : answer->body));
    }
}

/* How long each of two at once has taken, in ms. */
static void
times(td_handler *h)
{
    const td_fetch_options options = options_of(h);
    void *answers[2];
    td_future *futures[2];

    for (size_t i = 0; i < 2; i++)
        futures[i] = td_fetch_future(h, td_get_argument(h, "url").ptr, &options);
    td_await(td_gather(futures, 2, answers), NULL);
    for (size_t i = 0; i < 2; i++)
        td_writef(h, "%.3f ", 1000 * ((const td_response *)answers[i])->request_time);
}

/* One that nobody waits for, and one that is cancelled. */
static void
forget(td_handler *h)
{
    const td_fetch_options options = options_of(h);
    const char *url = td_get_argument(h, "url").ptr;
    td_future *cancelled = td_fetch_future(h, url, &options);

    td_future_unref(td_fetch_future(h, url, &options));
    td_sleep(number(h, "sleep"));
    td_future_cancel(cancelled);
    td_writef(h, "%d", td_await(cancelled, NULL));
}

/* ---- piece by piece */

/* A body of that many bytes, no two pieces alike. */
static int
write_zeros(td_handler *h, td_fetch_stream *stream)
{
    static const char piece[40000];
    int rc = 0;

    for (int64_t left = number(h, "streamed"); rc == 0 && left > 0; left -= (int64_t)sizeof(piece))
        rc = td_fetch_write(stream, td_str_make(piece, left < (int64_t)sizeof(piece)
                                                           ? (size_t)left
                                                           : sizeof(piece)));
    return rc;
}

/* How writing ended, the head as of /fetch, and how much of a body there was. */
static void
stream(td_handler *h)
{
    td_fetch_options options = options_of(h);
    td_fetch_stream *opened;
    const td_response *answer;
    td_str data;
    size_t size = 0;
    int n = 0, written = 0;

    td_set_header(h, "Content-Type", "text/plain");
    options.stream_body = number(h, "streamed") > 0;
    options.content_length = number(h, "length");
    opened = td_fetch_open(h, td_get_argument(h, "url").ptr, &options);
    if (opened != NULL && options.stream_body)
        written = write_zeros(h, opened);
    if (opened != NULL && options.stream_body && written == 0)
        written = td_fetch_end(opened);
    answer = opened != NULL ? td_fetch_head(opened) : NULL;
    while (answer != NULL && (n = td_fetch_read(opened, &data)) > 0) {
        size += (size_t)n;
        if (number(h, "sleep") > 0)
            td_sleep(number(h, "sleep"));
    }
    if (n < 0 && (answer->status != 599 || answer->error != n || answer->headers_count > 0 ||
                  !td_str_equal(answer->reason, td_str_of(td_error_text(h))) ||
                  td_fetch_read(opened, &data) != n || td_fetch_head(opened) != NULL))
        td_write_text(h, "the answer still stands: ");
    if (answer == NULL || n < 0)
        td_writef(h, "%d: %s %d", td_error_code(h), td_error_text(h), (int)td_error_phase(h));
    else
        td_writef(h, "%d %d %d %zu %s", written, answer->status, answer->redirects, size,
                  answer->reason.ptr);
    if (number(h, "ends") == 0)
        td_fetch_close(&opened);
}

/* The body of the request goes out by one coroutine while another one brings back the answer. */
static void
write_body(void *arg)
{
    td_fetch_stream *opened = arg;

    for (int i = 0; i < 5; i++) {
        td_fetch_write(opened, TD_STR("ping"));
        td_sleep(5);
    }
    td_fetch_end(opened);
}

static void
duplex(td_handler *h)
{
    td_fetch_options options = options_of(h);
    td_fetch_stream *opened;
    td_future *writing;
    td_str data;

    options.method = "POST";
    options.stream_body = true;
    opened = td_fetch_open(h, td_get_argument(h, "url").ptr, &options);
    writing = td_spawn(write_body, opened);
    if (td_fetch_head(opened) == NULL)
        td_raise(h, 502, "%s", td_error_text(h));
    while (td_fetch_read(opened, &data) > 0)
        td_write(h, data);
    td_await(writing, NULL);
}

/* Tornado's callbacks. */
static int
produce(td_fetch_stream *opened, void *arg)
{
    td_handler *h = arg;

    if (number(h, "fail") < 0)
        return (int)number(h, "fail");
    for (int i = 0; i < 3; i++) {
        const int rc = td_fetch_write(opened, TD_STR("produced "));

        if (rc != 0)
            return rc;
        td_sleep(1);
    }
    return 0;
}

static void
on_header(td_str line, void *arg)
{
    td_writef(arg, "<%.*s>\n", (int)line.len - 2, line.ptr);
}

static void
on_piece(td_str piece, void *arg)
{
    td_sleep(1);
    td_writef(arg, "[%.*s]", TD_STR_FMT(piece));
}

static void
callbacks(td_handler *h)
{
    td_fetch_options options = options_of(h);
    const td_response *answer;

    if (options.method != NULL && strcmp(options.method, "GET") != 0)
        options.body_producer = produce;
    options.content_length = number(h, "length");
    options.header_callback = on_header;
    options.streaming_callback = on_piece;
    options.callback_arg = h;
    answer = td_fetch(h, td_get_argument(h, "url").ptr, &options);
    if (answer != NULL)
        td_writef(h, "\n%d %zu", answer->status, answer->body.len);
    else
        td_writef(h, "\n%d: %s", td_error_code(h), td_error_text(h));
}

static void
misuse(td_handler *h)
{
    static const td_fetch_header bad[] = {{"A\r\nB", "c"}}, ours[] = {{"Content-Length", "1"}},
                                 worse[] = {{"A", "b\r\nC: d"}}, none[] = {{NULL, NULL}},
                                 hosts[] = {{"Host", "a"}, {"host", "a"}},
                                 no_host[] = {{"Host", "a b"}};
    const char *url = td_get_argument(h, "url").ptr;
    const td_fetch_options wrong[] = {
        {.headers = bad, .headers_count = 1}, {.headers = ours, .headers_count = 1},
        {.headers = worse, .headers_count = 1}, {.headers = none, .headers_count = 1},
        {.headers = hosts, .headers_count = 2}, {.headers = no_host, .headers_count = 1},
        {.auth_username = "a:b"}, {.headers_count = 1}, {.method = "GE T"}, {.method = "BREW"}, {.method = "CONNECT"},
        {.method = "POST"}, {.method = "GET", .body = {"x", 1}}, {.connect_timeout_ms = -2},
        {.max_redirects = -2}, {.max_body_size = -1}, {.user_agent = "a\nb"}};
    static const char *const urls[] = {"", "example.org", "ftp://example.org/", "http://", "/",
                                       "http://a b/", "http://a/\r\nX: y"};
    int refused = 0;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        td_fetch_options options = wrong[i];

        options.size = sizeof(options);
        refused += td_fetch(h, url, &options) == NULL && td_error_code(h) == TD_EINVAL;
    }
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        refused += td_fetch(h, urls[i], NULL) == NULL && td_error_code(h) == TD_EINVAL;
    refused += td_fetch(h, NULL, NULL) == NULL && td_fetch(NULL, url, NULL) == NULL;
    refused += td_fetch_future(h, NULL, NULL) == NULL;
    refused += td_fetch_open(h, NULL, NULL) == NULL && td_fetch_open(NULL, url, NULL) == NULL;
    refused += td_fetch_write(NULL, TD_STR("x")) == TD_EINVAL && td_fetch_end(NULL) == TD_EINVAL &&
               td_fetch_head(NULL) == NULL && td_fetch_read(NULL, NULL) == TD_EINVAL &&
               !td_fetch_is_ready(NULL);
    refused += td_fetch(h, url, TD_FETCH(.method = "PUT", .stream_body = true)) == NULL;
    refused += td_fetch(h, url, TD_FETCH(.method = "PUT", .body = TD_STR("x"),
                                         .body_producer = produce)) == NULL;
    refused += td_fetch(h, url, TD_FETCH(.content_length = -1)) == NULL;
    refused += td_fetch(h, url, TD_FETCH(.connections = td_get_metric(h, "asked"))) == NULL;
    refused += td_fetch(h, url, TD_FETCH(.connections_kept = td_get_metric(h, "asked"))) == NULL;
    td_writef(h, "%d", refused);
}

/* ---- a stream in hands that mean it no good: what each call has said, and the answer after all */

struct pranks {
    td_handler *h;
    td_fetch_stream *stream;
    const char *what;
};

static const char big[16 << 20]; /* more than the kernel takes at once */

static int
produce_and_prank(td_fetch_stream *opened, void *arg)
{
    struct pranks *pranks = arg;
    td_fetch_stream *mine = opened;
    td_str data;

    if (strcmp(pranks->what, "producer closes") == 0)
        td_fetch_close(&mine);
    if (strcmp(pranks->what, "producer reads") == 0)
        td_writef(pranks->h, "%d %d %d ", td_fetch_head(mine) == NULL, td_fetch_is_ready(mine),
                  td_fetch_read(mine, &data));
    return td_fetch_write(opened, TD_STR("produced"));
}

static void
write_big(void *arg)
{
    struct pranks *pranks = arg;
    const int rc = td_fetch_write(pranks->stream, td_str_make(big, sizeof(big)));

    td_writef(pranks->h, "%d ", rc);
}

static void
ask_for_head(void *arg)
{
    struct pranks *pranks = arg;
    const td_response *answer = td_fetch_head(pranks->stream);

    td_writef(pranks->h, "%d ", answer != NULL ? answer->status : 0);
}

static void
close_it(void *arg)
{
    struct pranks *pranks = arg;
    td_fetch_stream *stream = pranks->stream;

    td_fetch_close(&stream);
}

static void *
close_on_a_thread(void *arg)
{
    struct pranks *pranks = arg;

    close_it(pranks);
    return td_fetch_is_ready(pranks->stream) ? pranks : NULL;
}

static void
prank_before_the_head(struct pranks *pranks)
{
    td_future *other = NULL;
    td_str data;

    if (strcmp(pranks->what, "two write") == 0) {
        other = td_spawn(write_big, pranks);
        write_big(pranks);
    } else if (strcmp(pranks->what, "two heads") == 0) {
        td_fetch_end(pranks->stream);
        other = td_spawn(ask_for_head, pranks);
        td_sleep(1);
        td_writef(pranks->h, "%d ", td_fetch_head(pranks->stream) == NULL);
    } else if (strcmp(pranks->what, "head in parts") == 0) {
        other = td_spawn(write_big, pranks);
        td_sleep(100);
        ask_for_head(pranks);
    } else if (strcmp(pranks->what, "head while it waits for 100") == 0) {
        other = td_spawn(write_big, pranks);
        td_sleep(1);
        ask_for_head(pranks);
    } else if (strcmp(pranks->what, "write to one that has answered and gone") == 0) {
        other = td_spawn(ask_for_head, pranks);
        td_sleep(1);
        usleep(200000); /* nobody is woken meanwhile */
        write_big(pranks);
    } else if (strcmp(pranks->what, "read first") == 0) {
        td_writef(pranks->h, "%d ", td_fetch_read(pranks->stream, &data));
    } else if (strcmp(pranks->what, "ready first") == 0) {
        td_fetch_write(pranks->stream, TD_STR("x"));
        for (int i = 0; i < 50; i++, td_sleep(1))
            if (td_fetch_write(pranks->stream, td_str_make(big, sizeof(big))) != 0 ||
                td_fetch_is_ready(pranks->stream))
                break;
    } else if (strcmp(pranks->what, "timer closes") == 0) {
        td_call_later(td_ioloop_current(), 5, close_it, pranks);
    } else if (strcmp(pranks->what, "thread closes") == 0) {
        td_executor_run(NULL, close_on_a_thread, pranks, NULL);
    } else if (strcmp(pranks->what, "closed") == 0) {
        close_it(pranks);
        td_writef(pranks->h, "%d %d %d ", td_fetch_write(pranks->stream, TD_STR("x")),
                  td_fetch_is_ready(pranks->stream), td_fetch_end(pranks->stream));
    }
    if (other != NULL)
        td_await(other, NULL);
}

static void
prank(td_handler *h)
{
    struct pranks *pranks = td_alloc(h, sizeof(*pranks));
    const td_response *answer;
    td_str data;
    int n = 0;

    pranks->h = h;
    pranks->what = td_get_argument(h, "what").ptr;
    if (strncmp(pranks->what, "producer", 8) == 0) {
        answer = td_fetch(h, td_get_argument(h, "url").ptr,
                          TD_FETCH(.method = "PUT", .body_producer = produce_and_prank,
                                   .callback_arg = pranks, .request_timeout_ms = 20000));
    } else {
        pranks->stream = td_fetch_open(h, td_get_argument(h, "url").ptr,
                                       TD_FETCH(.method = "PUT", .stream_body = true,
                                                .expect_100_continue = strstr(pranks->what, "100"),
                                                .request_timeout_ms = 20000));
        prank_before_the_head(pranks);
        td_fetch_end(pranks->stream);
        answer = td_fetch_head(pranks->stream);
        while ((n = td_fetch_read(pranks->stream, &data)) > 0)
            ;
    }
    if (answer != NULL)
        td_writef(h, "%d %d", answer->status, n);
    else
        td_writef(h, "%d: %s", td_error_code(h), td_error_text(h));
}

/* ---- every step at every time */

struct steps {
    td_handler *h;
    td_fetch_stream *stream;
    td_iostream *detached;
};

static struct steps
open_steps(td_handler *h)
{
    const char *kind = td_get_argument(h, "kind").ptr;
    td_fetch_options options = options_of(h);

    options.request_timeout_ms = 500;
    if (strcmp(kind, "upgrade") == 0)
        options.upgrade = "echo";
    if (strcmp(kind, "chunks") == 0 || strcmp(kind, "length") == 0) {
        options.method = "PUT";
        options.stream_body = true;
    }
    if (strcmp(kind, "length") == 0)
        options.content_length = 4;
    return (struct steps){h, td_fetch_open(h, td_get_argument(h, "url").ptr, &options), NULL};
}

/* What a server that echoes has said. */
static int
ping(td_iostream *stream)
{
    td_str pong;
    int rc = td_iostream_write(stream, TD_STR("ping"));

    if (rc == 0)
        rc = td_iostream_read_bytes(stream, 4, &pong);
    return rc < 0 ? rc : td_str_equal(pong, TD_STR("ping"));
}

static int
take_step(struct steps *s, char letter)
{
    td_fetch_stream *same = s->stream;
    const td_response *answer;
    td_str data;
    int n;

    switch (letter) {
    case 'w': return td_fetch_write(same, TD_STR("ab"));
    case 'e': return td_fetch_end(same);
    case 'h': return (answer = td_fetch_head(same)) != NULL ? answer->status : 0;
    case 'r': return td_fetch_read(same, &data);
    case 'R':
        while ((n = td_fetch_read(same, &data)) > 0)
            ;
        return n;
    case 'd': return (s->detached = td_fetch_detach(same)) != NULL;
    case 'y': return td_fetch_is_ready(same);
    case 'p': return s->detached != NULL ? ping(s->detached) : 0;
    case 'x': td_iostream_destroy(&s->detached); return 0;
    default: td_fetch_close(&same); s->detached = NULL; return same == NULL;
    }
}

/* The steps that are named, and what each has come to. */
static void
order(td_handler *h)
{
    struct steps s = open_steps(h);

    for (const char *letter = td_get_argument(h, "steps").ptr; *letter != '\0'; letter++)
        td_writef(h, "%d ", take_step(&s, *letter));
    td_writef(h, "%s", td_error_text(h));
    td_fetch_close(&s.stream);
}

/* All orders of four steps: a line for each, as of /order. */
static void
orders(td_handler *h)
{
    static const char letters[] = "wehrdyc";
    const size_t count = strlen(letters), all = count * count * count * count;

    for (size_t i = (size_t)number(h, "from"); i < all; i += 7) {
        struct steps s = open_steps(h);
        size_t rest = i;

        for (int j = 0; j < 4; j++, rest /= count)
            td_writef(h, "%c%d ", letters[rest % count], take_step(&s, letters[rest % count]));
        td_write_text(h, "\n");
        td_fetch_close(&s.stream);
    }
}

/* As HANDLERS.md has it. */
static void
relay(td_handler *h)
{
    td_response *answer = td_fetch(h, "http://127.0.0.1:9000/slow", NULL); /* waits; others are served */

    if (answer == NULL)
        td_raise(h, 502, "upstream: %s", td_error_text(h)); /* does not return; the message is logged */
    td_write(h, answer->body);
}

/* And that port is this one from now on. */
static void
move(td_handler *h)
{
    td_writef(h, "%d", td_resolver_override("127.0.0.1", 9000, "127.0.0.1",
                                            (uint16_t)td_get_argument_int(h, "port", 1, 65535)));
}

/* What a careless handler does: it is still there when the worker ends. */
static void
leak(td_handler *h)
{
    static td_future *forgotten;
    static td_iostream *lost;

    forgotten = td_future_create();
    if (td_tcpclient_connect("127.0.0.1", (uint16_t)td_get_argument_int(h, "port", 1, 65535), NULL,
                             &lost) < 0)
        td_raise(h, 500, "no connection");
    td_writef(h, "%d %d", td_future_is_done(forgotten), td_iostream_is_closed(lost));
}

static const td_handler_class Leak = {.get = leak};
static const td_handler_class Relay = {.get = relay};
static const td_handler_class Move = {.get = move};
static const td_handler_class Fetch = {.get = fetch, .flags = TD_CANCEL_ON_CLOSE};
static const td_handler_class Several = {.get = several};
static const td_handler_class Times = {.get = times};
static const td_handler_class Forget = {.get = forget};
static const td_handler_class Stream = {.get = stream, .flags = TD_CANCEL_ON_CLOSE};
static const td_handler_class Duplex = {.get = duplex};
static const td_handler_class Callbacks = {.get = callbacks};
static const td_handler_class Prank = {.get = prank};
static const td_handler_class Order = {.get = order};
static const td_handler_class Orders = {.get = orders};
static const td_handler_class Misuse = {.get = misuse};

TD_PLUGIN(.name = "fetch", .version = "1.0",
          .metrics = TD_METRICS(TD_COUNTER("asked", "No gauge, so it counts no connections.")),
          .urls = TD_URLS(TD_URL("/fetch", &Fetch), TD_URL("/several", &Several),
                          TD_URL("/times", &Times), TD_URL("/forget", &Forget),
                          TD_URL("/misuse", &Misuse),
                          TD_URL("/stream", &Stream), TD_URL("/duplex", &Duplex),
                          TD_URL("/callbacks", &Callbacks), TD_URL("/prank", &Prank),
                          TD_URL("/order", &Order), TD_URL("/orders", &Orders),
                          TD_URL("/relay", &Relay), TD_URL("/move", &Move), TD_URL("/leak", &Leak)));
