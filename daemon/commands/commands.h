/* `tornadod COMMAND ...`: which commands there are, and what they share in reading their line. */
#ifndef DAEMON_COMMANDS_COMMANDS_H
#define DAEMON_COMMANDS_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "daemon/options.h"

#define COMMAND(name, arguments, text) int command_##name(int argc, char **argv);
#include "daemon/commands/commands.def"
#undef COMMAND

/*
 * Run the command that argv[0] names with all of argv; returns the exit status of the program.  For
 * a name that is none of ours the nearest one is told.
 */
int commands_run(int argc, char **argv);

void commands_print(FILE *to); /* a line each */

/* An option of one command: --json, --listen ADDRESS.  Texts are literals. */
struct command_option {
    const char *name;   /* without its dashes */
    const char *metavar; /* of its value: "ADDRESS"; NULL: it has none */
    const char *text;   /* what it is for */
    bool *given;        /* set when it is there; NULL where `value` is enough */
    const char **value; /* the last one that was given; argv's */
};

struct command_line {
    struct options options; /* -c and --set, which every command takes */
    char **operands;        /* argv's, put behind the options */
    size_t operands_count;
};

/*
 * Read the line of the command argv[0]: its own options, then -c, --set and --help.  True: go on,
 * and command_line_fini at the end.  False: there is nothing more to do than to return *status_out,
 * as help was asked for and printed, or the line is wrong, which was said.
 *
 * operands_max  how many words that are no options it may have.
 */
bool command_line_read(int argc, char **argv, const struct command_option *own, size_t own_count,
                       size_t operands_max, struct command_line *out, int *status_out);
void command_line_fini(struct command_line *line);

#define COMMAND_LINE_READ(argc, argv, own, operands_max, out, status_out)                          \
    command_line_read((argc), (argv), (own), sizeof(own) / sizeof(*(own)), (operands_max), (out),  \
                      (status_out))

#endif
