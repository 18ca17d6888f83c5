#include "daemon/scoreboard.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/memfile.h"

#define SIZE (SCOREBOARD_SLOTS * sizeof(struct slot))

static struct slot *slots;
static int descriptor = -1; /* of it; -1: it has none */
static bool is_taken[SCOREBOARD_SLOTS]; /* the master's own, out of the workers' reach */
static uint64_t requests_of_dead;

static void *
map(int fd)
{
    return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd,
                0);
}

int
scoreboard_create(td_err *err)
{
    int fd = -1;

    td_memfile_create("tornadod-scoreboard", SIZE, &fd, NULL); /* or it ends with this binary */
    void *memory = map(fd);
    if (memory == MAP_FAILED)
        return td_err_errno(err, "scoreboard");
    slots = memory;
    descriptor = fd;
    return 0;
}

/* ---- over an upgrade */

int
scoreboard_descriptor(void)
{
    return descriptor;
}

#define AT(field) offsetof(struct slot, field)

/* What the sizes do not tell; count the first one up where a field changes its meaning alone. */
uint64_t
scoreboard_layout(void)
{
    static const uint64_t numbers[] = {
        1, SCOREBOARD_SLOTS, sizeof(struct slot), AT(activity.instance), AT(activity.route),
        AT(activity.request_no), AT(starting), AT(requests), AT(alive_ns), AT(pid), AT(generation),
        AT(worker), AT(log_dropped), AT(access_dropped), AT(crash.signal), AT(crash.code),
        AT(crash.address), AT(crash.is_overflow), AT(crash.at), AT(crash.request),
        AT(crash.frames_count), AT(crash.frames), sizeof(struct crash_frame)};

    return XXH3_64bits(numbers, sizeof(numbers)) >> 1; /* fits into what is handed over */
}

bool
scoreboard_adopt(int fd, uint64_t layout, uint64_t before)
{
    uint64_t size;
    void *memory = layout == scoreboard_layout() && td_memfile_is(fd, &size) && size == SIZE
                       ? map(fd)
                       : MAP_FAILED;

    requests_of_dead = before;
    if (memory == MAP_FAILED) {
        close(fd);
        return false;
    }
    munmap(slots, SIZE);
    if (descriptor >= 0)
        close(descriptor);
    slots = memory;
    descriptor = fd;
    return true;
}

struct slot *
scoreboard_take_over(size_t place)
{
    if (place >= SCOREBOARD_SLOTS || is_taken[place])
        return NULL;
    is_taken[place] = true;
    return &slots[place];
}

/* ---- slots */

struct slot *
scoreboard_take(void)
{
    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        if (is_taken[i])
            continue;
        is_taken[i] = true;
        memset(&slots[i], 0, sizeof(slots[i]));
        return &slots[i];
    }
    return NULL;
}

void
scoreboard_release(struct slot *slot)
{
    requests_of_dead += slot->requests;
    is_taken[slot - slots] = false;
}

const struct slot *
scoreboard_slot(size_t place)
{
    return &slots[place];
}

size_t
scoreboard_place(const struct slot *slot)
{
    return (size_t)(slot - slots);
}

uint64_t
scoreboard_requests_of_dead(void)
{
    return requests_of_dead;
}

uint64_t
scoreboard_requests(void)
{
    uint64_t total = requests_of_dead;

    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        if (is_taken[i])
            total += slots[i].requests;
    }
    return total;
}
