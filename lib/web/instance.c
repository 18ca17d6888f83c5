/* What a plugin may ask about its instance. */
#include "web/instance.h"

const char *
td_instance_name(const td_instance *instance)
{
    return instance->name;
}

const void *
td_instance_settings(const td_instance *instance)
{
    return instance->settings;
}

void *
td_instance_state(const td_instance *instance)
{
    return instance->state;
}

void *
td_instance_shared(const td_instance *instance, const char *name)
{
    const td_shared *shared = instance->plugin->shared;

    for (size_t i = 0; shared != NULL && shared[i].name != NULL; i++)
        if (strcmp(shared[i].name, name) == 0)
            return instance->shared[i];
    return NULL;
}
