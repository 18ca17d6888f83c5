/*
 * td_write_json: with "</" as "<\/", so that it may stand in a script element, as Tornado has it.
 */
#include "web/json.h"

void
td_json_append_pair(td_jsontext *text, const td_json_pair *pair)
{
    switch ((td_json_type)pair->type) {
    case TD_JSON_STRING:
        td_jsontext_str(text, pair->key, pair->string);
        break;
    case TD_JSON_INT:
        td_jsontext_signed(text, pair->key, pair->integer);
        break;
    case TD_JSON_DOUBLE:
        td_jsontext_double(text, pair->key, pair->number);
        break;
    case TD_JSON_BOOL:
        td_jsontext_bool(text, pair->key, pair->integer != 0);
        break;
    case TD_JSON_RAW:
        td_jsontext_raw(text, pair->key, pair->string);
        break;
    case TD_JSON_NULL:
    default:
        td_jsontext_string(text, pair->key, NULL);
    }
}

/* "</" occurs in strings only, where "\/" is the same. */
int
td_json_send(td_handler *h, td_str json)
{
    int rc = 0;

    while (json.len > 0 && rc == 0) {
        const char *at = memmem(json.ptr, json.len, "</", 2);
        size_t len = at != NULL ? (size_t)(at + 1 - json.ptr) : json.len;

        rc = td_write(h, td_str_make(json.ptr, len));
        if (rc == 0 && at != NULL)
            rc = td_write(h, TD_STR("\\"));
        json = td_str_make(json.ptr + len, json.len - len);
    }
    return rc;
}

void
td_json_set_type(td_handler *h)
{
    if (!h->headers_written && !h->finished)
        td_set_header(h, "Content-Type", "application/json; charset=UTF-8");
}

int
td_write_json_object(td_handler *h, const td_json_pair *pairs, size_t count)
{
    /* td_write may raise, so the buffer is released by the unwinding, too. */
    td_buf out __attribute__((cleanup(td_buf_release))) = {0};
    td_jsontext text = {.to = &out};

    if (!td_handler_usable(h, "td_write_json"))
        return TD_EINVAL;
    if (pairs == NULL && count > 0)
        return td_handler_misuse(h, "td_write_json", "there are no pairs");
    for (size_t i = 0; i < count; i++)
        if (pairs[i].key == NULL)
            return td_handler_misuse(h, "td_write_json", "a key is NULL");
    td_jsontext_open_object(&text, NULL);
    for (size_t i = 0; i < count; i++)
        td_json_append_pair(&text, &pairs[i]);
    td_jsontext_close(&text);
    td_json_set_type(h);
    return td_json_send(h, td_buf_str(&out));
}
