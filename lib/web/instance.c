/* What a plugin may ask about its instance. */
#include "web/instance.h"

#include <stdbool.h>
#include "base/log.h"

static bool
is_given(const void *pointer, const char *function)
{
    if (pointer == NULL)
        td_log(TD_LOG_ERROR, "%s: NULL is not allowed", function);
    return pointer != NULL;
}

const char *
td_instance_name(const td_instance *instance)
{
    return is_given(instance, "td_instance_name") ? instance->name : NULL;
}

const void *
td_instance_settings(const td_instance *instance)
{
    return is_given(instance, "td_instance_settings") ? instance->settings : NULL;
}

void *
td_instance_state(const td_instance *instance)
{
    return is_given(instance, "td_instance_state") ? instance->state : NULL;
}

void *
td_instance_shared(const td_instance *instance, const char *name)
{
    const td_shared_memory *shared;

    if (!is_given(instance, "td_instance_shared") || !is_given(name, "td_instance_shared"))
        return NULL;
    shared = instance->plugin->shared;
    for (size_t i = 0; shared != NULL && shared[i].name != NULL; i++)
        if (strcmp(shared[i].name, name) == 0)
            return instance->shared[i];
    return NULL;
}
