#include "daemon/site/hooks.h"

#include "base/activity.h"
#include "io/coroutine.h"

int
hooks_check(const struct site *site, const td_instance *instance, td_err *err)
{
    int rc;

    if (instance->plugin->check == NULL)
        return 0;
    *err = (td_err){.code = 0};
    rc = instance->plugin->check(instance, err);
    if (rc < 0 && err->text[0] == '\0')
        td_err_set(err, rc, "check failed: %s", td_strerror(rc));
    return rc < 0 ? site_blame(site, instance, err) : 0;
}

/* What the coroutine is said to do from here on. */
static void
enter_instance(const td_instance *instance)
{
    const td_activity activity = {.instance = instance->index};

    td_coroutine_set_activity(td_coroutine_current(), &activity, instance->name);
}

static int
call_load(td_instance *instance, td_err *err)
{
    if (instance->plugin->load == NULL || instance->quarantined)
        return 0;
    enter_instance(instance);
    int rc = instance->plugin->load(instance, &instance->state, err);
    return rc < 0 && err->text[0] == '\0' ? td_err_set(err, rc, "load failed: %s", td_strerror(rc))
                                          : rc;
}

static int
call_start(td_instance *instance, td_err *err)
{
    if (instance->plugin->start == NULL || instance->quarantined)
        return 0;
    enter_instance(instance);
    int rc = instance->plugin->start(instance, err);
    return rc < 0 && err->text[0] == '\0' ? td_err_set(err, rc, "start failed: %s", td_strerror(rc))
                                          : rc;
}

/* All of one kind; stops at the first that fails. */
static int
call_each(const struct site *site, int (*call)(td_instance *instance, td_err *err),
          hooks_note_fn *note, void *arg, td_err *err)
{
    for (size_t i = 0; i < site->plan->instances_count; i++) {
        td_instance *instance = &site->instances[i];
        note(arg, instance);
        int rc = call(instance, err);
        if (rc < 0) {
            err->code = rc;
            return site_blame(site, instance, err);
        }
    }
    return 0;
}

int
hooks_load_and_start(const struct site *site, hooks_note_fn *note, void *arg, td_err *err)
{
    int rc = call_each(site, call_load, note, arg, err);

    return rc == 0 ? call_each(site, call_start, note, arg, err) : rc;
}

void
hooks_drain(const struct site *site)
{
    for (size_t i = 0; i < site->plan->instances_count; i++) {
        td_instance *instance = &site->instances[i];
        if (instance->plugin->drain == NULL || instance->quarantined)
            continue;
        enter_instance(instance);
        instance->plugin->drain(instance);
    }
}

void
hooks_stop(const struct site *site)
{
    for (size_t i = site->plan->instances_count; i-- > 0;) {
        td_instance *instance = &site->instances[i];
        if (instance->plugin->stop == NULL || instance->quarantined)
            continue;
        enter_instance(instance);
        instance->plugin->stop(instance);
    }
}
