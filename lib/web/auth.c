/* The user of a request, and handlers that want one (Tornado's @authenticated). */
#include <tornado/auth.h>
#include <tornado/httputil.h>
#include "web/visitor.h"

/* ---- who it is */

static void *
ask(td_handler *h)
{
    const td_route *route = td_handler_route(h);
    const td_plugin *plugin = route->instance->plugin; /* NULL: an error page of no plugin */

    if (route->class->get_current_user != NULL)
        return route->class->get_current_user(h);
    if (plugin != NULL && plugin->get_current_user != NULL && !route->instance->quarantined)
        return plugin->get_current_user(h);
    return NULL;
}

void *
td_current_user(td_handler *h)
{
    struct td_visitor *visitor;

    if (!td_handler_usable(h, "td_current_user"))
        return NULL;
    visitor = td_visitor_of(h);
    if (!visitor->user_is_known) {
        visitor->user_is_known = true; /* so asking while being asked ends */
        visitor->user = ask(h);
    }
    return visitor->user;
}

int
td_set_current_user(td_handler *h, void *user)
{
    if (!td_handler_usable(h, "td_set_current_user"))
        return TD_EINVAL;
    td_visitor_of(h)->user_is_known = true;
    td_visitor_of(h)->user = user;
    return 0;
}

/* ---- who has to be somebody */

/* RFC 3986 section 3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ), and a colon. */
static bool
has_scheme(const char *url)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789+-.";

    return url[0] != '\0' && strchr("0123456789+-.:", url[0]) == NULL &&
           url[strspn(url, allowed)] == ':';
}

/* A login page elsewhere needs to be told the host to come back to. */
static td_str
login_url(td_handler *h, const char *url)
{
    const td_argument_pair next = {
        .name = TD_STR("next"), .value = has_scheme(url) ? td_full_url(h) : td_request_uri(h)};

    if (strchr(url, '?') != NULL)
        return td_str_of(url);
    return td_url_concat(h, url, &next, 1);
}

static const char *
login_page(td_handler *h)
{
    const td_handler_class *class = td_handler_route(h)->class;
    const char *own = class->get_login_url != NULL ? class->get_login_url(h) : NULL;

    return own != NULL ? own : h->app->settings->login_url;
}

void
td_auth_check(td_handler *h)
{
    const td_method method = h->request->head.method;
    const char *url;

    if (method == TD_METHOD_OPTIONS && td_handler_route(h)->class->options == NULL)
        return; /* our own answer, which is nobody's secret: preflights come without cookies */
    if (td_current_user(h) != NULL || h->finished)
        return;
    if (method != TD_METHOD_GET && method != TD_METHOD_HEAD)
        td_handler_raise_quietly(h, 403, "nobody is logged in");
    url = login_page(h);
    if (h->finished)
        return;
    if (url == NULL)
        td_raise(h, 500, "TD_AUTHENTICATED: there is no login_url in [application:%s]",
                 h->app->settings->name);
    td_redirect(h, login_url(h, url).ptr, false);
}
