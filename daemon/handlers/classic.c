/*
 * classic: what the original daemon of this name served, and the pattern of a handler with an
 * object that lives as long as the worker, here a stand-in for a connection to a database that has
 * to be pinged now and then.
 *
 *     /                 {"name": "jack"}
 *     /index/1/2        12
 *
 * Options of [handler:classic]: ping_period.
 */
#include <stdlib.h>
#include <tornado/tornado.h>

struct settings {
    int64_t ping_period; /* ms */
};

struct database {
    const char *owner; /* name of the instance, for the log */
    uint64_t pings;
    td_periodic *pinger;
};

static void
ping(void *arg)
{
    struct database *db = arg;

    db->pings++;
    td_log_debug("%s: ping %llu", db->owner, (unsigned long long)db->pings);
}

static void
show_jack(td_handler *h)
{
    td_write_json(h, TD_JSON("name", "jack"));
}

static void
show_index(td_handler *h)
{
    td_write(h, td_path_argument(h, "num"));
    td_write(h, td_path_argument(h, "nid"));
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    struct database *db = calloc(1, sizeof(*db));

    if (db == NULL)
        return td_err_errno(err, "no memory for the database");
    db->owner = td_instance_name(instance);
    *state_out = db;
    return 0;
}

static int
start(td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);
    struct database *db = td_instance_state(instance);

    db->pinger = td_periodic_create(ping, db, settings->ping_period, 0.0);
    if (db->pinger == NULL)
        return td_err_set(err, TD_EINVAL, "cannot ping every %lld ms",
                          (long long)settings->ping_period);
    td_periodic_start(db->pinger);
    return 0;
}

static void
stop(td_instance *instance)
{
    struct database *db = td_instance_state(instance);

    td_periodic_destroy(&db->pinger);
    free(db);
}

static const td_handler_class Main = {.get = show_jack};
static const td_handler_class Index = {.get = show_index};

TD_PLUGIN(.name = "classic", .version = "1.0",
          .urls = TD_URLS(TD_URL("/", &Main),
                          TD_URL("/index/(?P<num>\\d+)/(?P<nid>\\d+)", &Index, .name = "index")),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_TIME(struct settings, ping_period, "10s", 10, 86400000,
                                            "How often the database is pinged.")),
          .load = load, .start = start, .stop = stop);
