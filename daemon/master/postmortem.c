/* The slot was written by a process that went mad, so nothing in it is believed unchecked. */
#include "daemon/master/postmortem.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include "base/escape.h"

static void
put_frame(td_buf *to, const struct crash_frame *frame)
{
    if (frame->module[0] == '\0') {
        td_buf_printf(to, "0x%" PRIx64, frame->offset);
        return;
    }
    td_log_escape(to, td_str_make(frame->module, strnlen(frame->module, sizeof(frame->module))));
    td_buf_printf(to, "+0x%" PRIx64, frame->offset);
}

static void
put_signal(td_buf *to, const struct crash_report *report)
{
    const char *name = sigabbrev_np(report->signal);

    if (report->is_overflow)
        td_buf_printf(to, "overflowed the stack of its coroutine (see coroutine_stack), ");
    td_buf_printf(to, "SIG%s", name != NULL ? name : "?");
    if (report->code > 0)
        td_buf_printf(to, " at address 0x%" PRIx64, report->address);
    td_buf_printf(to, " in ");
    put_frame(to, &report->at);
}

/* A hook that waits is not what runs, but it is what the worker is about. */
static void
put_starting(td_buf *to, uint32_t instance, const struct manifest *manifest)
{
    if (instance - 1 < manifest->instances_count)
        td_buf_printf(to, "%shandler %s (%s), its load or start", to->len > 0 ? ", " : "",
                      manifest->instances[instance - 1].name,
                      manifest->instances[instance - 1].file);
}

static void
put_activity(td_buf *to, const td_activity *activity, const struct manifest *manifest)
{
    if (activity->instance - 1 >= manifest->instances_count)
        return;
    const struct manifest_instance *instance = &manifest->instances[activity->instance - 1];
    const struct manifest_route *route =
        manifest_find_route(manifest, activity->instance, activity->route);
    td_buf_printf(to, "%shandler %s (%s)", to->len > 0 ? ", " : "", instance->name, instance->file);
    if (route != NULL)
        td_buf_printf(to, ", route %s", route->pattern);
    else if (activity->route == 0 && activity->request_no != 0)
        td_buf_printf(to, ", its middleware");
    else if (activity->route == 0 || manifest->routes_count > 0)
        td_buf_printf(to, ", a hook or timer"); /* else its routes are not known any more */
    if (activity->request_no != 0)
        td_buf_printf(to, ", request %" PRIu64, activity->request_no);
}

td_str
postmortem_describe(td_arena *arena, const struct slot *slot, const struct manifest *manifest)
{
    struct slot copy;
    td_buf text = {0};

    memcpy(&copy, slot, sizeof(copy));
    struct crash_report *report = &copy.crash;
    if (report->signal != 0)
        put_signal(&text, report);
    if (copy.starting != 0)
        put_starting(&text, copy.starting, manifest);
    else
        put_activity(&text, &copy.activity, manifest);
    report->request[sizeof(report->request) - 1] = '\0';
    if (report->request[0] != '\0')
        td_buf_printf(&text, " \"%s\"", report->request);
    for (uint32_t i = 0; i < report->frames_count && i < CRASH_FRAMES_MAX; i++) {
        td_buf_printf(&text, i == 0 ? "; called from " : ", ");
        put_frame(&text, &report->frames[i]);
    }
    td_str described = text.len > 0 ? td_str_dup(arena, td_buf_str(&text)) : TD_STR("");
    td_buf_release(&text);
    return described;
}
