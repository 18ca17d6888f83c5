/*
 * td_handler: what the web layer keeps of one request that a handler works on (Tornado's
 * RequestHandler).  handler.c has its life, response.c what it answers, arguments.c what was asked;
 * handler_internal.h says which chapters its life has.
 *
 * It lies in the arena of its request.  A handler that never waits needs nothing else; one that
 * waits, or finishes later, gets a td_handler_wait and holds a reference to the request.
 */
#ifndef TORNADO_WEB_HANDLER_H
#define TORNADO_WEB_HANDLER_H

#include <stdarg.h>
#include <tornado/handler.h>
#include "base/assert.h"
#include "http/accept.h"
#include "http/request.h"
#include "io/coroutine.h"
#include "web/application_internal.h"

/* What route found, in request->route_data.  Kept while the same head comes again. */
typedef struct td_route_match {
    const td_route *route; /* never NULL: td_application.none stands for what no route serves */
    int status;            /* not 0: the head alone decides that the answer is this error page */
    bool is_form;          /* what its Content-Type says of the body; see forms.h */
    bool is_due;           /* there is something to do before the message is complete */
    td_str allow;          /* methods that the path answers, for OPTIONS and 405 */
    td_str vary;           /* headers that route has looked at; the null string: none */
    td_coding coding;      /* that the client would like; means something if the application compresses */
    td_str if_none_match;  /* of a GET or HEAD; the null string: none */
    struct td_cached_file *file; /* whose prepared answer is the right one; NULL: there is none */
    uint64_t file_era;     /* what that depends on */
    td_str args[];         /* of the path, decoded: route->spec.groups_count of them */
} td_route_match;

/* Lines of a response that need no more memory: Server, Content-Type, Etag, one of the handler. */
#define TD_HANDLER_HEADERS 4

struct td_handler {
    td_request *request;
    td_application *app;
    const td_route_match *match;

    /* The response as far as it was not given to the writer. */
    td_headers headers;
    td_str reason;
    int64_t content_length;      /* as the handler set it; -1: it did not */
    int status;

    /*
     * From here to inline_headers all is zero to begin with; what a plain request looks at is
     * first.
     */
    int raised;                  /* status of the error page that is to come; 0: none */
    char *body;
    size_t body_len, body_size;  /* bytes written; room */
    int refused;                 /* status of the page that was decided before it began; 0: none */

    bool began : 1;              /* initialize was called */
    bool running : 1;            /* a coroutine of the sequence initialize .. on_finish is in use */
    bool asynchronous : 1;       /* the end of the method is not the end of the response */
    bool owes_finish : 1;        /* td_finish has a reference to give back */
    bool making_page : 1;        /* run_error has begun */
    bool failing : 1;            /* the error page is being made */
    bool headers_written : 1;
    bool finished : 1;           /* nothing of the response is to come; perhaps it was lost */
    bool closed : 1;             /* the client has gone, or the response was aborted */
    bool on_finish_called : 1;
    bool has_etag : 1;           /* the handler has set one */
    bool body_on_heap : 1;
    bool next_called : 1;        /* by the link that runs */
    bool in_head : 1;            /* td_on_head callbacks run */
    bool never_compress : 1;
    bool filtering : 1;          /* a transform is running, or waits */
    bool setting_defaults : 1;   /* set_default_headers is running, or has failed */

    struct td_handler_wait *wait; /* NULL: has neither waited nor put its end off */
    struct td_filters *filters;  /* NULL: nobody has added a transform, and nothing is compressed */
    struct td_head_hook *on_head; /* newest first; NULL: nobody waits for the head */
    int64_t fetch_ns;            /* that all td_fetch have taken */
    struct td_visitor *visitor;  /* NULL: no cookie was set, and nothing else of visitor.h needed */
    struct td_sse *sse;          /* NULL: no stream of events */
    struct td_incoming *incoming; /* the body, in a class that streams it; NULL: nobody has asked */
    struct td_arguments *arguments; /* of the query; NULL: nobody has asked */
    struct td_form *form;        /* of the body; NULL: there is none */
    const struct td_json *json;  /* of the body; NULL: nobody has asked */
    td_str *texts;               /* of the request, with a NUL behind; NULL: nobody has asked */
    td_str why;                  /* what was logged of its failure; the null string: nothing */
    const td_instance *const *link; /* of the chain, which runs; NULL: what is behind the last */
    struct td_named_value *values;
    void *user_data;
    unsigned references;         /* that the author has taken */
    td_header inline_headers[TD_HANDLER_HEADERS];
};

static inline const td_route *
td_handler_route(const td_handler *h)
{
    return h->match->route;
}

/* ---- middleware.c */

const td_instance *td_chain_acting(const td_handler *h);

/* Whose code runs: the route's instance, or a link of its chain. */
static inline const td_instance *
td_handler_instance(const td_handler *h)
{
    const td_route *route = td_handler_route(h);

    return TD_LIKELY(route->chain == NULL) ? route->instance : td_chain_acting(h);
}

/* Call what td_on_head has registered; false: one of them has failed, nothing may be sent. */
bool td_chain_head(td_handler *h);

/* After the last mount: give each route its chain. */
void td_chains_seal(td_application *app);
void td_chains_fini(td_application *app);

/* What stands for the route where there is none of that host and path. */
td_route *td_chains_nobody(td_application *app, td_str host, td_str path);
/* What a class calls for a method, get for HEAD; NULL: nothing, or something of ours. */
td_method_fn *td_class_method(const td_handler_class *class, td_method method);

/* ---- handler.c and its chapters */

/* This thread, with its loop, is the one of all handlers. */
void td_handlers_open(void);

void td_handler_execute(td_application *app, td_request *request); /* the message is complete */

/*
 * The answer is this error page before the message is complete.  why: for the log, NULL for none.
 */
void td_handler_refuse(td_application *app, td_request *request, int status, const char *why);

/* What the connection tells; on the loop's stack. */
void td_handler_writable(td_handler *h);
void td_handler_client_left(td_handler *h);

/* What response.c tells. */
void td_handler_head_written(td_handler *h);   /* h->wait is not NULL: no page can follow now */
void td_handler_response_ended(td_handler *h); /* h->wait is not NULL */
void td_handler_owes_nothing(td_handler *h);   /* the author has ended the response */

/* For td_flush: until less is pending.  0 or TD_ECLOSED. */
int td_handler_wait_writable(td_handler *h);

/*
 * For td_read_body: until td_handler_body_came, whose code it returns.  Meanwhile request_timeout
 * does not count; it starts anew then.
 */
int td_handler_wait_body(td_handler *h);
void td_handler_body_came(td_handler *h, int code);
bool td_handler_awaits_body(const td_handler *h);

/* Code that runs for the request beside its sequence. */
td_coroutine_task td_handler_task(td_handler *h, void (*run)(void *arg),
                                  void (*ended)(void *arg, td_coroutine_end end));

/*
 * The response has ended before the handler knew: as if the client had left; on the loop's stack.
 */
void td_handler_ended_early(td_handler *h);

/* A time is up: log it, and end the wait of the sequence with that error page. */
void td_handler_expire(td_handler *h, int status, const char *what);

/* The answer depends on that header of the request, a literal: Vary names it, once. */
void td_handler_vary(td_handler *h, td_str name);

/* One line, "HANDLER: function: what", and TD_EINVAL.  h NULL: whatever handler runs. */
TD_COLD int td_handler_misuse(const td_handler *h, const char *function, const char *what);

/* The same line at warning level, of what need not be wrong. */
void td_handler_warn(const td_handler *h, const char *function, const char *what);

/* Set on the thread of the loop, so that others are told that they may not come here. */
extern __thread bool td_handler_thread __attribute__((tls_model("initial-exec")));

/* True when a public function may go on; else the misuse was logged. */
static inline bool
td_handler_usable(const td_handler *h, const char *function)
{
    if (TD_LIKELY(h != NULL && td_handler_thread))
        return true;
    td_handler_misuse(h, function, h == NULL ? "no handler" : "called on another thread");
    return false;
}

/* The same of a function that needs one more pointer. */
static inline bool
td_handler_has(const td_handler *h, const char *function, const void *needed)
{
    if (!td_handler_usable(h, function))
        return false;
    if (TD_LIKELY(needed != NULL))
        return true;
    td_handler_misuse(h, function, "NULL is not allowed");
    return false;
}

/* Memory of ours lies between the author's, so from the first mark on theirs has its own arena. */
static inline td_arena *
td_handler_arena(td_handler *h)
{
    return TD_LIKELY(h->request->scope == NULL) ? &h->request->arena : h->request->scope;
}

/* td_raise for what a client did wrong: at most one line a second. */
TD_NORETURN void td_handler_raise_quietly(td_handler *h, int status, const char *format, ...)
    TD_PRINTF(3, 4);

/* The caller runs on the coroutine of the sequence. */
bool td_handler_in_sequence(const td_handler *h);

/* For td_detach: until td_handler_detached, or TD_ECLOSED when the client has left before. */
int td_handler_wait_detached(td_handler *h);
void td_handler_detached(td_handler *h);

/* ---- escape.c */

/* In debug: warn of markup in what td_writef has written that is not the format's. */
void td_escape_check(td_handler *h, const char *format, td_str written);

/* ---- response.c */

void td_response_init(td_handler *h);   /* status, headers, body as td_clear leaves them */
int td_response_finish(td_handler *h);  /* 0 or TD_ECLOSED */

/* Of a body that is not the handler's own. */
typedef struct td_piece {
    td_str bytes;   /* copied before td_response_finish_pieces returns */
    td_file *file;  /* not NULL: `length` bytes of it from offset on, in their place */
    uint64_t offset, length;
} td_piece;

/* End a response that has not begun with that body.  0 or TD_ECLOSED. */
int td_response_finish_pieces(td_handler *h, const td_piece *pieces, size_t count);

/*
 * End a response that has not begun in giving the connection away, after a head if status is 101.
 */
int td_response_detach(td_handler *h, td_detached *detached);

void td_response_not_modified(td_handler *h); /* status 304, and nothing of a body */
void td_response_abort(td_handler *h);  /* so that the client can tell that it is truncated */
void td_response_set_defaults(td_handler *h); /* by the class's set_default_headers */
void td_response_append(td_handler *h, td_str bytes); /* to the body, whatever may be */
void td_response_fail(td_handler *h, int status); /* the error page, by the class's write_error */
void td_response_fail_plainly(td_handler *h, int status, bool with_body); /* without its code */

/* What does not go with the arena, when nothing of the request is called again. */
void td_response_release(td_handler *h);
static inline bool
td_response_has_more(const td_handler *h)
{
    return h->body_on_heap || h->filters != NULL || h->sse != NULL || h->incoming != NULL;
}

/* 0, or what a function that changes status or headers has to return. */
int td_response_check_open(td_handler *h, const char *function);

/* The same for functions that begin or end it: not while a transform or td_on_head is asked. */
int td_response_check_ending(const td_handler *h, const char *function);

/* ---- sse.c */

void td_sse_over(td_handler *h); /* h->sse is not NULL: nobody listens any more */

/* ---- cookies.c */

void td_response_add_cookies(td_handler *h); /* to the headers; h->visitor is not NULL */

/* ---- xsrf.c and auth.c: what has to be true before a method is called */

void td_xsrf_check(td_handler *h); /* before prepare; raises 403 */
void td_auth_check(td_handler *h); /* before the method; may end the response, raises 403 or 500 */

#endif
