/*
 * td_table: a hash from byte strings to pointers; open addressing, randomly seeded (XXH3), so that
 * a peer cannot choose collisions.  Keys are not copied and must outlive the table.
 */
#ifndef TORNADO_BASE_TABLE_H
#define TORNADO_BASE_TABLE_H

#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/str.h>

typedef struct td_table_entry {
    td_str key; /* key.ptr == NULL: the place is free */
    uint64_t hash;
    void *value;
} td_table_entry;

typedef struct td_table {
    td_table_entry *entries;
    size_t count, size; /* entries used, places (a power of two or 0) */
    uint64_t seed;
} td_table;

#define TD_TABLE_FOREACH(entry, table)                                                             \
    for (td_table_entry *entry = (table)->entries;                                                 \
         (table)->size > 0 && entry != (table)->entries + (table)->size; entry++)                  \
        if (entry->key.ptr != NULL)

TD_PRIVATE void td_table_init(td_table *table);
TD_PRIVATE void td_table_fini(td_table *table);
TD_PRIVATE void *td_table_get(const td_table *table, td_str key); /* NULL: not there */

/* Returns what stood under the key before, or NULL. */
TD_PRIVATE void *td_table_set(td_table *table, td_str key, void *value);
TD_PRIVATE void *td_table_remove(td_table *table, td_str key);

/*
 * Pick a new seed for the tables to come; tables made before keep working.  Called in each worker
 * after the fork.
 */
TD_PRIVATE void td_table_reseed(void);

#endif
