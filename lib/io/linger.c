/* Lingering: a piece of what comes is dropped each time that there is some. */
#include "io/linger.h"

#include <errno.h>
#include "base/clock.h"

#define A_TURN ((size_t)256 * 1024) /* bytes; then others have theirs */

bool
td_linger_goes_on(td_transport *t, uint32_t *dropped)
{
    const ssize_t n = td_transport_discard(t, A_TURN);

    *dropped += n > 0 ? (uint32_t)n : 0;
    return n == -EAGAIN || (n > 0 && *dropped < TD_LINGER_MAX);
}

void
td_linger_stop(td_linger *linger)
{
    td_timer_stop(linger->loop, &linger->timer);
    td_transport_close(&linger->transport, linger->loop);
}

static void
end(void *arg)
{
    td_linger *linger = arg;

    td_linger_stop(linger);
    linger->ended(linger);
}

static void
say_end(td_linger *linger)
{
    td_transport *t = &linger->transport;

    if (!linger->has_ended)
        linger->has_ended = t->ops->shutdown(t) != -EAGAIN;
    td_transport_watch(t, linger->loop, TD_READABLE | (linger->has_ended ? 0 : TD_WRITABLE));
}

static void
on_event(td_transport *t, int events)
{
    td_linger *linger = TD_CONTAINER_OF(t, td_linger, transport);

    (void)events;
    if (td_linger_goes_on(t, &linger->dropped))
        say_end(linger);
    else
        end(linger);
}

void
td_linger_start(td_linger *linger, td_transport *from, td_ioloop *loop)
{
    td_transport *t = &linger->transport;

    linger->loop = loop;
    linger->dropped = 0;
    linger->has_ended = false;
    linger->timer = (td_timer){.fn = end, .arg = linger};
    td_transport_move(t, from, loop, on_event);
    td_transport_expect_discard(t);
    say_end(linger);
    td_timer_start(loop, &linger->timer, td_now_ns() + TD_LINGER_MS * TD_NS_PER_MS);
}
