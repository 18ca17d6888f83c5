/*
 * Forms in the body, taken apart before prepare (BEHAVIOUR sections 3.5, 7 and 8).
 *
 * The first thing that is wrong with one ends the request: one line in the log, and the error page
 * of the handler.
 */
#include "base/escape.h"
#include "web/forms.h"

static bool
begins_with(td_str s, td_str prefix)
{
    return s.len >= prefix.len && td_str_equal_nocase(td_str_make(s.ptr, prefix.len), prefix);
}

static void
parse_urlencoded(td_handler *h)
{
    td_arguments *fields =
        td_arguments_split(h, h->request->body, (size_t)h->request->limits->max_fields);

    if (fields == NULL)
        td_handler_raise_quietly(h, 413, "form: more fields than max_fields");
    h->form = TD_ARENA_NEW(&h->request->arena, td_form);
    h->form->fields = fields;
}

/* What is compressed, say, would be taken for something else than its sender meant. */
static void
refuse_content_encoding(td_handler *h)
{
    if (td_headers_find(&h->request->head.headers, TD_STR("Content-Encoding")) != NULL)
        td_handler_raise_quietly(h, 400, "form: it has a Content-Encoding");
}

void
td_form_parse(td_handler *h)
{
    const td_str type = td_headers_get(&h->request->head.headers, &h->request->arena,
                                       TD_STR("Content-Type"));

    if (!begins_with(type, TD_STR("application/x-www-form-urlencoded")))
        return;
    refuse_content_encoding(h);
    parse_urlencoded(h);
}
