/* Goal: a command's line gives what was asked for, and a line that is wrong is told to its user. */
#include "daemon/commands/commands.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "unit.h"

#define ARGS_MAX 8

/* What the code under test says goes nowhere. */
static void
silence(void)
{
    int fd = open("/dev/null", O_WRONLY);

    ck_assert_int_ge(fd, 0);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static int
fill_argv(const char *const *args, char **argv)
{
    int argc = 0;

    for (; args[argc] != NULL; argc++)
        argv[argc] = (char *)args[argc];
    argv[argc] = NULL;
    return argc;
}

static const struct {
    const char *args[ARGS_MAX];
    bool goes_on;
    int status; /* of one that does not */
    const char *path, *value;
    bool is_json;
    size_t overrides_count, operands_count;
} lines[] = {
    {{"help"}, true, 0, NULL, NULL, false, 0, 0},
    {{"help", "-c", "a.ini"}, true, 0, "a.ini", NULL, false, 0, 0},
    {{"help", "name", "--json", "--config=a.ini"}, true, 0, "a.ini", NULL, true, 0, 1},
    {{"help", "--value", "1", "--value=2"}, true, 0, NULL, "2", false, 0, 0},
    {{"help", "--set", "a.b=1", "--set", "c.d=2"}, true, 0, NULL, NULL, false, 2, 0},
    {{"help", "--", "-c"}, true, 0, NULL, NULL, false, 0, 1},
    {{"help", "--help", "a", "b"}, false, EXIT_SUCCESS, NULL, NULL, false, 0, 0},
    {{"help", "-h"}, false, EXIT_SUCCESS, NULL, NULL, false, 0, 0},
    {{"help", "a", "b"}, false, EXIT_FAILURE, NULL, NULL, false, 0, 0},
    {{"help", "-t"}, false, EXIT_FAILURE, NULL, NULL, false, 0, 0},
    {{"help", "-c"}, false, EXIT_FAILURE, NULL, NULL, false, 0, 0},
    {{"help", "--value"}, false, EXIT_FAILURE, NULL, NULL, false, 0, 0},
    {{"help", "--json=1"}, false, EXIT_FAILURE, NULL, NULL, false, 0, 0},
    {{"help", "--set", "nonsense"}, false, EXIT_FAILURE, NULL, NULL, false, 0, 0},
};

START_TEST(a_line_is_read_or_refused)
{
    const char *value = NULL;
    bool is_json = false;
    const struct command_option own[] = {{"json", NULL, "as JSON", &is_json, NULL},
                                         {"value", "TEXT", "a value", NULL, &value}};
    struct command_line line;
    char *argv[ARGS_MAX + 1];
    int status = -1, argc = fill_argv(lines[_i].args, argv);

    silence();
    ck_assert_int_eq(COMMAND_LINE_READ(argc, argv, own, 1, &line, &status), lines[_i].goes_on);
    if (!lines[_i].goes_on) {
        ck_assert_int_eq(status, lines[_i].status);
        return;
    }
    ck_assert_pstr_eq(line.options.path, lines[_i].path);
    ck_assert_pstr_eq(value, lines[_i].value);
    ck_assert_int_eq(is_json, lines[_i].is_json);
    ck_assert_uint_eq(line.options.overrides_count, lines[_i].overrides_count);
    ck_assert_uint_eq(line.operands_count, lines[_i].operands_count);
    command_line_fini(&line);
}
END_TEST

static const struct {
    const char *args[ARGS_MAX];
    int status;
} runs[] = {
    {{"help"}, EXIT_SUCCESS},
    {{"help", "help"}, EXIT_SUCCESS},
    {{"help", "hepl"}, EXIT_FAILURE},
    {{"hepl"}, EXIT_FAILURE},
    {{""}, EXIT_FAILURE},
};

START_TEST(only_what_is_a_command_runs)
{
    char *argv[ARGS_MAX + 1];
    int argc = fill_argv(runs[_i].args, argv);

    silence();
    ck_assert_int_eq(commands_run(argc, argv), runs[_i].status);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_line_is_read_or_refused, lines);
    ADD_TABLE(tcase, only_what_is_a_command_runs, runs);
}

int
main(void)
{
    return unit_run("daemon_commands", fill);
}
