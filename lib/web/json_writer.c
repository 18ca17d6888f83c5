/*
 * The writer keeps one bit for each level that is open and what is wrong; everything else is in the
 * response already.
 */
#include <tornado/json_writer.h>
#include "web/json.h"

_Static_assert(TD_JSON_WRITER_DEPTH <= TD_JSONTEXT_DEPTH, "levels are bits of one number");

td_json_writer
td_json_begin(td_handler *h)
{
    td_json_writer w = {.handler = h};

    if (!td_handler_usable(h, "td_json_begin"))
        w.rc = TD_EINVAL;
    else
        td_json_set_type(h);
    return w;
}

/* The first error is what td_json_end returns. */
static int
note(td_json_writer *w, int rc)
{
    if (rc < 0 && w->rc == 0)
        w->rc = rc;
    return rc;
}

static int
misuse(td_json_writer *w, const char *function, const char *what)
{
    return note(w, td_handler_misuse(w->handler, function, what));
}

/* Where it goes on; td_jsontext and the public struct keep the same. */
static td_jsontext
begin_text(const td_json_writer *w, td_buf *to)
{
    return (td_jsontext){to, w->arrays, w->depth, w->filled != 0};
}

static int
end_text(td_json_writer *w, const td_jsontext *text)
{
    w->arrays = text->arrays;
    w->depth = text->depth;
    w->filled = text->is_filled;
    return note(w, td_json_send(w->handler, td_buf_str(text->to)));
}

/* NULL: a value under that key may come next. */
static const char *
what_is_wrong(const td_jsontext *text, const char *key)
{
    if (text->depth == 0)
        return text->is_filled ? "the value is complete" : key != NULL ? "a key at the top" : NULL;
    if (td_jsontext_is_in_array(text))
        return key != NULL ? "a key in an array" : NULL;
    return key == NULL ? "no key in an object" : NULL;
}

/* False: w is good for nothing. */
static bool
is_usable(const td_json_writer *w, const char *function)
{
    if (w == NULL)
        td_handler_misuse(NULL, function, "no writer");
    return w != NULL && td_handler_usable(w->handler, function);
}

static int
open_level(td_json_writer *w, const char *function, const char *key, bool is_array)
{
    td_buf out __attribute__((cleanup(td_buf_release))) = {0};
    const char *wrong;

    if (!is_usable(w, function))
        return TD_EINVAL;
    if (w->left_out > 0) {
        w->left_out++;
        return TD_EINVAL;
    }
    td_jsontext text = begin_text(w, &out);
    wrong = w->depth < TD_JSON_WRITER_DEPTH ? what_is_wrong(&text, key)
                                            : "deeper than TD_JSON_WRITER_DEPTH";
    if (wrong != NULL) {
        w->left_out = 1;
        return misuse(w, function, wrong);
    }
    if (is_array)
        td_jsontext_open_array(&text, key);
    else
        td_jsontext_open_object(&text, key);
    return end_text(w, &text);
}

int
td_json_open_object(td_json_writer *w, const char *key)
{
    return open_level(w, "td_json_open_object", key, false);
}

int
td_json_open_array(td_json_writer *w, const char *key)
{
    return open_level(w, "td_json_open_array", key, true);
}

static int
close_level(td_json_writer *w)
{
    td_buf out __attribute__((cleanup(td_buf_release))) = {0};
    td_jsontext text = begin_text(w, &out);

    td_jsontext_close(&text);
    return end_text(w, &text);
}

int
td_json_close(td_json_writer *w)
{
    if (!is_usable(w, "td_json_close"))
        return TD_EINVAL;
    if (w->left_out > 0) {
        w->left_out--;
        return TD_EINVAL;
    }
    return w->depth > 0 ? close_level(w) : misuse(w, "td_json_close", "nothing is open");
}

int
td_json_write_pairs(td_json_writer *w, const td_json_pair *pairs, size_t count)
{
    td_buf out __attribute__((cleanup(td_buf_release))) = {0};
    int rc = 0;

    if (!is_usable(w, "td_json_write"))
        return TD_EINVAL;
    if (pairs == NULL && count > 0)
        return misuse(w, "td_json_write", "there are no pairs");
    if (w->left_out > 0)
        return TD_EINVAL;
    td_jsontext text = begin_text(w, &out);
    for (size_t i = 0; i < count; i++) {
        const char *wrong = w->depth > 0 ? what_is_wrong(&text, pairs[i].key) : "nothing is open";

        if (wrong != NULL) {
            rc = misuse(w, "td_json_write", wrong);
            continue;
        }
        td_json_append_pair(&text, &pairs[i]);
    }
    const int sent = end_text(w, &text);

    return sent < 0 ? sent : rc;
}

int
td_json_end(td_json_writer *w)
{
    if (!is_usable(w, "td_json_end"))
        return TD_EINVAL;
    w->left_out = 0;
    while (w->depth > 0)
        close_level(w);
    return w->rc;
}
