#include "daemon/commands/commands.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/value.h"

#define OWN_FIRST 1000 /* values of getopt_long: above those of characters and of options.h */

struct command {
    const char *name, *arguments, *text;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
#define COMMAND(name, arguments, text) {#name, arguments, text, command_##name},
#include "daemon/commands/commands.def"
#undef COMMAND
};

#define COMMANDS_COUNT (sizeof(commands) / sizeof(*commands))

static const struct command *
find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static void
tell_unknown(const char *name)
{
    const char *names[COMMANDS_COUNT];

    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        names[i] = commands[i].name;
    const char *nearest = td_nearest(name, names, COMMANDS_COUNT);
    fprintf(stderr, "tornadod: %s is no command", name);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s?\n", nearest);
    else
        fputs("; see tornadod help\n", stderr);
}

int
commands_run(int argc, char **argv)
{
    const struct command *command = find_command(argv[0]);

    if (command == NULL) {
        tell_unknown(argv[0]);
        return EXIT_FAILURE;
    }
    return command->run(argc, argv);
}

void
commands_print(FILE *to)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].text);
}

/* ---- the line of one command */

static void
print_option(const char *name, const char *metavar, const char *text)
{
    char left[64];

    snprintf(left, sizeof(left), "--%s%s%s", name, metavar != NULL ? " " : "",
             metavar != NULL ? metavar : "");
    printf("      %-26s %s\n", left, text);
}

static void
print_usage(const struct command *command, const struct command_option *own, size_t own_count)
{
    printf("Usage: tornadod %s [OPTIONS]%s%s\n\n%s\n\n", command->name,
           command->arguments[0] != '\0' ? " " : "", command->arguments, command->text);
    for (size_t i = 0; i < own_count; i++)
        print_option(own[i].name, own[i].metavar, own[i].text);
    puts("  -c, --config FILE              settings, see tornadod.ini(5); defaults without");
    print_option("set", "SECTION.KEY=VALUE", "a setting that wins over FILE");
    puts("  -h, --help                     print this");
}

/* Ours and those that all have, for getopt_long; freed by the caller. */
static struct option *
make_long_options(const struct command_option *own, size_t own_count)
{
    struct option *all = td_xcalloc(own_count + 4, sizeof(*all));
    size_t count = 0;

    for (; count < own_count; count++)
        all[count] = (struct option){
            own[count].name, own[count].metavar != NULL ? required_argument : no_argument, NULL,
            OWN_FIRST + (int)count};
    all[count++] = (struct option){"config", required_argument, NULL, 'c'};
    all[count++] = (struct option){"set", required_argument, NULL, OPTION_SET};
    all[count++] = (struct option){"help", no_argument, NULL, 'h'};
    return all;
}

static int
take_option(int option, char **argv, const struct command_option *own, struct command_line *line,
            td_err *err)
{
    if (option < OWN_FIRST)
        return options_apply(&line->options, option, argv, err);
    const struct command_option *chosen = &own[option - OWN_FIRST];
    if (chosen->given != NULL)
        *chosen->given = true;
    if (chosen->value != NULL)
        *chosen->value = optarg;
    return 0;
}

static int
read_options(int argc, char **argv, const struct command_option *own, size_t own_count,
             struct command_line *line, td_err *err)
{
    struct option *long_options = make_long_options(own, own_count);
    int option, rc = 0;

    opterr = 0;
    optind = 0; /* glibc: start afresh */
    while (rc == 0 && (option = getopt_long(argc, argv, ":c:h", long_options, NULL)) != -1)
        rc = take_option(option, argv, own, line, err);
    free(long_options);
    line->operands = argv + optind;
    line->operands_count = (size_t)(argc - optind);
    return rc;
}

bool
command_line_read(int argc, char **argv, const struct command_option *own, size_t own_count,
                  size_t operands_max, struct command_line *out, int *status_out)
{
    struct command_line line = {.operands_count = 0};
    td_err err;

    options_init(&line.options, argc);
    int rc = read_options(argc, argv, own, own_count, &line, &err);
    if (rc == 0 && line.options.action != ACTION_HELP && line.operands_count > operands_max)
        rc = td_err_set(&err, TD_EINVAL, "%s: one word too many; see tornadod %s --help",
                        line.operands[operands_max], argv[0]);
    if (rc == 0 && line.options.action != ACTION_HELP) {
        *out = line;
        return true;
    }
    if (rc == 0)
        print_usage(find_command(argv[0]), own, own_count);
    else
        fprintf(stderr, "tornadod %s: %s\n", argv[0], err.text);
    *status_out = rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    command_line_fini(&line);
    return false;
}

void
command_line_fini(struct command_line *line)
{
    options_fini(&line->options);
}
