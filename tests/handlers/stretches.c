/* Goal: a handler holds the loop in each of the ways that it can, for as long as it is asked to. */
#include <stdlib.h>
#include <tornado/tornado.h>
#include <unistd.h>

static long
asked_ms(td_handler *h)
{
    return strtol(td_get_argument(h, "ms").ptr, NULL, 10);
}

static void
hold(long ms)
{
    usleep((useconds_t)ms * 1000);
}

static void
at_once(td_handler *h)
{
    hold(asked_ms(h));
    td_write_text(h, "held");
}

static void
before_wait(td_handler *h)
{
    hold(asked_ms(h));
    td_sleep(1);
    td_write_text(h, "held");
}

static void
after_wait(td_handler *h)
{
    td_sleep(1);
    hold(asked_ms(h));
    td_write_text(h, "held");
}

/* More than the kernel takes at once. */
static void
before_much(td_handler *h)
{
    hold(asked_ms(h));
    for (int i = 0; i < 12; i++)
        td_write(h, td_str_make(td_alloc(h, 1 << 20), 1 << 20));
}

static void
on_timer(void *arg)
{
    hold((long)(intptr_t)arg);
}

static void
in_timer(td_handler *h)
{
    td_call_later(td_ioloop_current(), 1, on_timer, (void *)(intptr_t)asked_ms(h));
    td_write_text(h, "later");
}

/* Others are served meanwhile. */
static void
waiting(td_handler *h)
{
    td_sleep(asked_ms(h));
    td_write_text(h, "waited");
}

#define CLASS(name_) ((const td_handler_class[]){{.get = name_}})

TD_PLUGIN(.name = "stretches", .version = "1.0",
          .urls = TD_URLS(TD_URL("/at-once", CLASS(at_once)),
                          TD_URL("/before-wait", CLASS(before_wait)),
                          TD_URL("/after-wait", CLASS(after_wait)),
                          TD_URL("/before-much", CLASS(before_much)),
                          TD_URL("/in-timer", CLASS(in_timer)),
                          TD_URL("/waiting", CLASS(waiting))));
