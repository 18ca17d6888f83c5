/*
 * What clients fill in: arguments that are numbers or switches.
 *
 * All raise 400, with a line in the log that names the argument.
 */
#ifndef TORNADO_FORMS_H
#define TORNADO_FORMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/*
 * td_get_argument as something else than text.  What is missing or is none is a 400; with a default,
 * what is missing is the default, and what is none is still a 400.
 *
 *   int      digits, perhaps behind a '-'; min <= it <= max
 *   bool     on off true false yes no t f y n 1 0, in any case
 *   double   1, -1.5, .5, 1e-3: finite, with a decimal point in every locale
 */
TD_API int64_t td_get_argument_int(td_handler *h, const char *name, int64_t min, int64_t max);
TD_API int64_t td_get_argument_int_default(td_handler *h, const char *name, int64_t min,
                                           int64_t max, int64_t default_value);
TD_API bool td_get_argument_bool(td_handler *h, const char *name);
TD_API bool td_get_argument_bool_default(td_handler *h, const char *name, bool default_value);
TD_API double td_get_argument_double(td_handler *h, const char *name);
TD_API double td_get_argument_double_default(td_handler *h, const char *name,
                                             double default_value);

#endif
