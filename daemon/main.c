/*
 * tornadod: Tornado's programming model as a native daemon.  tornadod(8) says what it does, the map
 * in README.md where.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "daemon/check.h"
#include "daemon/commands/commands.h"
#include "daemon/master/master.h"
#include "daemon/master/upgrade.h"
#include "daemon/options.h"
#include "daemon/program.h"

#define DESCRIPTORS_MAX (1u << 20) /* some containers allow 1,073,741,816 */

/* A descriptor that is missing would be somebody's socket later on. */
static void
open_standard_descriptors(void)
{
    while (1) {
        int fd = open("/dev/null", O_RDWR);
        if (fd < 0 || fd > STDERR_FILENO) {
            if (fd >= 0)
                close(fd);
            return;
        }
    }
}

static void
raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur < wanted || limit.rlim_cur > DESCRIPTORS_MAX) {
        limit.rlim_cur = wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int
act(const struct options *options)
{
    switch (options->action) {
    case ACTION_SERVE:
        return master_run(options);
    case ACTION_TEST:
    case ACTION_PRINT:
    case ACTION_ROUTES:
        return check_run(options);
    case ACTION_VERSION:
        puts("tornadod " TD_VERSION);
        return EXIT_SUCCESS;
    case ACTION_HELP:
        return command_help(1, (char *[]){(char *)"help", NULL});
    }
    return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    struct options options;
    td_err err;

    signal(SIGPIPE, SIG_IGN); /* before anything can write */
    signal(SIGXFSZ, SIG_IGN); /* so that a file that may not grow is an error like a full disk */
    signal(SIGCHLD, SIG_DFL); /* whoever has ignored it before us: nobody would hear of a child */
    open_standard_descriptors();
    raise_descriptor_limit();
    upgrade_init(argv[0]);
    if (argc > 1 && argv[1][0] != '-')
        return program_printed(commands_run(argc - 1, argv + 1));
    if (options_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, "tornadod: %s\n", err.text);
        return EXIT_FAILURE;
    }
    int status = act(&options);
    options_fini(&options);
    return program_printed(status);
}
