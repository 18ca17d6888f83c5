#include "base/census.h"

#include <stdlib.h>
#include <string.h>
#include "base/arena.h"

struct entry {
    char address[16];
    size_t count;
};

void
td_census_init(td_census *census)
{
    td_table_init(&census->counts);
}

void
td_census_fini(td_census *census)
{
    td_table_fini(&census->counts);
}

void
td_census_add(td_census *census, td_str address)
{
    struct entry *entry;

    if (address.len == 0)
        return;
    entry = td_table_get(&census->counts, address);
    if (entry == NULL) {
        entry = td_xcalloc(1, sizeof(*entry));
        memcpy(entry->address, address.ptr, address.len);
        td_table_set(&census->counts, td_str_make(entry->address, address.len), entry);
    }
    entry->count++;
}

void
td_census_remove(td_census *census, td_str address)
{
    struct entry *entry = address.len > 0 ? td_table_get(&census->counts, address) : NULL;

    if (entry == NULL || --entry->count > 0)
        return;
    td_table_remove(&census->counts, address);
    free(entry);
}

size_t
td_census_count(const td_census *census, td_str address)
{
    const struct entry *entry = address.len > 0 ? td_table_get(&census->counts, address) : NULL;

    return entry != NULL ? entry->count : 0;
}
