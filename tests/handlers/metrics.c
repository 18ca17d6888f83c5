/* Goal: metrics of one's own, counted from wherever a handler's code runs. */
#include <stdlib.h>
#include <tornado/tornado.h>
#include <unistd.h>

struct state {
    td_metric *jobs, *ticks;
};

static void *
work(void *arg)
{
    struct state *state = arg;

    td_metric_add(state->jobs, 1);
    return NULL;
}

static void
on_tick(void *arg)
{
    struct state *state = arg;

    td_metric_add(state->ticks, 1);
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct state *state = calloc(1, sizeof(*state));

    (void)err;
    state->jobs = td_instance_metric(instance, "jobs");
    state->ticks = td_instance_metric(instance, "ticks");
    td_metric_add(td_instance_metric(instance, "loads"), 1);
    *state_out = state;
    return 0;
}

static void
stop(td_instance *instance)
{
    free(td_instance_state(instance));
}

/* From the method, from threads, and from a timer. */
static void
count(td_handler *h)
{
    td_metric_add(td_get_metric(h, "calls"), 3);
    td_metric_set(td_get_metric(h, "level"), -7);
    td_executor_run(NULL, work, td_state(h), NULL);
    td_call_later(td_ioloop_current(), 0, on_tick, td_state(h));
    td_writef(h, "%d\n", (int)getpid());
}

struct settings {
    const char *offices;
};

static void
post_to(td_handler *h)
{
    td_metric_add(td_get_metric_by(h, "letters", td_get_query_argument(h, "to").ptr), 1);
    td_writef(h, "%d\n", (int)getpid());
}

/* All of it is told, and changes nothing. */
static void
misuse(td_handler *h)
{
    td_metric_add(td_get_metric(h, "calls"), -1);
    td_metric_set(td_get_metric(h, "calls"), 1000);
    td_metric_add(td_get_metric(h, "nowhere"), 1);
    td_metric_add(td_get_metric(h, "letters"), 1);
    td_metric_add(td_get_metric_by(h, "letters", "nowhere"), 1);
    td_metric_add(td_get_metric_by(h, "calls", "nowhere"), 1);
    td_metric_add(td_get_metric_by(h, "letters", NULL), 1);
    td_metric_set(NULL, 1);
    td_writef(h, "%lld %lld\n", (long long)td_metric_value(td_get_metric(h, "calls")),
              (long long)td_metric_value(NULL));
}

static const td_handler_class Count = {.get = count};
static const td_handler_class Post = {.get = post_to};
static const td_handler_class Misuse = {.get = misuse};

TD_PLUGIN(.name = "metrics", .version = "1.0", .load = load, .stop = stop,
          .urls = TD_URLS(TD_URL("/count", &Count), TD_URL("/post", &Post),
                          TD_URL("/misuse", &Misuse)),
          .options = TD_OPTIONS(struct settings, TD_OPT_STRING(struct settings, offices, "north, south",
                                                               "Where letters go.")),
          .metrics = TD_METRICS(TD_COUNTER("calls", "Calls: \"all\" of \\them."),
                                TD_COUNTER("jobs", "Jobs of threads."),
                                TD_COUNTER("ticks", "Timers that ran."),
                                TD_COUNTER("loads", "Workers that have loaded it."),
                                TD_COUNTER_BY("letters", "Letters.", "office", "offices"),
                                TD_GAUGE("level", "Where it stands.")));
