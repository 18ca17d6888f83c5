/*
 * A sequence of records: a letter, then the fields; a number is 8 bytes as the machine has them, a
 * text its length and its bytes.
 */
#include "daemon/site/manifest.h"

#include <stdbool.h>
#include <string.h>

#define NO_TEXT UINT64_MAX

enum record {
    RECORD_INSTANCE = 'I',
    RECORD_ROUTE = 'R',
    RECORD_SHARED = 'S',
    RECORD_METRIC = 'M',
    RECORD_FAILURE = 'F',
    RECORD_END = 'E',
};

/* ---- writing */

static void
put_record(td_buf *to, enum record record)
{
    char letter = (char)record;

    td_buf_append(to, td_str_make(&letter, 1));
}

static void
put_number(td_buf *to, uint64_t number)
{
    td_buf_append(to, td_str_make((const char *)&number, sizeof(number)));
}

static void
put_text(td_buf *to, const char *text)
{
    if (text == NULL) {
        put_number(to, NO_TEXT);
        return;
    }
    put_number(to, strlen(text));
    td_buf_append(to, td_str_of(text));
}

void
manifest_put_instance(td_buf *to, const struct manifest_instance *instance)
{
    put_record(to, RECORD_INSTANCE);
    put_text(to, instance->name);
    put_text(to, instance->file);
    put_text(to, instance->plugin);
    put_text(to, instance->version);
    put_text(to, instance->application);
}

void
manifest_put_route(td_buf *to, const struct manifest_route *route)
{
    put_record(to, RECORD_ROUTE);
    put_number(to, route->instance);
    put_number(to, route->route);
    put_text(to, route->mount);
    put_text(to, route->hosts);
    put_text(to, route->pattern);
    put_text(to, route->name);
    put_text(to, route->wanted);
}

void
manifest_put_shared(td_buf *to, const struct manifest_shared *shared)
{
    put_record(to, RECORD_SHARED);
    put_number(to, shared->instance);
    put_text(to, shared->name);
    put_number(to, shared->size);
}

void
manifest_put_metric(td_buf *to, const struct manifest_metric *metric)
{
    put_record(to, RECORD_METRIC);
    put_number(to, metric->instance);
    put_number(to, metric->kind);
    put_text(to, metric->name);
    put_text(to, metric->help);
    put_text(to, metric->label);
    put_text(to, metric->value);
}

void
manifest_put_failure(td_buf *to, const char *text)
{
    put_record(to, RECORD_FAILURE);
    put_text(to, text);
}

void
manifest_put_end(td_buf *to)
{
    put_record(to, RECORD_END);
}

/* ---- reading */

struct reader {
    td_arena *arena; /* NULL: only count */
    td_str left;
    bool is_bad;
};

static const char *
take(struct reader *reader, size_t len)
{
    const char *bytes = reader->left.ptr;

    if (len > reader->left.len) {
        reader->is_bad = true;
        reader->left.len = 0;
        return NULL;
    }
    reader->left.ptr += len;
    reader->left.len -= len;
    return bytes;
}

static uint64_t
take_number(struct reader *reader)
{
    uint64_t number = 0;
    const char *bytes = take(reader, sizeof(number));

    if (bytes != NULL)
        memcpy(&number, bytes, sizeof(number));
    return number;
}

static uint32_t
take_index(struct reader *reader)
{
    uint64_t number = take_number(reader);

    reader->is_bad |= number > UINT32_MAX;
    return (uint32_t)number;
}

static const char *
take_optional(struct reader *reader)
{
    uint64_t len = take_number(reader);

    if (len == NO_TEXT)
        return NULL;
    const char *bytes = take(reader, len);
    if (bytes == NULL || reader->arena == NULL)
        return "";
    return td_str_dup(reader->arena, td_str_make(bytes, len)).ptr;
}

static const char *
take_text(struct reader *reader)
{
    const char *text = take_optional(reader);

    reader->is_bad |= text == NULL;
    return text != NULL ? text : "";
}

/* The arrays of `out` have room, or reader->arena is NULL and the records only are counted. */
static void
take_record(struct reader *reader, char letter, struct manifest *out)
{
    struct manifest_instance instance;
    struct manifest_route route;
    struct manifest_shared shared;
    struct manifest_metric metric;
    const char *failure;

    switch ((enum record)letter) {
    case RECORD_INSTANCE:
        instance.name = take_text(reader);
        instance.file = take_text(reader);
        instance.plugin = take_text(reader);
        instance.version = take_optional(reader);
        instance.application = take_text(reader);
        if (reader->arena != NULL)
            out->instances[out->instances_count] = instance;
        out->instances_count++;
        break;
    case RECORD_ROUTE:
        route.instance = take_index(reader);
        route.route = take_index(reader);
        route.mount = take_text(reader);
        route.hosts = take_text(reader);
        route.pattern = take_text(reader);
        route.name = take_optional(reader);
        route.wanted = take_optional(reader);
        if (reader->arena != NULL)
            out->routes[out->routes_count] = route;
        out->routes_count++;
        break;
    case RECORD_SHARED:
        shared.instance = take_index(reader);
        shared.name = take_text(reader);
        shared.size = take_number(reader);
        if (reader->arena != NULL)
            out->shared[out->shared_count] = shared;
        out->shared_count++;
        break;
    case RECORD_METRIC:
        metric.instance = take_index(reader);
        metric.kind = take_index(reader);
        metric.name = take_text(reader);
        metric.help = take_text(reader);
        metric.label = take_optional(reader);
        metric.value = take_optional(reader);
        if (reader->arena != NULL)
            out->metrics[out->metrics_count] = metric;
        out->metrics_count++;
        break;
    case RECORD_FAILURE:
        failure = take_text(reader);
        if (reader->arena != NULL)
            out->failures[out->failures_count] = failure;
        out->failures_count++;
        break;
    case RECORD_END:
    default:
        reader->is_bad = true;
    }
}

static int
take_all(struct reader *reader, struct manifest *out)
{
    for (;;) {
        const char *letter = take(reader, 1);
        if (letter == NULL)
            return TD_EBADMSG;
        if (*letter == RECORD_END)
            return reader->left.len == 0 ? 0 : TD_EBADMSG;
        take_record(reader, *letter, out);
        if (reader->is_bad)
            return TD_EBADMSG;
    }
}

/* Instances that records speak of must exist. */
static bool
is_consistent(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->routes_count; i++) {
        if (manifest->routes[i].instance - 1 >= manifest->instances_count)
            return false;
    }
    for (size_t i = 0; i < manifest->shared_count; i++) {
        if (manifest->shared[i].instance - 1 >= manifest->instances_count)
            return false;
    }
    for (size_t i = 0; i < manifest->metrics_count; i++) {
        if (manifest->metrics[i].instance - 1 >= manifest->instances_count)
            return false;
    }
    return true;
}

int
manifest_read(td_arena *arena, td_str bytes, struct manifest *out)
{
    struct manifest counted = {0}, manifest = {0};
    struct reader counter = {.left = bytes}, reader = {.arena = arena, .left = bytes};
    int rc = take_all(&counter, &counted);

    if (rc < 0)
        return rc;
    manifest.instances = TD_ARENA_ARRAY(arena, struct manifest_instance, counted.instances_count);
    manifest.routes = TD_ARENA_ARRAY(arena, struct manifest_route, counted.routes_count);
    manifest.shared = TD_ARENA_ARRAY(arena, struct manifest_shared, counted.shared_count);
    manifest.metrics = TD_ARENA_ARRAY(arena, struct manifest_metric, counted.metrics_count);
    manifest.failures = TD_ARENA_ARRAY(arena, const char *, counted.failures_count);
    rc = take_all(&reader, &manifest);
    if (rc < 0)
        return rc;
    if (manifest.failures_count == 0 && !is_consistent(&manifest))
        return TD_EBADMSG;
    *out = manifest;
    return 0;
}

const struct manifest_route *
manifest_find_route(const struct manifest *manifest, uint32_t instance, uint32_t route)
{
    for (size_t i = 0; i < manifest->routes_count; i++) {
        if (manifest->routes[i].instance == instance && manifest->routes[i].route == route)
            return &manifest->routes[i];
    }
    return NULL;
}
