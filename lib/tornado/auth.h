/*
 * Who asks, and whether they meant to: the current user, and tokens against cross-site request
 * forgery.
 */
#ifndef TORNADO_AUTH_H
#define TORNADO_AUTH_H

#include <tornado/abi.h>
#include <tornado/handler.h>
#include <tornado/str.h>

/*
 * What get_current_user of the class, or else of the plugin, has said; it is asked once a request,
 * when this is first called.  NULL: nobody, or there is no such function.
 */
TD_API void *td_current_user(td_handler *h);

/* Say it in its place, in prepare for example; NULL: nobody. */
TD_API int td_set_current_user(td_handler *h, void *user);

/*
 * The token that a form or script sends back as the argument _xsrf or the header X-Xsrftoken or
 * X-Csrftoken; where xsrf_cookies is on, POST, PUT, PATCH and DELETE are 403 without it.  Of a body
 * that is read while it comes only the head counts: the query or a header has the token.  The first
 * call sets the cookie that it is compared with, unless the client has one, so it comes before the
 * headers are sent.  Another text for each request, so that compressed pages do not betray it.
 */
TD_API td_str td_xsrf_token(td_handler *h);

/* <input type="hidden" name="_xsrf" value="..."/> */
TD_API td_str td_xsrf_form_html(td_handler *h);

#endif
