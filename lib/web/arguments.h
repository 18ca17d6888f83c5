/*
 * Arguments: pairs of a name and a value, of the query or of a form in the body.  A value is
 * decoded and checked when somebody asks for it, and then kept.
 */
#ifndef TORNADO_WEB_ARGUMENTS_H
#define TORNADO_WEB_ARGUMENTS_H

#include <tornado/handler.h>

typedef struct td_argument {
    td_str name;
    td_str raw;    /* as it was sent */
    td_str value;  /* decoded; the null string until somebody has asked for it */
    bool is_plain; /* raw has no %XX and no '+': a field of multipart/form-data */
} td_argument;

typedef struct td_arguments {
    size_t count;
    td_argument items[];
} td_arguments;

td_arguments *td_arguments_create(td_handler *h,
                                  size_t count_max); /* empty, in the request's arena */

/* in_turns: wait after each thousand or so, so that others are served; in a coroutine only. */
void td_arguments_add(td_arguments *arguments, td_argument argument, bool in_turns);

/* Split "a=1&b=2".  NULL: there are more than `count_max`. */
td_arguments *td_arguments_split(td_handler *h, td_str text, size_t count_max, bool in_turns);

#endif
