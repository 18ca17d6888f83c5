/*
 * Memory that the workers of an instance share (TD_SHARED of <tornado/plugin.h>).  The master makes
 * it before it forks, so it has the same address in all of them, and keeps it over reloads as long
 * as the instance wants a region of that name and size; over an upgrade too, but at another
 * address.
 */
#ifndef DAEMON_SITE_SHARED_H
#define DAEMON_SITE_SHARED_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>

#define SHARED_SIZE_MAX (UINT64_C(1) << 40) /* bytes */

/*
 * Make the region or find it, for generation `number`.  The log tells of one that begins anew
 * because its size is another one.
 */
int shared_want(const char *instance, const char *name, uint64_t size, uint32_t number,
                td_err *err);

/* Its address, in this process or one forked since; NULL: nobody wanted it. */
void *shared_find(const char *instance, const char *name, size_t size);

/* Generations before this one are gone: unmap what none since has wanted. */
void shared_forget_before(uint32_t number);

/* All there are. */
struct shared_region {
    const char *instance, *name;
    uint64_t size;
    uint32_t wanted_by; /* the newest generation */
    int fd; /* -1: files may not be that large (RLIMIT_FSIZE), so it cannot be passed on */
};
void shared_each(void (*each)(void *arg, const struct shared_region *region), void *arg);

/* One that the binary before us has made; takes region->fd over, unless it fails. */
int shared_adopt(const struct shared_region *region, td_err *err);

#endif
