/* What may be the name of a header (RFC 9110 section 5.6.2), for options that hold one. */
#ifndef HANDLERS_FIELDNAME_H
#define HANDLERS_FIELDNAME_H

#include <string.h>
#include <tornado/tornado.h>

#define FIELDNAME_BYTES                                                                            \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

/* 0, or an error that names the option. */
static inline int
fieldname_check(const char *key, const char *name, td_err *err)
{
    if (name[0] != '\0' && name[strspn(name, FIELDNAME_BYTES)] == '\0')
        return 0;
    return td_err_set(err, TD_ECONFIG, "%s = %s: is no name of a header, such as X-Api-Key", key, name);
}

/* The same of a list, of methods too, which have such names: commas between, and blanks around. */
static inline int
fieldname_check_list(const char *key, const char *list, td_err *err)
{
    for (const char *at = list; *at != '\0'; at += *at == ',') {
        at += strspn(at, " \t");
        at += strspn(at, FIELDNAME_BYTES);
        at += strspn(at, " \t");
        if (*at != ',' && *at != '\0')
            return td_err_set(err, TD_ECONFIG, "%s = %s: is no list of names with commas between", key,
                              list);
    }
    return 0;
}

#endif
