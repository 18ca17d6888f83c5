/*
 * Goal: a program without the daemon, for test_program.py: own_main [ADDRESS [SETTING...]], where
 * an address of "" stands for those of the settings.  It says what happens on standard output.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <tornado/tornado.h>

static td_program *program;
static bool is_stubborn; /* the hook stop */

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
    if (is_stubborn)
        td_sleep(3600000);
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

static void
block(td_handler *h)
{
    say("blocks");
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    td_write_text(h, "blocked\n");
}

static void
stubborn(td_handler *h)
{
    is_stubborn = true;
    td_write_text(h, "stubborn\n");
}

static void
handle_stream(td_connection *connection)
{
    td_iostream *stream = td_connection_stream(connection);
    td_str line;

    while (td_iostream_read_until(stream, TD_STR("\n"), 512, &line) == 0)
        td_iostream_write(stream, line);
}

static const td_handler_class Greet = {.get = greet};
static const td_handler_class Slow = {.get = slow};
static const td_handler_class Forever = {.get = forever};
static const td_handler_class Leave = {.get = leave};
static const td_handler_class Block = {.get = block};
static const td_handler_class Stubborn = {.get = stubborn};

static const td_plugin site =
    TD_PLUGIN_OF(.name = "own", .load = load, .start = start, .drain = drain, .stop = stop,
                 .handle_stream = handle_stream,
                 .urls = TD_URLS(TD_URL("/greet/(?<name>[^/]+)", &Greet), TD_URL("/slow", &Slow),
                                 TD_URL("/forever", &Forever), TD_URL("/leave", &Leave),
                                 TD_URL("/block", &Block), TD_URL("/stubborn", &Stubborn)));

/* Nothing of it is for another thread, and a process has one. */
static void *
misuse(void *arg)
{
    td_program *other = arg;

    if (td_program_listen(other, "127.0.0.1:0", NULL) != TD_EINVAL ||
        td_program_run(other, NULL) != TD_EINVAL || td_program_create(&site, NULL, NULL) != NULL)
        say("a thread may use it");
    td_program_destroy(&other);
    if (other == NULL)
        say("a thread may destroy it");
    return NULL;
}

static void
misuse_on_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, misuse, program);
    pthread_join(thread, NULL);
}

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
        misuse_on_thread();
        if (td_program_listen(program, "nowhere", NULL) >= 0)
            say("it listens nowhere");
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
