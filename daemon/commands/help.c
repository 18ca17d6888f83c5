#include <stdlib.h>
#include "daemon/commands/commands.h"

/* What a command says of itself is what it answers to --help. */
static int
explain(char *name)
{
    char option[] = "--help";

    return commands_run(2, (char *[]){name, option, NULL});
}

static void
print_all(void)
{
    options_print_help(stdout);
    puts("\nCommands, each with a --help of its own:\n");
    commands_print(stdout);
}

int
command_help(int argc, char **argv)
{
    struct command_line line;
    int status;

    if (!command_line_read(argc, argv, NULL, 0, 1, &line, &status))
        return status;
    status = EXIT_SUCCESS;
    if (line.operands_count > 0)
        status = explain(line.operands[0]);
    else
        print_all();
    command_line_fini(&line);
    return status;
}
