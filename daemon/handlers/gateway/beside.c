/* The second coroutine of a request that goes both ways at once. */
#include "relay.h"

static void
tell_ended(struct relay **relay)
{
    td_future_set_result((*relay)->ended, NULL);
}

static void
run_beside(void *arg)
{
    struct relay *relay __attribute__((cleanup(tell_ended))) = arg;

    relay->ended = td_future_create();
    relay->other_way(relay);
}

void
relay_start_beside(struct relay *relay, void (*other_way)(struct relay *))
{
    relay->other_way = other_way;
    relay->beside = td_spawn(run_beside, relay);
}

void
relay_await_beside(struct relay *relay)
{
    td_await(td_future_ref(relay->beside), NULL);
}

/* What was just woken still has a few steps to go with what is ours. */
void
relay_stop_beside(struct relay *relay)
{
    if (relay->beside == NULL)
        return;
    td_future_cancel(relay->beside);
    td_future_unref(relay->beside);
    relay->beside = NULL;
    if (relay->ended == NULL)
        return;
    td_cancel_disable();
    td_await(relay->ended, NULL);
    td_cancel_enable();
    relay->ended = NULL;
}
