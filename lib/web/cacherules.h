/*
 * Cache-Control by what a file is: rules as they stand in static_cache_control, the first that
 * matches says it.
 *
 *     text/html: no-cache | /assets/: public, max-age=31536000, immutable | *: max-age=3600
 *
 *   rules   = rule *( "|" rule )
 *   rule    = which ":" value
 *   which   = "*" / "/" prefix of the path below the root / "." extension
 *           / media type / type "/" "*"
 */
#ifndef TORNADO_WEB_CACHERULES_H
#define TORNADO_WEB_CACHERULES_H

#include <tornado/error.h>
#include <tornado/str.h>

/* 0; or TD_ECONFIG and which rule is none. */
TD_PRIVATE int td_cache_rules_check(td_str rules, td_err *err);

/*
 * The value for a file: a piece of `rules`; the null string: no rule is for it.  path: without a
 * slash in front.
 */
TD_PRIVATE td_str td_cache_rules_find(td_str rules, td_str path, td_str content_type);

#endif
