/*
 * Goal: what a worker gone mad leaves in the memory that it shares is no harm to those who read it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>

#define REACH 1048576 /* bytes of a mapping; what lies behind is not in use */

/* With that byte over and over; below 0: with anything. */
static void
fill(char *at, size_t size, int byte, unsigned seed)
{
    if (byte >= 0) {
        memset(at, byte, size);
        return;
    }
    for (size_t i = 0; i < size; i++)
        at[i] = (char)rand_r(&seed);
}

static void
scribble(td_handler *h)
{
    const int byte = (int)td_get_argument_int(h, "byte", -1, 255);
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    char line[512], access[5], *places[64];
    size_t sizes[64], count = 0;

    while (count < 64 && fgets(line, sizeof(line), maps) != NULL)
        if (sscanf(line, "%lx-%lx %4s", &from, &to, access) == 3 && strcmp(access, "rw-s") == 0) {
            places[count] = (char *)from;
            sizes[count++] = to - from < REACH ? to - from : REACH;
        }
    fclose(maps);
    for (size_t i = 0; i < count; i++)
        fill(places[i], sizes[i], byte, (unsigned)i);
    if (td_get_argument_default(h, "ends", "").len > 0)
        abort();
    td_writef(h, "%zu", count);
}

static const td_handler_class Scribble = {.get = scribble};

TD_PLUGIN(.name = "scribble", .version = "1.0", .urls = TD_URLS(TD_URL("/scribble", &Scribble)));
