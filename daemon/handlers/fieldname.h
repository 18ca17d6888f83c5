/* What may be the name of a header (RFC 9110 section 5.6.2), for options that hold one. */
#ifndef HANDLERS_FIELDNAME_H
#define HANDLERS_FIELDNAME_H

#include <tornado/tornado.h>

/* 0, or an error that names the option. */
static inline int
fieldname_check(const char *key, const char *name, td_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "!#$%&'*+-.^_`|~";

    if (name[0] != '\0' && name[strspn(name, allowed)] == '\0')
        return 0;
    return td_err_set(err, TD_ECONFIG, "%s = %s: is no name of a header, such as X-Api-Key", key, name);
}

#endif
