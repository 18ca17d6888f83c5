/* Values as JSON text, for td_write_json and the writer. */
#ifndef TORNADO_WEB_JSON_H
#define TORNADO_WEB_JSON_H

#include <tornado/json.h>
#include "base/jsontext.h"
#include "web/handler.h"

void td_json_append_pair(td_jsontext *text, const td_json_pair *pair);

/* Write to the response what was appended: "</" as "<\/".  What td_write returns. */
int td_json_send(td_handler *h, td_str json);

/* Any text, its values in the arena; NULL and *err: it is none. */
TD_PRIVATE const td_json *td_json_parse(td_arena *arena, td_str text, td_err *err);

void td_json_set_type(td_handler *h); /* Content-Type, unless the headers have been sent */

#endif
