/*
 * The chain collects what each transform emits and hands it to the next as one piece, so that each
 * is called once for a piece and all see which is the last, as in Tornado.
 *
 * Large bodies are compressed in slices, and the loop serves others in between.
 */
#include "base/log.h"
#include "http/compressor.h"
#include "web/compression.h"
#include "web/transforms.h"

#define SLICE (8 * 1024) /* bytes that are compressed in one turn: some 300 us */

struct filter {
    const td_transform *transform;
    void *arg;
    struct filter *next;
};

struct td_filters {
    struct filter *first, **end; /* of the author */
    bool chosen;                 /* coding means something, and the headers say it */
    td_coding coding;
    td_compressor *stream;       /* NULL: nothing is compressed, or all of it at once */
    int64_t promised;            /* by Content-Length, and not written yet; -1: nothing was */
};

struct td_output {
    td_handler *handler;
    td_buf *buf;
};

static struct td_filters *
filters_of(td_handler *h)
{
    if (h->filters == NULL) {
        h->filters = TD_ARENA_NEW(&h->request->arena, struct td_filters);
        h->filters->end = &h->filters->first;
        h->filters->coding = TD_CODING_IDENTITY;
        h->filters->promised = -1;
    }
    return h->filters;
}

/* ---- what authors call */

int
td_add_transform(td_handler *h, const td_transform *transform, void *arg)
{
    struct filter *filter;
    int rc = td_response_check_open(h, "td_add_transform");

    if (rc < 0)
        return rc;
    if (transform == NULL ||
        (transform->transform_first_chunk == NULL && transform->transform_chunk == NULL))
        return td_handler_misuse(h, "td_add_transform", "it has no function");
    if (h->filtering)
        return td_handler_misuse(h, "td_add_transform", "a transform is running");
    filter = TD_ARENA_NEW(&h->request->arena, struct filter);
    *filter = (struct filter){transform, arg, NULL};
    *filters_of(h)->end = filter;
    h->filters->end = &filter->next;
    return 0;
}

int
td_emit(td_output *out, td_str bytes)
{
    size_t max;

    if (out == NULL || (bytes.ptr == NULL && bytes.len > 0))
        return td_handler_misuse(NULL, "td_emit", "NULL is not allowed");
    max = (size_t)out->handler->request->limits->max_response_buffer;
    if (bytes.len > max - out->buf->len)
        td_raise(out->handler, 500,
                 "a transform made more than max_response_buffer (%zu bytes) of one piece", max);
    td_buf_append(out->buf, bytes);
    return 0;
}

int
td_never_compress(td_handler *h)
{
    int rc = td_response_check_open(h, "td_never_compress");

    if (rc == 0)
        h->never_compress = true;
    return rc;
}

/* ---- the transforms of authors */

/* An empty buffer for the next result, while the last one stays where it is. */
static td_buf *
next_buffer(td_filtered *filtered)
{
    const td_buf last = filtered->to;

    filtered->to = filtered->from;
    filtered->from = last;
    td_buf_consume(&filtered->to, filtered->to.len);
    return &filtered->to;
}

static void
run_transform(td_handler *h, const struct filter *filter, bool finishing, td_filtered *filtered)
{
    const td_transform *transform = filter->transform;
    td_transform_fn *fn = transform->transform_chunk;
    td_output out;

    if (!h->headers_written && transform->transform_first_chunk != NULL)
        fn = transform->transform_first_chunk;
    if (fn == NULL || (h->headers_written && !finishing && filtered->bytes.len == 0))
        return;
    out = (td_output){h, next_buffer(filtered)};
    h->filtering = true; /* stays so if it raises: the error page has to do without */
    fn(h, filtered->bytes, finishing, &out, filter->arg);
    h->filtering = false;
    filtered->bytes = td_buf_str(out.buf);
}

static int
run_transforms(td_handler *h, bool finishing, td_filtered *filtered)
{
    for (const struct filter *filter = h->filters->first; filter != NULL; filter = filter->next) {
        run_transform(h, filter, finishing, filtered);
        if (h->closed || h->finished) /* while it waited */
            return TD_ECLOSED;
    }
    return 0;
}

/* ---- compression */

/* Open the stream of a body that is not compressed at once.  False: there are too many. */
static bool
open_stream(td_handler *h, td_coding coding)
{
    static td_log_gate gate;

    h->filters->stream = td_compressor_open(coding, h->app->compression->level);
    if (h->filters->stream == NULL)
        td_log_gated(&gate, TD_LOG_WARNING, td_handler_route(h)->instance->name,
                     "a response is not compressed: %s", td_compressor_refusal());
    return h->filters->stream != NULL;
}

/* length: of the body, -1 when it is not known. */
static void
choose_coding(td_handler *h, int64_t length, bool whole)
{
    struct td_filters *filters = h->filters;
    td_coding coding = td_compression_choose(h, length, !whole || length > TD_COMPRESS_WHOLE_MAX);

    filters->chosen = true;
    if ((!whole || length > TD_COMPRESS_WHOLE_MAX) && coding != TD_CODING_IDENTITY &&
        !open_stream(h, coding))
        coding = TD_CODING_IDENTITY;
    filters->coding = coding;
    if (coding != TD_CODING_IDENTITY)
        td_compression_tell(h, coding);
}

/* 0, or TD_ECLOSED when the response has ended while others were served. */
static int
run_stream(td_handler *h, bool finishing, td_str in, td_buf *to)
{
    td_compressor *stream = h->filters->stream;

    while (in.len > SLICE) {
        td_compressor_run(stream, td_str_make(in.ptr, SLICE), TD_COMPRESS_MORE, to);
        in = td_str_make(in.ptr + SLICE, in.len - SLICE);
        if (td_coroutine_current() == NULL)
            continue;
        h->filtering = true;
        td_sleep(0);
        h->filtering = false;
        if (h->closed || h->finished)
            return TD_ECLOSED;
    }
    td_compressor_run(stream, in, finishing ? TD_COMPRESS_END : TD_COMPRESS_FLUSH, to);
    if (finishing)
        td_compressor_close(&h->filters->stream);
    return 0;
}

static int
compress(td_handler *h, bool finishing, td_filtered *filtered)
{
    td_buf *to = next_buffer(filtered);
    int rc = 0;

    if (h->filters->stream != NULL)
        rc = run_stream(h, finishing, filtered->bytes, to);
    else
        td_compress(h->filters->coding, h->app->compression->level, filtered->bytes, to);
    filtered->bytes = td_buf_str(to);
    return rc;
}

/* ---- the chain */

/* Content-Length is that of what the handler writes, and not of what leaves. */
static int
keep_promise(td_handler *h, size_t len, bool finishing)
{
    struct td_filters *filters = h->filters;

    if (!h->headers_written) {
        filters->promised = h->request->head.method != TD_METHOD_HEAD ? h->content_length : -1;
        h->content_length = -1;
    }
    if (filters->promised < 0)
        return 0;
    if (len > (uint64_t)filters->promised || (finishing && len < (uint64_t)filters->promised))
        return td_handler_misuse(h, "td_finish",
                                 "Content-Length is not the length of what was written");
    filters->promised -= (int64_t)len;
    return 0;
}

/* An answer to HEAD that was made for it says how long that to GET is, and has nothing to show. */
static bool
is_only_told(const td_handler *h, size_t len)
{
    return h->request->head.method == TD_METHOD_HEAD && len == 0 && h->content_length > 0;
}

int
td_filters_run(td_handler *h, td_str piece, bool finishing, td_filtered *filtered)
{
    struct td_filters *filters = filters_of(h);
    const bool only_told = is_only_told(h, piece.len);
    int rc = 0;

    filtered->bytes = piece;
    if (filters->first != NULL)
        rc = run_transforms(h, finishing, filtered);
    if (rc == 0 && h->app->compression != NULL && !filters->chosen) {
        const int64_t written = finishing && !only_told ? (int64_t)filtered->bytes.len
                                                        : h->content_length;

        choose_coding(h, written, finishing);
    }
    if (rc == 0 && (filters->first != NULL || filters->coding != TD_CODING_IDENTITY))
        rc = keep_promise(h, piece.len, finishing);
    if (rc == 0 && filters->coding != TD_CODING_IDENTITY &&
        (h->request->head.method != TD_METHOD_HEAD || (finishing && !only_told)))
        rc = compress(h, finishing, filtered);
    filtered->length = finishing && !only_told ? (int64_t)filtered->bytes.len : -1;
    return rc;
}

void
td_filtered_release(td_filtered *filtered)
{
    td_buf_release(&filtered->from);
    td_buf_release(&filtered->to);
}

bool
td_filters_want(td_handler *h, int64_t length)
{
    struct td_filters *filters = filters_of(h);

    if (filters->first != NULL)
        return true;
    choose_coding(h, length, length <= TD_COMPRESS_WHOLE_MAX);
    return filters->coding != TD_CODING_IDENTITY;
}

void
td_filters_restart(td_handler *h, bool without)
{
    struct td_filters *filters = h->filters;

    if (filters != NULL) {
        td_filters_release(h);
        filters->chosen = false;
        filters->coding = TD_CODING_IDENTITY;
        if (without || h->filtering) {
            filters->first = NULL;
            filters->end = &filters->first;
        }
    }
    h->filtering = false;
}

void
td_filters_release(td_handler *h)
{
    td_compressor_close(&h->filters->stream);
}
