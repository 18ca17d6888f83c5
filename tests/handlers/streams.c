/*
 * Goal: bodies read while they come, for test_stream.py: each says how many bytes there were, and
 * their Adler-32.
 */
#include <tornado/tornado.h>

#define HUGE_BODY (INT64_C(4) << 30)

struct sum {
    uint64_t count;
    uint32_t a, b;
};

static struct sum *
sum_of(td_handler *h)
{
    struct sum *sum = td_user_data(h);

    if (sum != NULL)
        return sum;
    sum = td_alloc(h, sizeof(*sum));
    sum->a = 1;
    td_set_user_data(h, sum);
    return sum;
}

static void
add(struct sum *sum, td_str data)
{
    sum->count += data.len;
    for (size_t i = 0; i < data.len; i++) {
        sum->a += (unsigned char)data.ptr[i];
        sum->b += sum->a;
        if (i % 4096 == 4095) {
            sum->a %= 65521;
            sum->b %= 65521;
        }
    }
    sum->a %= 65521;
    sum->b %= 65521;
}

static void
tell(td_handler *h)
{
    const struct sum *sum = sum_of(h);

    td_writef(h, "%llu %08x\n", (unsigned long long)sum->count, sum->b << 16 | sum->a);
}

static void
pull(td_handler *h)
{
    td_str data;
    int n;

    while ((n = td_read_body(h, &data)) > 0)
        add(sum_of(h), data);
    if (n < 0)
        td_log_info("pull ends: %s", td_strerror(n));
    else
        tell(h);
}

static void
push(td_handler *h, td_str data)
{
    add(sum_of(h), data);
}

/* The first piece opens nothing: the next is read when /go has been asked for. */
static td_future *gate;

static void
hold(td_handler *h)
{
    td_str data;

    if (gate == NULL)
        gate = td_future_create();
    if (td_read_body(h, &data) > 0)
        add(sum_of(h), data);
    td_log_info("holds");
    td_await(td_future_ref(gate), NULL);
    pull(h);
}

static void
go(td_handler *h)
{
    td_future_set_result(gate, NULL);
    td_write_text(h, "gone\n");
}

static void
refuse(td_handler *h)
{
    td_raise(h, 403, "nobody may");
}

static void
limit(td_handler *h)
{
    td_set_max_body_size(h, td_get_argument_int(h, "size", 0, HUGE_BODY));
    td_set_body_timeout(h, td_get_argument_int(h, "ms", 0, 100000));
}

/* A buffered one. */
static void
whole(td_handler *h)
{
    add(sum_of(h), td_request_body(h));
    td_writef(h, "[%.*s] [%.*s] ", TD_STR_FMT(td_request_header(h, "Content-Encoding")),
              TD_STR_FMT(td_request_header(h, "X-Consumed-Content-Encoding")));
    td_writef(h, "[%.*s] ", TD_STR_FMT(td_request_header(h, "Content-Length")));
    tell(h);
}

static void
form(td_handler *h)
{
    td_write(h, td_get_body_argument(h, "name"));
}

static void
closed(td_handler *h)
{
    (void)h;
    td_log_info("the client has left");
}

#define STREAM                                                                                     \
    .flags = TD_STREAM_BODY, .max_body_size = HUGE_BODY, .on_connection_close = closed

static const td_handler_class Pull = {.post = pull, .put = pull, .get = pull, STREAM};
static const td_handler_class Push = {.post = tell, .put = tell, .data_received = push, STREAM};
static const td_handler_class Hold = {.put = hold, STREAM};
static const td_handler_class Refuse = {.put = pull, .prepare = refuse, STREAM};
static const td_handler_class Limited = {.put = pull, .prepare = limit, .flags = TD_STREAM_BODY};
static const td_handler_class Plain = {.put = pull, .flags = TD_STREAM_BODY};
static const td_handler_class Go = {.get = go};
static const td_handler_class Whole = {.put = whole};
static const td_handler_class Form = {.post = form};

TD_PLUGIN(.name = "streams", .version = "1.0",
          .urls = TD_URLS(TD_URL("/pull", &Pull), TD_URL("/push", &Push), TD_URL("/hold", &Hold),
                          TD_URL("/refuse", &Refuse), TD_URL("/limited", &Limited),
                          TD_URL("/plain", &Plain), TD_URL("/go", &Go), TD_URL("/whole", &Whole),
                          TD_URL("/form", &Form)));
