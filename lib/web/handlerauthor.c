/* What an author has of a handler beside its answer: its end, references, memory, settings. */
#include "web/handler_internal.h"

int
td_asynchronous(td_handler *h)
{
    if (!td_handler_usable(h, "td_asynchronous"))
        return TD_EINVAL;
    if (td_response_check_ending(h, "td_asynchronous") < 0)
        return TD_EINVAL;
    if (h->finished || h->asynchronous)
        return td_handler_misuse(h, "td_asynchronous",
                                 h->finished ? "the response has ended" : "called twice");
    h->asynchronous = h->owes_finish = true;
    td_request_ref(h->request);
    td_handler_wait_of(h);
    return 0;
}

td_handler *
td_handler_ref(td_handler *h)
{
    if (!td_handler_usable(h, "td_handler_ref"))
        return h;
    h->references++;
    td_request_ref(h->request);
    return h;
}

void
td_handler_unref(td_handler *h)
{
    if (!td_handler_usable(h, "td_handler_unref"))
        return;
    if (h->references == 0) {
        td_handler_misuse(h, "td_handler_unref", "without a td_handler_ref before");
        return;
    }
    h->references--;
    td_request_unref(h->request);
}

td_scope
td_scope_mark(td_handler *h)
{
    td_arena_mark mark;

    if (!td_handler_usable(h, "td_scope_mark"))
        return (td_scope){NULL, NULL};
    if (h->request->scope == NULL)
        h->request->scope = TD_ARENA_NEW(&h->request->arena, td_arena);
    mark = td_arena_mark_now(h->request->scope);
    return (td_scope){mark.chunk, mark.next};
}

int
td_scope_rewind(td_handler *h, td_scope scope)
{
    const td_arena_mark mark = {scope.chunk, scope.next};

    if (!td_handler_usable(h, "td_scope_rewind"))
        return TD_EINVAL;
    if (h->request->scope == NULL || !td_arena_has_mark(h->request->scope, mark))
        return td_handler_misuse(h, "td_scope_rewind", "the mark is not one of what is allocated");
    td_arena_rewind(h->request->scope, mark);
    return 0;
}

void *
td_alloc(td_handler *h, size_t size)
{
    return td_handler_usable(h, "td_alloc") ? td_arena_alloc(td_handler_arena(h), size) : NULL;
}

td_str
td_sprintf(td_handler *h, const char *format, ...)
{
    va_list args;
    td_str text;

    if (!td_handler_has(h, "td_sprintf", format))
        return td_str_make(NULL, 0);
    va_start(args, format);
    text = td_arena_vsprintf(td_handler_arena(h), format, args);
    va_end(args);
    return text;
}

td_str
td_strdup(td_handler *h, td_str s)
{
    if (!td_handler_usable(h, "td_strdup") || td_str_is_null(s))
        return td_str_make(NULL, 0);
    return td_str_dup(td_handler_arena(h), s);
}

void
td_set_user_data(td_handler *h, void *data)
{
    if (td_handler_usable(h, "td_set_user_data"))
        h->user_data = data;
}

void *
td_user_data(td_handler *h)
{
    return td_handler_usable(h, "td_user_data") ? h->user_data : NULL;
}

const void *
td_settings(td_handler *h)
{
    return td_handler_usable(h, "td_settings") ? td_handler_instance(h)->settings : NULL;
}

void *
td_state(td_handler *h)
{
    return td_handler_usable(h, "td_state") ? td_handler_instance(h)->state : NULL;
}

void *
td_shared(td_handler *h, const char *name)
{
    if (!td_handler_has(h, "td_shared", name))
        return NULL;
    return td_instance_shared(td_handler_instance(h), name);
}

td_str
td_reverse_url(td_handler *h, const char *name, const td_str *args, size_t count)
{
    const td_route *route;
    td_str path = {NULL, 0};

    if (!td_handler_usable(h, "td_reverse_url"))
        return path;
    route = name != NULL && (args != NULL || count == 0)
                ? td_application_named(h->app, td_handler_instance(h), name)
                : NULL;
    if (route != NULL)
        path = td_urlspec_reverse(&route->spec, &h->request->arena, args, count);
    if (td_str_is_null(path))
        td_log_at(TD_LOG_ERROR, td_handler_instance(h)->name,
                  "%s: td_reverse_url: no path for '%s' with %zu arguments", td_handler_name(h),
                  name != NULL ? name : "(null)", count);
    return path;
}
