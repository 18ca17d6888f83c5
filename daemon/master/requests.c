#include "daemon/master/requests.h"

#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/log.h"
#include "daemon/master/facts.h"
#include "daemon/master/master_internal.h"
#include "daemon/master/upgrade.h"

static void
do_status(struct control_client *client, const struct control_request *request)
{
    td_buf out = {0};

    (void)request;
    facts_put(&out);
    control_answer(client, NULL, td_buf_str(&out));
    td_buf_release(&out);
}

/* To wait first: a reload may fail before rollout_reload returns. */
static void
do_reload(struct control_client *client, const struct control_request *request)
{
    (void)request;
    control_wait(client, CONTROL_EVENT_RELOAD, master.reloads + 1);
    rollout_reload();
}

static void
do_upgrade(struct control_client *client, const struct control_request *request)
{
    (void)request;
    control_wait(client, CONTROL_EVENT_UPGRADE, 0);
    upgrade_begin();
}

static void
do_reopen(struct control_client *client, const struct control_request *request)
{
    (void)request;
    if (master_reopen_logs())
        control_answer(client, NULL, TD_STR(""));
    else
        control_answer(client, "a file could not be opened: the log says which", TD_STR(""));
}

static void
do_stop(struct control_client *client, const struct control_request *request)
{
    (void)request;
    control_say(client, TD_STR("ok\n"));
    master_stop();
}

static void
do_release(struct control_client *client, const struct control_request *request)
{
    char text[TD_ERR_TEXT_SIZE];

    if (master.current == NULL) {
        control_answer(client, "nothing serves yet", TD_STR(""));
    } else if (!supervise_release(master.current, request->argument)) {
        snprintf(text, sizeof(text), "%s is no handler in quarantine", request->argument);
        control_answer(client, text, TD_STR(""));
    } else {
        control_answer(client, NULL, TD_STR(""));
    }
}

static const struct {
    const char *name;
    bool has_argument;
    bool only_reads;     /* nobody need hear of it in the log */
    bool while_stopping; /* it makes sense then, too */
    void (*run)(struct control_client *client, const struct control_request *request);
} requests[] = {
    {"status", false, true, true, do_status},
    {"reload", false, false, false, do_reload},
    {"upgrade", false, false, false, do_upgrade},
    {"reopen", false, false, true, do_reopen},
    {"stop", false, false, true, do_stop},
    {"release", true, false, false, do_release},
};

/* Somebody who means another daemon is not to stop this one. */
static bool
is_meant(const struct control_request *request)
{
    return request->ini[0] == '\0' ||
           (master.ini != NULL && strcmp(request->ini, master.ini) == 0);
}

static void
refuse_stranger(struct control_client *client, const struct control_request *request)
{
    char text[CONTROL_LINE_MAX + 4096 + 128];

    snprintf(text, sizeof(text), "here serves the daemon of %s and not that of %s",
             master.ini != NULL ? master.ini : "no ini", request->ini);
    control_answer(client, text, TD_STR(""));
}

void
requests_asked(struct control_client *client, const struct control_request *request)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        if (strcmp(requests[i].name, request->command) != 0)
            continue;
        if (requests[i].has_argument != (request->argument[0] != '\0')) {
            control_answer(client, "that is no request", TD_STR(""));
        } else if (!is_meant(request)) {
            refuse_stranger(client, request);
        } else if (master.stopping && !requests[i].while_stopping) {
            control_answer(client, "the daemon is stopping", TD_STR(""));
        } else {
            if (!requests[i].only_reads)
                td_log_at(TD_LOG_INFO, "master", "uid %u (pid %d) asks to %s%s%s",
                          (unsigned)request->uid, (int)request->pid, request->command,
                          request->argument[0] != '\0' ? " " : "", request->argument);
            requests[i].run(client, request);
        }
        return;
    }
    control_answer(client, "that is no request", TD_STR(""));
}
