/* Versions that the author knows: td_set_etag and td_check_etag (RFC 9110 section 8.8.3). */
#include "base/clock.h"
#include "web/conditional.h"
#include "web/handler.h"

/*
 *   etagc = %x21 / %x23-7E / obs-text
 */
static bool
is_opaque(td_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x21 || s.ptr[i] == '"' || s.ptr[i] == 0x7f)
            return false;
    return s.len > 0;
}

/* With its quotes, W/ before them or not. */
static bool
is_entity_tag(td_str s)
{
    const size_t at = s.len > 2 && s.ptr[0] == 'W' && s.ptr[1] == '/' ? 2 : 0;

    if (s.len < at + 2 || s.ptr[at] != '"' || s.ptr[s.len - 1] != '"')
        return false;
    return s.len == at + 2 || is_opaque(td_str_make(s.ptr + at + 1, s.len - at - 2));
}

int
td_set_etag(td_handler *h, const char *etag)
{
    const td_str text = td_str_of(etag);
    td_str value;
    int rc = td_response_check_open(h, "td_set_etag");

    if (rc < 0)
        return rc;
    if (etag != NULL && !is_entity_tag(text) && !is_opaque(text))
        return td_handler_misuse(h, "td_set_etag", "a blank, quote or control byte is in it");
    h->has_etag = true;
    if (etag == NULL) {
        td_headers_remove(&h->headers, TD_STR("Etag"));
        return 0;
    }
    value = is_entity_tag(text) ? td_str_dup(&h->request->arena, text)
                                : td_arena_sprintf(&h->request->arena, "\"%s\"", etag);
    td_headers_set(&h->headers, &h->request->arena, TD_STR("Etag"), value);
    return 0;
}

static time_t
last_modified(const td_handler *h)
{
    const td_header *header = td_headers_find(&h->headers, TD_STR("Last-Modified"));
    time_t modified;

    return header != NULL && td_http_date_parse(header->value, &modified) == 0 ? modified : -1;
}

bool
td_check_etag(td_handler *h)
{
    const td_header *etag;
    int status;

    if (td_response_check_open(h, "td_check_etag") < 0 ||
        td_response_check_ending(h, "td_check_etag") < 0)
        return false;
    etag = td_headers_find(&h->headers, TD_STR("Etag"));
    status = td_precondition_status(h->request, etag != NULL ? etag->value : td_str_make(NULL, 0),
                                    last_modified(h));
    if (status == 412) {
        td_send_error(h, 412, NULL);
    } else if (status == 304) {
        td_response_not_modified(h);
        td_finish(h);
    }
    return status != 200;
}
