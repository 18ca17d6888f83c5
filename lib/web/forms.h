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

/* The head tells of a body that is a form. */
bool td_form_type_is_told(const td_head *head);
static inline bool
td_form_is_told(const td_head *head)
{
    return (head->content_length >= 0 || head->chunked) && td_form_type_is_told(head);
}

/*
 * Such a body is to come, buffered: have it read while it comes.  A form that is broken or beyond a
 * limit is answered as soon as that is known, 400 or 413, by the error page of the handler.
 */
void td_form_expect(td_application *app, td_request *request);

/* The message is complete: fill h->form in, before prepare.  Raises 400 or 413. */
void td_form_parse(td_handler *h);

#endif
