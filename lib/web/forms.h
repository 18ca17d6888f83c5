/* Forms: what came in the body, taken apart. */
#ifndef TORNADO_WEB_FORMS_H
#define TORNADO_WEB_FORMS_H

#include <tornado/forms.h>
#include "web/arguments.h"
#include "web/handler.h"

typedef struct td_form {
    td_arguments *fields; /* never NULL */
    td_http_file *files;
    size_t files_count;
} td_form;

/*
 * Fill h->form in when the body is a form, before prepare.  Raises 400 for one that is broken, 413
 * beyond a limit.
 */
void td_form_parse(td_handler *h);

/* The message has a body, and all of it is here. */
static inline bool
td_form_may_be_there(const td_request *request)
{
    return (request->head.content_length >= 0 || request->head.chunked) &&
           request->body_mode == TD_BODY_BUFFERED;
}

#endif
