#include "web/explain.h"

#include <string.h>
#include "http/request_internal.h"
#include "web/application_internal.h"
#include "web/handler.h"

static td_route_info
info_of(const td_route *route)
{
    return (td_route_info){.instance = route->instance,
                           .mount = route->instance->section->mount,
                           .hosts = route->hosts,
                           .pattern = route->pattern,
                           .name = route->name,
                           .wanted = route->matchers.text,
                           .route = route->number};
}

static void
explain_arguments(const td_route_match *match, td_arena *arena, td_explanation *out)
{
    const td_urlspec *spec = &match->route->spec;
    td_explained_argument *arguments =
        TD_ARENA_ARRAY(arena, td_explained_argument, spec->groups_count + 1);

    for (unsigned i = 0; i < spec->groups_count; i++)
        arguments[i] = (td_explained_argument){spec->names != NULL ? spec->names[i] : NULL,
                                               match->args[i]};
    out->arguments = arguments;
    out->arguments_count = spec->groups_count;
}

static void
find_nearest(const td_application *app, td_request *request, td_explanation *out)
{
    const td_str path = request->head.path;
    td_near_route near[TD_NEAR_ROUTES_MAX];

    out->nearest_count = td_near_routes_find(app, &request->head, &request->arena, near);
    for (size_t i = 0; i < out->nearest_count; i++)
        out->nearest[i] = (td_explained_route){
            .route = info_of(near[i].route),
            .allow = near[i].route->allow,
            .why = near[i].why,
            .misfit = td_str_make(path.ptr + near[i].fit, path.len - near[i].fit)};
}

/* What routes of no plugin answer is a 404 unless it is one of our own services. */
static void
explain_match(td_application *app, td_request *request, td_explanation *out)
{
    const td_route_match *match = request->route_data;
    const td_route *route = match->route;
    const bool is_nobodys = route->instance == &app->own || route == &app->none;

    out->status = match->status;
    out->allow = match->allow;
    out->chain = route->chain;
    out->limits = *request->limits;
    out->class_name = route->class->name;
    td_limits_of_class(route->class, &out->of_class);
    if (!is_nobodys && route->pattern != NULL) {
        out->instance = route->instance;
        out->route = info_of(route);
        if (match->status == 0) /* else they were not decoded, or cannot be */
            explain_arguments(match, &request->arena, out);
    } else if (match->status == 0 && is_nobodys && route != &app->everything) {
        out->status = 404;
    }
    if (out->status == 404)
        find_nearest(app, request, out);
}

int
td_application_explain(td_application *app, const td_limits *limits, td_str head,
                       td_explanation *out, td_err *err)
{
    const td_head_limits head_limits = {(uint32_t)limits->max_request_line,
                                        (uint32_t)limits->max_header_size,
                                        (uint32_t)limits->max_headers};
    td_request *request = td_request_create();
    td_head_parser parser = {0};
    td_head_error error = {.what = "it has no end"};

    request->limits = limits;
    if (td_head_parse(&parser, head.ptr, head.len, &head_limits, &request->arena, &request->head,
                      &error) <= 0) {
        td_request_unref(request);
        return td_err_set(err, TD_EBADMSG, "%d: %s", error.status, error.what);
    }
    td_application_delegate.route(app, request);
    *out = (td_explanation){.request = request};
    explain_match(app, request, out);
    return 0;
}

void
td_explanation_fini(td_explanation *explanation)
{
    td_request_unref(explanation->request);
}
