/*
 * Linear probing at a load of at most 3/4; a removal closes the gap by moving later entries of the
 * cluster back, so there are no tombstones and lookups never slow down.
 */
#include "base/table.h"

#include <stdlib.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"

#define TABLE_SIZE_MIN 8

static uint64_t current_seed;

void
td_table_reseed(void)
{
    /* Before the kernel has entropy, a guessable seed is better than a server that waits for it. */
    if (getrandom(&current_seed, sizeof(current_seed), GRND_NONBLOCK) !=
        (ssize_t)sizeof(current_seed))
        current_seed = (uint64_t)td_clock_ns() ^ (uint64_t)(uintptr_t)&current_seed;
}

void
td_table_init(td_table *table)
{
    if (current_seed == 0)
        td_table_reseed();
    *table = (td_table){.seed = current_seed};
}

void
td_table_fini(td_table *table)
{
    free(table->entries);
    table->entries = NULL;
    table->count = table->size = 0;
}

/* Where the key is, or the free place where it would go; size > 0. */
static td_table_entry *
find(const td_table *table, td_str key, uint64_t hash)
{
    const size_t mask = table->size - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        td_table_entry *entry = &table->entries[i];

        if (entry->key.ptr == NULL || (entry->hash == hash && td_str_equal(entry->key, key)))
            return entry;
    }
}

static uint64_t
hash_of(const td_table *table, td_str key)
{
    TD_ASSERT(key.ptr != NULL);
    return XXH3_64bits_withSeed(key.ptr, key.len, table->seed);
}

void *
td_table_get(const td_table *table, td_str key)
{
    if (table->count == 0)
        return NULL;

    const td_table_entry *entry = find(table, key, hash_of(table, key));

    return entry->key.ptr != NULL ? entry->value : NULL;
}

static void
grow(td_table *table)
{
    td_table old = *table;

    table->size = old.size > 0 ? old.size * 2 : TABLE_SIZE_MIN;
    table->entries = td_xcalloc(table->size, sizeof(*table->entries));
    TD_TABLE_FOREACH(entry, &old)
        *find(table, entry->key, entry->hash) = *entry;
    free(old.entries);
}

void *
td_table_set(td_table *table, td_str key, void *value)
{
    const uint64_t hash = hash_of(table, key);

    if ((table->count + 1) * 4 > table->size * 3)
        grow(table);

    td_table_entry *entry = find(table, key, hash);
    void *before = NULL;

    if (entry->key.ptr != NULL)
        before = entry->value;
    else
        table->count++;
    *entry = (td_table_entry){key, hash, value};
    return before;
}

void *
td_table_remove(td_table *table, td_str key)
{
    if (table->count == 0)
        return NULL;

    td_table_entry *gap = find(table, key, hash_of(table, key));

    if (gap->key.ptr == NULL)
        return NULL;

    const size_t mask = table->size - 1;
    void *before = gap->value;
    size_t free_at = (size_t)(gap - table->entries);

    for (size_t i = (free_at + 1) & mask; table->entries[i].key.ptr != NULL; i = (i + 1) & mask) {
        const size_t home = table->entries[i].hash & mask;

        /* It may move back unless its home lies behind the gap (all distances around the ring). */
        if (((i - home) & mask) >= ((i - free_at) & mask)) {
            table->entries[free_at] = table->entries[i];
            free_at = i;
        }
    }
    table->entries[free_at] = (td_table_entry){{NULL, 0}, 0, NULL};
    table->count--;
    return before;
}
