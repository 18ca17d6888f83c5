/*
 * Goal: everything that can be wrong with a handler before it serves.  What it is to do wrong
 * stands in its settings for load and start, in the environment for what happens at dlopen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>
#include <unistd.h>

struct settings {
    const char *load, *start, *drain, *stop;
    const char *later; /* a file; once it is there, load does what stands in it */
};

static void
misbehave(const char *how, const char *hook)
{
    if (how == NULL)
        return;
    td_log_info("%s: %s", hook, how);
    if (strcmp(how, "crash") == 0)
        abort();
    if (strcmp(how, "exit") == 0)
        _exit(0);
    if (strcmp(how, "wait") == 0)
        td_sleep(INT32_MAX);
    while (strcmp(how, "spin") == 0)
        ;
}

/* Before main, so to speak: in the checker, then in each worker. */
__attribute__((constructor)) static void
construct(void)
{
    misbehave(getenv("UNLOADABLE_CONSTRUCTOR"), "constructor");
}

static void
misbehave_later(const char *path)
{
    char how[16] = "";
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return;
    if (fgets(how, sizeof(how), file) == NULL)
        how[0] = '\0';
    fclose(file);
    misbehave(how, "later");
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);

    misbehave(settings->load, "load");
    misbehave_later(settings->later);
    *state_out = instance;
    if (strcmp(settings->load, "fail") == 0)
        return td_err_set(err, TD_ENOTFOUND, "the database is not there");
    return strcmp(settings->load, "fail silently") == 0 ? TD_ENOTFOUND : 0;
}

static int
start(td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);

    misbehave(settings->start, "start");
    if (td_instance_state(instance) != instance || strcmp(settings->start, "fail") == 0)
        return td_err_set(err, TD_ENOTFOUND, "no start today");
    return 0;
}

static void
drain(td_instance *instance)
{
    misbehave(((const struct settings *)td_instance_settings(instance))->drain, "drain");
}

static void
stop(td_instance *instance)
{
    misbehave(((const struct settings *)td_instance_settings(instance))->stop, "stop");
}

static void
ok(td_handler *h)
{
    td_write_text(h, "ok");
}

static const td_handler_class Ok = {.get = ok};

TD_PLUGIN(.name = "unloadable", .version = "1.0", .urls = TD_URLS(TD_URL("/unloadable", &Ok)),
          .options = TD_OPTIONS(struct settings, TD_OPT_STRING(struct settings, load, "well", ""),
                                TD_OPT_STRING(struct settings, start, "well", ""),
                                TD_OPT_STRING(struct settings, drain, "well", ""),
                                TD_OPT_STRING(struct settings, stop, "well", ""),
                                TD_OPT_STRING(struct settings, later, "", "")),
          .load = load, .start = start, .drain = drain, .stop = stop,
          .metrics = TD_METRICS(TD_GAUGE("calls", "A counter of the handler metrics.")));
