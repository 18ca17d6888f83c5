#include "daemon/site/shared.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/arena.h"
#include "base/list.h"

struct region {
    td_list link;
    char *instance, *name;
    size_t size;
    void *address;
    uint32_t wanted_by; /* the newest generation */
};

static td_list regions = {&regions, &regions};

static struct region *
find(const char *instance, const char *name, size_t size)
{
    TD_LIST_FOREACH (link, &regions) {
        struct region *region = TD_CONTAINER_OF(link, struct region, link);
        if (region->size == size && strcmp(region->instance, instance) == 0 &&
            strcmp(region->name, name) == 0)
            return region;
    }
    return NULL;
}

int
shared_want(const char *instance, const char *name, uint64_t size, uint32_t number, td_err *err)
{
    if (size == 0 || size > SHARED_SIZE_MAX)
        return td_err_set(err, TD_EPLUGIN,
                          "handler %s: shared memory %s: size %llu is not in 1..2^40", instance,
                          name, (unsigned long long)size);
    struct region *region = find(instance, name, size);
    if (region == NULL) {
        void *address = mmap(NULL, size, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (address == MAP_FAILED)
            return td_err_errno(err, "handler %s: shared memory %s of %llu bytes", instance, name,
                                (unsigned long long)size);
        region = td_xcalloc(1, sizeof(*region));
        region->instance = td_xstrdup(instance);
        region->name = td_xstrdup(name);
        region->size = size;
        region->address = address;
        td_list_append(&regions, &region->link);
    }
    region->wanted_by = number;
    return 0;
}

void *
shared_find(const char *instance, const char *name, size_t size)
{
    const struct region *region = find(instance, name, size);

    return region != NULL ? region->address : NULL;
}

void
shared_forget_before(uint32_t number)
{
    for (td_list *link = regions.next, *next; link != &regions; link = next) {
        struct region *region = TD_CONTAINER_OF(link, struct region, link);
        next = link->next;
        if (region->wanted_by >= number)
            continue;
        td_list_remove(link);
        munmap(region->address, region->size);
        free(region->instance);
        free(region->name);
        free(region);
    }
}
