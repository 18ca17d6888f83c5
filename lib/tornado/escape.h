/*
 * Text into HTML, URLs and JSON (Tornado's tornado.escape).  Escape where text goes into a page,
 * not where it comes in; what is returned is memory of the request, as that of td_sprintf, and has
 * a NUL behind it.  The null string stays the null string.
 */
#ifndef TORNADO_ESCAPE_H
#define TORNADO_ESCAPE_H

#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/*
 * As td_write, with & < > " ' as entities: for whatever is no markup of the author's, in the text
 * of an element or in an attribute that has quotes around it.  With the setting debug on, td_writef
 * logs a warning, once a route, when its arguments bring < > " or ' into a text/html response.
 */
TD_API int td_write_escaped(td_handler *h, td_str text);

/* The same as text (Tornado's xhtml_escape): td_writef(h, "<b>%s</b>", td_escape(h, name).ptr). */
TD_API td_str td_escape(td_handler *h, td_str text);

/*
 * All but letters, digits and - . _ ~ as %XX: for a value in a query, or one segment of a path; and
 * back, '+' being a blank too (Tornado's url_escape, url_unescape).
 */
TD_API td_str td_escape_url(td_handler *h, td_str text);
TD_API td_str td_unescape_url(td_handler *h, td_str text);

/* A JSON string with its quotes (Tornado's json_encode), for a script in a page too. */
TD_API td_str td_escape_json(td_handler *h, td_str text);

#endif
