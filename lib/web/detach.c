/*
 * td_detach: the end of a response that gives its connection away.  The HTTP layer can do that only
 * between two turns of the connection, so the handler waits for it.
 */
#include <tornado/detach.h>

#include "http/detached.h"
#include "web/body.h"

td_str
td_request_upgrade(td_handler *h)
{
    const td_head *head;

    if (!td_handler_usable(h, "td_request_upgrade"))
        return td_str_make(NULL, 0);
    head = &h->request->head;
    return head->upgrade && head->minor > 0 ? td_request_header(h, "Upgrade")
                                            : td_str_make(NULL, 0);
}

/* What is wrong with detaching it now; NULL: nothing. */
static const char *
find_misuse(td_handler *h, const td_detach_options *options)
{
    if (!td_handler_in_sequence(h))
        return "not in a method of the handler";
    if (h->finished)
        return "the response has ended";
    if (h->headers_written || h->body_len > 0)
        return "the response has begun";
    if (!td_body_is_read(h))
        return "the body of the request was not read to its end";
    if (options->upgrade == NULL)
        return NULL;
    if (h->request->head.minor == 0)
        return "HTTP/1.0 has no upgrades";
    return options->upgrade[0] != '\0' && td_is_field_value(td_str_of(options->upgrade))
               ? NULL
               : "that is no value of Upgrade";
}

static int
set_upgrade(td_handler *h, const char *upgrade)
{
    const int rc = upgrade != NULL ? td_set_header(h, "Upgrade", upgrade) : 0;

    if (rc == 0 && upgrade != NULL)
        h->status = 101;
    return rc;
}

td_iostream *
td_detach(td_handler *h, const td_detach_options *wanted)
{
    td_detach_options options = {0};
    td_detached *detached;
    const char *misuse;

    if (!td_handler_usable(h, "td_detach") || td_response_check_ending(h, "td_detach") < 0)
        return NULL;
    if (wanted != NULL)
        memcpy(&options, wanted, wanted->size < sizeof(options) ? wanted->size : sizeof(options));
    misuse = find_misuse(h, &options);
    if (misuse != NULL) {
        td_handler_misuse(h, "td_detach", misuse);
        return NULL;
    }
    if (h->closed || set_upgrade(h, options.upgrade) < 0)
        return NULL;
    detached = TD_ARENA_NEW(&h->request->arena, td_detached);
    if (options.stream != NULL)
        memcpy(&detached->options, options.stream,
               options.stream->size < sizeof(detached->options) ? options.stream->size
                                                                : sizeof(detached->options));
    detached->options.size = sizeof(detached->options);
    if (td_response_detach(h, detached) < 0 || td_handler_wait_detached(h) < 0)
        return NULL;
    return detached->stream;
}
