/* Goal: a protocol of its own, for test_protocols.py: each line is a command. */
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>

struct settings {
    const char *greeting;
};

static int
load(td_instance *instance, void **state_out, td_err *err)
{
    (void)instance, (void)err;
    *state_out = calloc(1, sizeof(int)); /* connections so far */
    return 0;
}

static void
stop(td_instance *instance)
{
    free(td_instance_state(instance));
}

static void
say_goodbye(void *arg)
{
    td_log_info("deferred for %s", (const char *)arg);
}

static void
fail_later(void *arg)
{
    (void)arg;
    td_raise(NULL, 500, "in a callback");
}

/* False: that was the last one. */
static bool
obey(td_connection *connection, td_str line)
{
    td_iostream *stream = td_connection_stream(connection);
    static char block[65536];

    if (td_str_equal(line, TD_STR("quit\n"))) {
        td_iostream_write(stream, TD_STR("bye\n"));
        return false;
    }
    if (td_str_equal(line, TD_STR("raise\n")))
        td_connection_raise(connection, "number %d", 17);
    if (td_str_equal(line, TD_STR("destroy\n"))) {
        td_iostream_destroy(&stream);
        td_sleep(1);
        return td_connection_stream(connection) != NULL;
    }
    if (td_str_equal(line, TD_STR("crash\n")))
        abort();
    if (td_str_equal(line, TD_STR("callback\n")))
        td_add_callback(td_ioloop_current(), fail_later, NULL);
    if (td_str_equal(line, TD_STR("block\n"))) {
        td_iostream_write(stream, td_str_make(block, sizeof(block)));
        return false;
    }
    if (td_str_equal(line, TD_STR("sleep\n")))
        td_sleep(3600000);
    td_iostream_write(stream, line);
    return true;
}

static void
handle_stream(td_connection *connection)
{
    const td_instance *instance = td_connection_instance(connection);
    const struct settings *settings = td_instance_settings(instance);
    td_iostream *stream = td_connection_stream(connection);
    const td_str peer = td_connection_remote_addr(connection);
    int *count = td_instance_state(instance);
    td_str line;
    int rc;

    td_defer(say_goodbye, (void *)td_connection_sprintf(connection, "%s", peer.ptr).ptr);
    line = td_connection_sprintf(connection, "%s %.*s, number %d\n", settings->greeting,
                                 TD_STR_FMT(peer), ++*count);
    td_iostream_write(stream, line);
    while ((rc = td_iostream_read_until(stream, TD_STR("\n"), 4096, &line)) == 0)
        if (!obey(connection, line))
            return;
    td_iostream_write(stream, td_connection_sprintf(connection, "%s\n", td_strerror(rc)));
}

TD_PLUGIN(.name = "lines", .version = "1",
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, greeting, "Hello", "what to say")),
          .load = load, .stop = stop, .handle_stream = handle_stream);
