/*
 * The answer in place of one that has failed: a page of the class's write_error, or ours.
 */
#include <tornado/middleware.h>
#include "web/handler.h"
#include "web/transforms.h"

/* What was set so far is forgotten, as by Tornado's send_error. */
static void
prepare_error(td_handler *h, int status)
{
    td_response_init(h);
    h->status = h->raised = status;
    td_filters_restart(h, td_coroutine_current() == NULL);
    if (status == 405) /* RFC 9110 section 15.5.6 */
        td_headers_add(&h->headers, &h->request->arena, TD_STR("Allow"),
                       h->match->allow);
}

/*
 * In debug, as Tornado's traceback: what was logged, and nothing that a browser would take for a
 * page.
 */
static void
write_reason(td_handler *h)
{
    td_headers_set(&h->headers, &h->request->arena, TD_STR("Content-Type"),
                   TD_STR("text/plain; charset=UTF-8"));
    td_headers_add(&h->headers, &h->request->arena, TD_STR("X-Content-Type-Options"),
                   TD_STR("nosniff"));
    td_response_append(h, td_arena_sprintf(&h->request->arena, "%d: %.*s\n\n%.*s\n", h->status,
                                           TD_STR_FMT(td_reason_phrase(h->status)),
                                           TD_STR_FMT(h->why)));
}

td_str
td_raised_text(td_handler *h)
{
    if (!td_handler_usable(h, "td_raised_text"))
        return td_str_make(NULL, 0);
    return !td_str_is_null(h->why) ? h->why : td_reason_phrase(h->status);
}

static void
write_page(td_handler *h)
{
    const char code[] = {(char)('0' + h->status / 100), (char)('0' + h->status / 10 % 10),
                         (char)('0' + h->status % 10), ':', ' '};
    const td_str code_str = {code, sizeof(code)};
    const td_str reason = td_reason_phrase(h->status); /* nothing in it to escape */

    if (h->app->settings->debug && !td_str_is_null(h->why)) {
        write_reason(h);
        return;
    }
    td_response_append(h, TD_STR("<html><title>"));
    td_response_append(h, code_str);
    td_response_append(h, reason);
    td_response_append(h, TD_STR("</title><body>"));
    td_response_append(h, code_str);
    td_response_append(h, reason);
    td_response_append(h, TD_STR("</body></html>"));
}

void
td_response_fail_plainly(td_handler *h, int status, bool with_body)
{
    if (h->headers_written || h->closed) {
        td_response_abort(h);
        return;
    }
    prepare_error(h, status);
    if (with_body)
        write_page(h);
    td_response_finish(h);
}

void
td_response_fail(td_handler *h, int status)
{
    const td_handler_class *class = td_handler_route(h)->class;

    if ((class->write_error == NULL && class->set_default_headers == NULL) || h->headers_written ||
        h->closed || td_coroutine_current() == NULL) {
        td_response_fail_plainly(h, status, true);
        return;
    }
    prepare_error(h, status);
    h->failing = true;
    td_response_set_defaults(h);
    if (!h->finished && class->write_error != NULL)
        class->write_error(h, status);
    else if (!h->finished)
        write_page(h);
    if (!h->finished)
        td_response_finish(h);
}
