/*
 * Goal: a program without the daemon, for test_program.py: own_main [ADDRESS [SETTING...]], where
 * an address of "" stands for those of the settings.  It says what happens on standard output.
 */
#include <stdio.h>
#include <string.h>
#include <tornado/tornado.h>

static td_program *program;

static void
say(const char *what)
{
    puts(what);
    fflush(stdout);
}

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    (void)err;
    *state_out = (void *)td_instance_name(instance);
    say("load");
    return 0;
}

static int
start(td_instance *instance, td_err *err)
{
    if (td_instance_state(instance) == NULL)
        return td_err_set(err, TD_EINVAL, "load has made nothing");
    td_sleep(1);
    say("start");
    return 0;
}

static void
drain(td_instance *instance)
{
    (void)instance;
    say("drain");
}

static void
stop(td_instance *instance)
{
    (void)instance;
    say("stop");
}

static void
greet(td_handler *h)
{
    td_sleep(1);
    td_writef(h, "Hello, %.*s, from %s\n", TD_STR_FMT(td_path_argument(h, "name")),
              (const char *)td_state(h));
}

static void
slow(td_handler *h)
{
    say("slow");
    td_sleep(200);
    td_write_text(h, "slow\n");
}

static void
forever(td_handler *h)
{
    (void)h;
    say("forever");
    td_sleep(3600000);
}

static void
leave(td_handler *h)
{
    td_program_stop(program);
    td_write_text(h, "leaving\n");
}

static const td_handler_class Greet = {.get = greet};
static const td_handler_class Slow = {.get = slow};
static const td_handler_class Forever = {.get = forever};
static const td_handler_class Leave = {.get = leave};

static const td_plugin site =
    TD_PLUGIN_OF(.name = "own", .load = load, .start = start, .drain = drain, .stop = stop,
                 .urls = TD_URLS(TD_URL("/greet/(?<name>[^/]+)", &Greet), TD_URL("/slow", &Slow),
                                 TD_URL("/forever", &Forever), TD_URL("/leave", &Leave)));

int
main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : "";
    const char *const *settings = argc > 2 ? (const char *const *)argv + 2 : NULL;
    td_err err;
    int port = 0;

    program = td_program_create(&site, TD_PROGRAM(.settings = settings), &err);
    if (program == NULL || (address[0] != '\0' &&
                            (port = td_program_listen(program, address, &err)) < 0)) {
        say(err.text);
    } else {
        printf("port %d\n", port);
        if (td_program_run(program, &err) < 0)
            say(err.text);
        else
            say("over");
        if (td_program_run(program, &err) != TD_EINVAL)
            say("it ran twice");
    }
    td_program_destroy(&program);
    return 0;
}
