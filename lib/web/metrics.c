#include "web/metrics.h"

#include "web/handler.h"

td_metrics_fn *td_metrics_put;

td_str
td_metrics(td_handler *h, td_metrics_format format)
{
    td_buf text = {0};
    td_str copy;

    if (!td_handler_usable(h, "td_metrics"))
        return td_str_make(NULL, 0);
    if ((unsigned)format > TD_METRICS_HTML) {
        td_handler_misuse(h, "td_metrics", "there is no such format");
        return td_str_make(NULL, 0);
    }
    if (td_metrics_put == NULL)
        return td_str_make(NULL, 0);
    td_metrics_put(&text, format);
    copy = td_str_dup(td_handler_arena(h), td_buf_str(&text));
    td_buf_release(&text);
    return copy;
}
