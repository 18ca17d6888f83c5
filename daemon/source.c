#include "daemon/source.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static int
prefix_entry(const td_ini_entry *entry, td_err *err)
{
    err->code = TD_ECONFIG;
    if (entry->source.line == 0)
        return td_err_prefix(err, "%s", entry->source.file);
    return td_err_prefix(err, "%s:%d", entry->source.file, entry->source.line);
}

int
source_prefix(const td_configuration *configuration, const char *section, const char *key,
              td_err *err)
{
    const td_ini_section *found = td_ini_find_section(&configuration->ini, section);
    const td_ini_entry *entry = found != NULL ? td_ini_find(found, key) : NULL;

    err->code = TD_ECONFIG;
    return entry != NULL ? prefix_entry(entry, err) : err->code;
}

static bool
begins_with_word(const char *text, const char *word)
{
    const size_t len = strlen(word);

    return strncmp(text, word, len) == 0 && !isalnum((unsigned char)text[len]) && text[len] != '_';
}

int
source_prefix_named(const td_configuration *configuration, const char *section, const char *text,
                    td_err *err)
{
    const td_ini_section *found = td_ini_find_section(&configuration->ini, section);

    for (const td_ini_entry *e = found != NULL ? found->entries : NULL; e != NULL; e = e->next)
        if (begins_with_word(text, e->key))
            return prefix_entry(e, err);
    return err->code;
}

const char *
source_section_of_application(td_arena *arena, const td_configuration *configuration,
                              const char *name)
{
    const char *section = td_arena_sprintf(arena, "application:%s", name).ptr;

    return td_ini_find_section(&configuration->ini, section) != NULL ? section : "application";
}
