#include "daemon/scoreboard.h"

#include <string.h>
#include <sys/mman.h>

static struct slot *slots;
static bool is_taken[SCOREBOARD_SLOTS]; /* the master's own, out of the workers' reach */
static uint64_t requests_of_dead;

int
scoreboard_create(td_err *err)
{
    void *memory = mmap(NULL, SCOREBOARD_SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return td_err_errno(err, "scoreboard");
    slots = memory;
    return 0;
}

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
scoreboard_requests(void)
{
    uint64_t total = requests_of_dead;

    for (size_t i = 0; i < SCOREBOARD_SLOTS; i++) {
        if (is_taken[i])
            total += slots[i].requests;
    }
    return total;
}
