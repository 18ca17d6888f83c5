/*
 * Goal: no JSON body makes a handler that walks over all of it crash, leak, or meet a string that
 * is not UTF-8, and what is deeper than max_json_depth is never met.
 */
#include "tests/fuzz/web_request.h"

#define DEPTH_MAX 16

static td_limits limits;

static void
walk(const td_json *value, int depth)
{
    td_json_member member = {.place = NULL};
    const td_json_type type = td_json_type_of(value);
    size_t members = 0;

    TD_ASSERT(depth <= DEPTH_MAX);
    if (type == TD_JSON_STRING)
        check_text(td_json_as_str(value, NULL));
    for (size_t i = 0; type == TD_JSON_ARRAY && i < td_json_count(value); i++)
        walk(td_json_at(value, i), depth + 1);
    while (td_json_next(value, &member)) {
        check_text(member.name);
        walk(member.value, depth + 1);
        members++;
    }
    TD_ASSERT(type != TD_JSON_OBJECT || members == td_json_count(value));
}

static void
post(td_handler *h)
{
    walk(td_request_json(h), 0);
}

/* Once is enough. */
static void
set_up(void)
{
    static const td_handler_class Post = {.post = post};
    static const td_url urls[] = {TD_URL("/", &Post), {.pattern = NULL}};
    static const td_url *const tables[] = {urls};

    limits = *td_limits_defaults();
    limits.max_json_depth = DEPTH_MAX;
    limits.max_json_memory = 1 << 20;
    serve(tables, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    set_up();
    td_request *request = request_for(TD_METHOD_POST, &limits);
    request->head.content_length = (int64_t)size;
    request->body = td_str_dup(&request->arena, td_str_make((const char *)data, size));

    begin_request(request);
    td_application_delegate.finish(app, request);
    TD_ASSERT(status == 200 || status == 400 || status == 413);
    end_request(request);
    return 0;
}
