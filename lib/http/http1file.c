/*
 * Files that leave: slice by slice, in a line.
 *
 * A file that is longer than a slice stands in the worker's line, and an iteration of the loop
 * sends one slice of the first one, whatever the number of downloads: a small request waits for one
 * slice at most.  The first one stays in front for a burst of slices, as its socket, its pages and
 * its client are warm then, and goes to the end afterwards.  Who is refused by the kernel leaves
 * the line until the socket is writable again.
 *
 * What is not in the page cache is read from the disk meanwhile, and the worker waits for it.
 */
#include <errno.h>
#include <inttypes.h>
#include "base/log.h"
#include "http/http1_internal.h"

#define BURST (4 * 1024 * 1024) /* bytes of one file before the next one in the line has its turn */

/* ---- the line */

static void begin_turn(void *arg);

static td_list line = {&line, &line}; /* of http1_range */
static td_callback next_turn = {.fn = begin_turn};

static http1_range *
first_in_line(void)
{
    return td_list_is_empty(&line) ? NULL : TD_CONTAINER_OF(line.next, http1_range, link);
}

static void
enter_line(http1_range *range)
{
    if (range->in_turn && range->burst < BURST) {
        td_list_append(line.next, &range->link); /* in front of the first */
    } else {
        td_list_append(&line, &range->link);
        range->burst = 0;
    }
    td_ioloop_post(range->conn->context->loop, &next_turn);
}

static void
leave_line(http1_range *range)
{
    td_list_remove(&range->link);
    if (td_list_is_empty(&line))
        td_callback_cancel(&next_turn);
}

/* The first one goes on, as if the kernel had just found room for it. */
static void
begin_turn(void *arg)
{
    http1_range *range = first_in_line();
    td_transport *transport = &range->conn->transport;

    (void)arg;
    leave_line(range);
    range->in_turn = true;
    transport->on_event(transport, TD_WRITABLE);
    range = first_in_line();
    if (range != NULL)
        td_ioloop_post(range->conn->context->loop, &next_turn);
}

/* ---- what a connection has still to send */

static void
let_go(td_http1connection *conn, http1_range *range)
{
    if (range->file == NULL)
        return;
    leave_line(range);
    conn->request->body_sent -= range->left;
    td_file_unref(range->file);
}

void
td_http1_file_drop(td_http1connection *conn)
{
    http1_range *range = conn->range;

    conn->range = NULL;
    for (; range != NULL; range = range->next) {
        let_go(conn, range);
        if (range->next != NULL)
            conn->request->body_sent -= range->next->before.len;
    }
}

/* The one in front has left: what stands before the next follows at once. */
static void
next_range(td_http1connection *conn)
{
    http1_range *range = conn->range;

    let_go(conn, range);
    conn->range = range = range->next;
    if (range == NULL)
        return;
    td_buf_append(&conn->out, range->before);
    if (range->file == NULL)
        conn->range = NULL;
}

/* The last of those that wait; a new one unless it has no file yet. */
static http1_range *
add_range(td_http1connection *conn)
{
    http1_range **last = &conn->range;

    while (*last != NULL && (*last)->file != NULL)
        last = &(*last)->next;
    if (*last == NULL) {
        *last = TD_ARENA_NEW(&conn->request->arena, http1_range);
        (*last)->conn = conn;
    }
    return *last;
}

void
td_http1_file_append(td_http1connection *conn, td_str bytes, bool stable)
{
    td_arena *arena = &conn->request->arena;
    http1_range *range = add_range(conn);

    if (range->before.len > 0)
        range->before = td_arena_sprintf(arena, "%.*s%.*s", TD_STR_FMT(range->before),
                                         TD_STR_FMT(bytes));
    else
        range->before = stable ? bytes : td_str_dup(arena, bytes);
}

void
td_http1_file_add(td_http1connection *conn, td_file *file, uint64_t offset, uint64_t length)
{
    http1_range *range = add_range(conn);

    range->file = td_file_ref(file);
    range->offset = offset;
    range->left = length;
}

/* ---- sending */

/* The head told a length that cannot be kept any more: who asked can only be cut off. */
static void
lose_file(td_http1connection *conn, ssize_t n)
{
    td_log_at(TD_LOG_ERROR, "http", "%.*s: %" PRIu64 " bytes were still to come of a file: %s: closed",
              TD_STR_FMT(conn->request->head.target), conn->range->left,
              n == 0 ? "it has become shorter" : strerror((int)-n));
    http1_break(conn);
}

/* A long file is corked, or the odd bytes at the end of each slice were a segment of their own. */
static void
cork(td_http1connection *conn, bool on)
{
    if (conn->corked == on)
        return;
    conn->corked = on;
    conn->transport.ops->cork(&conn->transport, on);
}

static void
slice_sent(td_http1connection *conn, size_t size, size_t n)
{
    http1_range *range = conn->range;

    td_http1_count_sent(conn, n);
    range->offset += n;
    range->left -= n;
    range->burst += (uint32_t)n;
    if (range->left == 0) {
        next_range(conn);
        cork(conn, false);
    } else if (n == size) {
        enter_line(range);
    } /* else the kernel is full */
}

static void
send_slice(td_http1connection *conn)
{
    http1_range *range = conn->range;
    const size_t size = range->left < HTTP1_SLICE ? (size_t)range->left : HTTP1_SLICE;
    ssize_t n;

    conn->sliced = true;
    cork(conn, conn->corked || range->left > HTTP1_SLICE);
    n = conn->transport.ops->sendfile(&conn->transport, range->file->fd, (off_t)range->offset,
                                      size);
    if (n == -EPIPE || n == -ECONNRESET)
        http1_break(conn);
    else if (n > 0)
        slice_sent(conn, size, (size_t)n);
    else if (n != -EAGAIN)
        lose_file(conn, n);
}

void
td_http1_file_send(td_http1connection *conn)
{
    http1_range *range = conn->range;

    if (conn->sliced || http1_is_in_line(conn))
        return;
    if (range->in_turn || range->left <= HTTP1_SLICE)
        send_slice(conn);
    else
        enter_line(range);
    range->in_turn = false;
}
