#include "daemon/source.h"

int
source_prefix(const td_configuration *configuration, const char *section, const char *key,
              td_err *err)
{
    const td_ini_section *found = td_ini_find_section(&configuration->ini, section);
    const td_ini_entry *entry = found != NULL ? td_ini_find(found, key) : NULL;

    err->code = TD_ECONFIG;
    if (entry == NULL)
        return err->code;
    if (entry->source.line == 0)
        return td_err_prefix(err, "%s", entry->source.file);
    return td_err_prefix(err, "%s:%d", entry->source.file, entry->source.line);
}
