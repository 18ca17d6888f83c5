/*
 * Memory that the workers of an instance share (TD_SHARED of <tornado/plugin.h>).  The master makes
 * it before it forks, so it has the same address everywhere, and keeps it over reloads as long as
 * the instance wants a region of that name and size.
 */
#ifndef DAEMON_SITE_SHARED_H
#define DAEMON_SITE_SHARED_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/error.h>

#define SHARED_SIZE_MAX (UINT64_C(1) << 40) /* bytes */

/* Make the region or find it, for generation `number`. */
int shared_want(const char *instance, const char *name, uint64_t size, uint32_t number,
                td_err *err);

/* Its address, in this process or one forked since; NULL: nobody wanted it. */
void *shared_find(const char *instance, const char *name, size_t size);

/* Generations before this one are gone: unmap what none since has wanted. */
void shared_forget_before(uint32_t number);

#endif
