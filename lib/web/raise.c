/*
 * Giving up: td_raise, which leaves the code of the handler, and td_send_error, which does not; and
 * who owes the td_finish that td_asynchronous was promised.
 */
#include <tornado/middleware.h>
#include "web/handler_internal.h"

static int
error_status(int status)
{
    return status >= 400 && status <= 599 ? status : 500;
}

/*
 * Whether what ends the response here is what td_asynchronous was promised.  A link behind td_next,
 * an error page and a hook before the head end a response that somebody else is still going to
 * finish.
 */
static bool
is_debtor(const td_handler *h)
{
    const bool is_other = h->making_page || (h->link != NULL && h->next_called);

    return h->owes_finish && !h->in_head && !(is_other && td_handler_in_sequence(h));
}

static void
pay(td_handler *h)
{
    h->owes_finish = false;
    td_request_unref(h->request);
}

void
td_handler_owes_nothing(td_handler *h)
{
    if (is_debtor(h))
        pay(h);
}

/* What comes next is up to sequence_ended or, from a callback, to on_again. */
static TD_NORETURN void
give_up(td_handler *h, int status)
{
    if (!h->finished) {
        if (!h->failing)
            h->raised = error_status(status);
        if (!td_handler_in_sequence(h))
            td_ioloop_post(td_ioloop_current(), &td_handler_wait_of(h)->again);
    }
    td_handler_owes_nothing(h);
    td_coroutine_leave();
}

void
td_raise(td_handler *h, int status, const char *format, ...)
{
    va_list args;

    if (!td_handler_usable(h, "td_raise"))
        td_coroutine_raise();
    va_start(args, format);
    td_handler_log_given(h, NULL, error_status(status), format, args);
    va_end(args);
    give_up(h, status);
}

void
td_handler_raise_quietly(td_handler *h, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    td_handler_log_given(h, td_handler_gate(h), status, format, args);
    va_end(args);
    td_count_reason(status, h->why.ptr);
    give_up(h, status);
}

int
td_send_error(td_handler *h, int status, const char *format, ...)
{
    va_list args;
    bool late;

    if (!td_handler_usable(h, "td_send_error"))
        return TD_EINVAL;
    late = h->closed || (h->finished && h->owes_finish);
    if (h->in_head)
        return td_handler_misuse(h, "td_send_error", "the head is being made");
    if (h->finished && !late)
        return td_handler_misuse(h, "td_send_error", "the response has ended");
    if (h->failing || h->filtering)
        return td_handler_misuse(h, "td_send_error", h->failing ? "an error page is being made"
                                                                : "a transform is running");
    va_start(args, format);
    td_handler_log_given(h, NULL, error_status(status), format, args);
    va_end(args);
    if (!h->finished)
        td_response_fail(h, error_status(status));
    td_handler_owes_nothing(h);
    return late ? TD_ECLOSED : 0;
}
