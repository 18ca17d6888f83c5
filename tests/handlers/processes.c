/* Goal: programs that run for a request, for test_processes.py. */
#include <tornado/tornado.h>

static td_subprocess *
start(td_handler *h, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    td_subprocess *process;
    const int rc = td_subprocess_start(
        argv, TD_SUBPROCESS(.out = TD_STDIO_PIPE, .err = TD_STDIO_INHERIT, .tied = true,
                            .kill_after_ms = 200),
        &process);

    if (rc < 0)
        td_raise(h, 503, "%s", td_strerror(rc));
    return process;
}

/* It goes on for ever, so only the end of the request ends it. */
static void
follow(td_handler *h)
{
    td_subprocess *process = start(h, "while echo tick; do sleep 0.01; done");
    td_str line;

    td_log_info("follows %d", (int)td_subprocess_pid(process));
    while (td_iostream_read_until(td_subprocess_stdout(process), TD_STR("\n"), 0, &line) == 0) {
        td_write(h, line);
        if (td_flush(h) < 0)
            break;
    }
}

static void
hang(td_handler *h)
{
    td_subprocess *process = start(h, "trap '' TERM; while :; do sleep 1000; done");

    td_log_info("hangs %d", (int)td_subprocess_pid(process));
    td_subprocess_wait(process, NULL);
}

static void
quick(td_handler *h)
{
    td_subprocess *process = start(h, "echo $PPID; echo to the log >&2");
    td_str line;
    int code;

    td_iostream_read_until(td_subprocess_stdout(process), TD_STR("\n"), 0, &line);
    td_subprocess_wait(process, &code);
    td_writef(h, "%d %.*s", code, TD_STR_FMT(line));
}

static const td_handler_class Follow = {.get = follow};
static const td_handler_class Hang = {.get = hang, .request_timeout_ms = 300};
static const td_handler_class HangOn = {.get = hang, .flags = TD_CANCEL_ON_CLOSE};
static const td_handler_class Quick = {.get = quick};

TD_PLUGIN(.name = "processes", .version = "1",
          .urls = TD_URLS(TD_URL("/follow", &Follow), TD_URL("/hang", &Hang),
                          TD_URL("/hang_on", &HangOn), TD_URL("/quick", &Quick)));
