#include <stdlib.h>
#include <string.h>
#include "daemon/commands/client.h"

#define PATIENCE_S 10

/* The text in a column; a longer one moves the rest of its line. */
static void
print_column(const char *text, int width)
{
    client_print(text);
    printf("%*s ", (int)strlen(text) < width ? width - (int)strlen(text) : 0, "");
}

static void
print_handler(const json_t *handler)
{
    print_column(client_text(handler, "name"), 20);
    print_column(client_text(handler, "file"), 24);
    print_column(client_text(handler, "version"), 10);
    printf("%6lld  %s\n", (long long)client_number(handler, "routes"),
           json_is_true(json_object_get(handler, "quarantined")) ? "in quarantine" : "serves");
}

static int
list(const struct command_line *line, const char *path, td_err *err)
{
    const json_t *handler;
    size_t i;
    json_t *status = client_status(line, path, err);

    if (status == NULL)
        return err->code;
    const json_t *handlers = json_object_get(client_serving(status), "handlers");
    puts("name                 file                     version    routes  state");
    json_array_foreach(handlers, i, handler)
        print_handler(handler);
    json_decref(status);
    return 0;
}

static int
release(const struct command_line *line, const char *path, td_err *err)
{
    td_buf answer = {0};
    int rc = client_ask(line, path, "release", line->operands[1], PATIENCE_S, &answer, err);

    td_buf_release(&answer);
    return rc;
}

static int
act(const struct command_line *line, const char *path, td_err *err)
{
    if (line->operands_count == 0)
        return list(line, path, err);
    if (line->operands_count == 2 && strcmp(line->operands[0], "release") == 0)
        return release(line, path, err);
    return td_err_set(err, TD_EINVAL, "wants nothing, or release NAME");
}

int
command_handlers(int argc, char **argv)
{
    const char *path = NULL;
    const struct command_option own[] = {CLIENT_OPTION(path)};
    struct command_line line;
    td_err err;
    int status;

    if (!COMMAND_LINE_READ(argc, argv, own, 2, &line, &status))
        return status;
    status = act(&line, path, &err) == 0 ? EXIT_SUCCESS : client_fail(argv[0], &err);
    command_line_fini(&line);
    return status;
}
