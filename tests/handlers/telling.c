/*
 * Goal: what is known of an answer: error pages that say why, middleware that hears what was sent.
 */
#include <tornado/tornado.h>

static void
tell_why(td_handler *h, int status)
{
    td_write_json(h, TD_JSON("status", status), TD_JSON("why", td_raised_text(h)));
}

static void
want_number(td_handler *h)
{
    if (td_get_argument_int(h, "n", 1, 9) == 9)
        td_raise(h, 409, "%d is \"taken\"", 9);
    td_send_error(h, 410, NULL);
}

static void
swallow(td_handler *h)
{
    td_str piece;

    while (td_read_body(h, &piece) > 0)
        ;
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    (void)instance, (void)err;
    *state_out = td_condition_create();
    return 0;
}

static void
stop(td_instance *instance)
{
    td_condition *never = td_instance_state(instance);

    td_condition_destroy(&never);
}

/* A stream that waits for something of its own. */
static void
listen_for_ever(td_handler *h)
{
    if (td_sse_begin(h) == 0)
        td_condition_wait(td_state(h), 0);
}

static void
listening_ended(td_handler *h)
{
    (void)h;
    td_log_info("listening has ended");
}

static void
run(td_handler *h)
{
    td_next(h);
    td_log_info("%s ended with %d", td_request_path(h).ptr, td_get_status(h));
}

static const td_handler_class Number = {.get = want_number, .write_error = tell_why};
static const td_handler_class Swallow = {
    .put = swallow, .flags = TD_STREAM_BODY, .max_body_size = 10};
static const td_handler_class Listen = {
    .get = listen_for_ever, .on_finish = listening_ended, .flags = TD_CANCEL_ON_CLOSE};

TD_PLUGIN(.name = "telling", .version = "1.0", .load = load, .stop = stop, .middleware = run,
          .urls = TD_URLS(TD_URL("/number", &Number), TD_URL("/swallow", &Swallow),
                          TD_URL("/listen", &Listen)));
