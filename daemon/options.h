/* The command line, parsed and nothing else. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <tornado/error.h>

enum action {
    ACTION_SERVE,
    ACTION_TEST,    /* -t: check settings and handlers */
    ACTION_PRINT,   /* -T: the same, and print the settings in force */
    ACTION_ROUTES,  /* tornadod routes: the same, and print where each handler answers */
    ACTION_VERSION, /* -v */
    ACTION_HELP,    /* --help */
};

struct options {
    enum action action;
    const char *path;       /* -c; NULL: no file, defaults alone */
    const char **overrides; /* --set, in order; malloced by options_parse, the texts are argv's */
    size_t overrides_count;
};

enum { OPTION_SET = 256 }; /* getopt_long's value of --set; those of one letter are the letter */

void options_init(struct options *options, int argc); /* room for as many --set as argc */

/* What getopt_long has found; argv is for the text of the error.  0 or TD_EINVAL. */
int options_apply(struct options *options, int option, char **argv, td_err *err);

/* 0, or TD_EINVAL with what is wrong.  argv[0] is skipped. */
int options_parse(int argc, char **argv, struct options *out, td_err *err);
void options_fini(struct options *options);

void options_print_help(FILE *to);

#endif
