#include "daemon/site/shared.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memfile.h"

struct region {
    td_list link;
    char *instance, *name;
    size_t size;
    void *address;
    int fd; /* -1: it cannot be passed on */
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

static void
tell_of_others(const char *instance, const char *name, size_t size)
{
    TD_LIST_FOREACH (link, &regions) {
        const struct region *region = TD_CONTAINER_OF(link, struct region, link);
        if (strcmp(region->instance, instance) == 0 && strcmp(region->name, name) == 0)
            td_log_at(TD_LOG_WARNING, "master",
                      "handler %s: its shared memory %s begins anew: it has %zu bytes now, and had %zu",
                      instance, name, size, region->size);
    }
}

static void *
map(int fd, size_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
}

static struct region *
add(const char *instance, const char *name, size_t size, int fd, void *address)
{
    struct region *region = td_xcalloc(1, sizeof(*region));

    region->instance = td_xstrdup(instance);
    region->name = td_xstrdup(name);
    region->size = size;
    region->fd = fd;
    region->address = address;
    td_list_append(&regions, &region->link);
    return region;
}

int
shared_want(const char *instance, const char *name, uint64_t size, uint32_t number, td_err *err)
{
    int fd = -1;

    if (size == 0 || size > SHARED_SIZE_MAX)
        return td_err_set(err, TD_EPLUGIN,
                          "handler %s: shared memory %s: size %llu is not in 1..2^40", instance,
                          name, (unsigned long long)size);
    struct region *region = find(instance, name, size);
    if (region == NULL) {
        td_memfile_create("tornadod-shared", size, &fd, NULL); /* or it ends with this binary */
        void *address = map(fd, size);
        if (address == MAP_FAILED) {
            const int rc = td_err_errno(err, "handler %s: shared memory %s of %llu bytes", instance,
                                        name, (unsigned long long)size);
            if (fd >= 0)
                close(fd);
            return rc;
        }
        tell_of_others(instance, name, size);
        region = add(instance, name, size, fd, address);
    }
    region->wanted_by = number;
    return 0;
}

void
shared_each(void (*each)(void *arg, const struct shared_region *region), void *arg)
{
    TD_LIST_FOREACH (link, &regions) {
        const struct region *region = TD_CONTAINER_OF(link, struct region, link);
        each(arg, &(struct shared_region){region->instance, region->name, region->size,
                                          region->wanted_by, region->fd});
    }
}

int
shared_adopt(const struct shared_region *region, td_err *err)
{
    uint64_t size;

    if (!td_memfile_is(region->fd, &size) || size != region->size)
        return td_err_set(err, TD_EBADMSG, "it could not be passed on");
    void *address = map(region->fd, size);
    if (address == MAP_FAILED)
        return td_err_errno(err, "mmap");
    add(region->instance, region->name, size, region->fd, address)->wanted_by = region->wanted_by;
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
        if (region->fd >= 0)
            close(region->fd);
        free(region->instance);
        free(region->name);
        free(region);
    }
}
