/* Goal: the command line says what to do, and what is wrong with it is said. */
#include "daemon/options.h"

#include <string.h>
#include "unit.h"

#define ARGS_MAX 8

static const struct {
    const char *args[ARGS_MAX];
    enum action action;
    const char *path;
    size_t overrides_count;
    const char *error; /* a part of it; NULL: it is good */
} lines[] = {
    {{NULL}, ACTION_SERVE, NULL, 0, NULL},
    {{"-c", "a.ini"}, ACTION_SERVE, "a.ini", 0, NULL},
    {{"-ca.ini", "-t"}, ACTION_TEST, "a.ini", 0, NULL},
    {{"--config", "a.ini", "--test"}, ACTION_TEST, "a.ini", 0, NULL},
    {{"-T"}, ACTION_PRINT, NULL, 0, NULL},
    {{"-v"}, ACTION_VERSION, NULL, 0, NULL},
    {{"--help"}, ACTION_HELP, NULL, 0, NULL},
    {{"--set", "tornadod.workers=2"}, ACTION_SERVE, NULL, 1, NULL},
    {{"--set=listen:a.b.address=1", "--set", "log.level="}, ACTION_SERVE, NULL, 2, NULL},
    {{"-c"}, 0, NULL, 0, "option -c wants a value"},
    {{"--set"}, 0, NULL, 0, "option --set wants a value"},
    {{"--set", "workers=2"}, 0, NULL, 0, "wants SECTION.KEY=VALUE"},
    {{"--set", "tornadod.workers"}, 0, NULL, 0, "wants SECTION.KEY=VALUE"},
    {{"--set", ".workers=2"}, 0, NULL, 0, "wants SECTION.KEY=VALUE"},
    {{"--set", "tornadod.=2"}, 0, NULL, 0, "wants SECTION.KEY=VALUE"},
    {{"--set", "workers=2.5"}, 0, NULL, 0, "wants SECTION.KEY=VALUE"},
    {{"--nonsense"}, 0, NULL, 0, "option --nonsense is unknown"},
    {{"-x"}, 0, NULL, 0, "option -x is unknown"},
    {{"-xt"}, 0, NULL, 0, "option -x is unknown"},
    {{"--set", "log.level=info", "-txv"}, 0, NULL, 0, "option -x is unknown"},
    {{"--test=yes"}, 0, NULL, 0, "option -t is unknown, or takes no value"},
    {{"a.ini"}, 0, NULL, 0, "a.ini: no such argument"},
};

START_TEST(a_line_is_understood_or_refused)
{
    char *argv[ARGS_MAX + 2] = {(char *)"tornadod"};
    struct options options;
    td_err err;
    int argc = 1;

    for (; lines[_i].args[argc - 1] != NULL; argc++)
        argv[argc] = (char *)lines[_i].args[argc - 1];
    int rc = options_parse(argc, argv, &options, &err);
    if (lines[_i].error != NULL) {
        ck_assert_int_eq(rc, TD_EINVAL);
        ck_assert_msg(strstr(err.text, lines[_i].error) != NULL, "%s", err.text);
        return;
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(options.action, lines[_i].action);
    ck_assert_pstr_eq(options.path, lines[_i].path);
    ck_assert_uint_eq(options.overrides_count, lines[_i].overrides_count);
    options_fini(&options);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_line_is_understood_or_refused, lines);
}

int
main(void)
{
    return unit_run("daemon_options", fill);
}
