/*
 * The inside of a handler's life, shared by its chapters: handler.c is the sequence of its code,
 * from the first call to the last; handlerchain.c what stands around that, handlerwait.c what it
 * waits for, raise.c how it gives up, handlerlog.c what is logged of it, handlerauthor.c the rest
 * of what its author calls.
 */
#ifndef TORNADO_WEB_HANDLER_INTERNAL_H
#define TORNADO_WEB_HANDLER_INTERNAL_H

#include "base/log.h"
#include "io/call.h"
#include "web/handler.h"

/* Of one that has waited, or whose end was put off.  In the arena of the request. */
struct td_handler_wait {
    td_handler *handler;
    td_list link;            /* of all in this worker */
    td_deadline deadline;    /* request_timeout; stopped when the head is written */
    td_callback again;       /* continue_sequence from the loop */
    td_coroutine *sequence;  /* waits; NULL: none does, or it has not waited yet */
    td_coroutine *flushing;  /* waits in td_flush */
    td_coroutine *reading;   /* waits in td_read_body */
    td_coroutine *detaching; /* waits in td_detach */
    td_coroutine *ending;    /* waits in td_next for td_finish */
};

static inline const td_handler_class *
td_handler_class_of(const td_handler *h)
{
    return td_handler_route(h)->class;
}

/* ---- handler.c */

extern bool td_handlers_ending; /* td_handlers_cancel_all was called */

struct td_handler_wait *td_handler_wait_of(td_handler *h); /* made when it is not there yet */

/* request_timeout runs, if there is one and it is the handler that is waited for. */
void td_handler_start_deadline(td_handler *h);

/* A coroutine of it has ended so, and nobody has said what that is to be for the client. */
void td_handler_note_failure(td_handler *h, td_coroutine_end end);

/* On its coroutine; arg is the handler.  They may raise. */
void td_handler_run_method(void *arg); /* all from initialize on */
void td_handler_run_error(void *arg);  /* the error page of h->raised */
void td_handler_call_on_finish(td_handler *h);

/* ---- handlerchain.c */

void td_handler_run_chain(void *arg); /* the links of the route's chain around run_method */

/* ---- handlerwait.c */

void td_handler_end_flush(td_handler *h, int code); /* what td_flush and td_detach return, if */
void td_handler_end_detach(td_handler *h, int code); /* somebody waits there */

/* ---- handlerlog.c */

const char *td_handler_name(const td_handler *h); /* of its class or of its route */

/* That of its client, or nearly: who makes a thousand mistakes keeps nobody else's out of the log. */
td_log_gate *td_handler_gate(const td_handler *h);

/* A client error is a warning, ours an error.  gate NULL: every one is logged. */
void td_handler_log_error(td_handler *h, td_log_gate *gate, int status, td_str text);

/* The same of an answer that the daemon has chosen, which is counted. */
void td_handler_log_reason(td_handler *h, td_log_gate *gate, int status, td_str text);

/* The same from the arguments of a public function; without a format there is nothing to say. */
void td_handler_log_given(td_handler *h, td_log_gate *gate, int status, const char *format,
                          va_list args) TD_PRINTF(4, 0);

/* Of td_stretch_tell: who has held the loop, so that all others had to wait. */
void td_handler_log_stretch(const void *owner, const char *module, int64_t duration_ns);

#endif
