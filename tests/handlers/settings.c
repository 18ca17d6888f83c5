/* Goal: options of every type, state of its own for each instance, memory shared by all workers. */
#include <tornado/tornado.h>
#include <unistd.h>

struct settings {
    const char *greeting;
    int64_t count, size, pause;
    bool loud;
    const char *needed;
};

struct counters {
    unsigned long long calls, loads;
};

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct counters *counters = td_instance_shared(instance, "counters");

    (void)err;
    __atomic_add_fetch(&counters->loads, 1, __ATOMIC_RELAXED);
    *state_out = counters;
    return 0;
}

static void
show(td_handler *h)
{
    const struct settings *s = td_settings(h);

    td_writef(h, "%s %lld %lld %lld %d %s", s->greeting, (long long)s->count, (long long)s->size,
              (long long)s->pause, s->loud, s->needed);
}

static void
count(td_handler *h)
{
    struct counters *counters = td_state(h);
    unsigned long long calls = __atomic_add_fetch(&counters->calls, 1, __ATOMIC_RELAXED);

    td_writef(h, "%llu %llu", calls, __atomic_load_n(&counters->loads, __ATOMIC_RELAXED));
}

static const td_handler_class Show = {.get = show}, Count = {.get = count};

TD_PLUGIN(.name = "settings", .version = "1.0",
          .urls = TD_URLS(TD_URL("/show", &Show), TD_URL("/count", &Count)),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, greeting, "Hello", "what to say"),
                                TD_OPT_INT(struct settings, count, "3", -10, 10, "how often"),
                                TD_OPT_SIZE(struct settings, size, "64k", 1, 1 << 20, "how much"),
                                TD_OPT_TIME(struct settings, pause, "1s", 0, 60000, "how long"),
                                TD_OPT_BOOL(struct settings, loud, "off", "how loud"),
                                TD_OPT_STRING(struct settings, needed, NULL,
                                              "what only you can know")),
          .shared = TD_SHARED({"counters", sizeof(struct counters)}),
          .load = load);
