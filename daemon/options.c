/*
 * The command line.  What concerns the service is a setting, not an option: --set gives any of
 * them, so there is one list of names to learn.
 */
#include "daemon/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"

static const char short_options[] = ":c:tTvh";

/* clang-format off */
static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"print", no_argument, NULL, 'T'},
    {"set", required_argument, NULL, OPTION_SET},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};
/* clang-format on */

static const char help[] =
    "Usage: tornadod [-c FILE] [--set SECTION.KEY=VALUE]... [-t | -T]\n"
    "       tornadod COMMAND [OPTIONS]\n"
    "\n"
    "Serves HTTP with handlers from a directory of shared objects; see tornadod(8).\n"
    "\n"
    "  -c, --config FILE             settings, see tornadod.ini(5); defaults without\n"
    "      --set SECTION.KEY=VALUE   a setting that wins over FILE: --set tornadod.workers=2\n"
    "  -t, --test                    check settings and handlers, then exit: 0 or 78\n"
    "  -T, --print                   the same, and print all settings in force\n"
    "  -v, --version                 print the version\n"
    "  -h, --help                    print this\n";

/* "section.key=value" or "section:name.key=value"; what they name is for the settings to judge. */
static int
add_override(struct options *options, const char *text, td_err *err)
{
    const char *equals = strchr(text, '=');
    const char *dot = strchr(text, '.');

    if (equals == NULL || dot == NULL || dot == text || dot + 1 >= equals)
        return td_err_set(err, TD_EINVAL, "--set %s: wants SECTION.KEY=VALUE", text);
    options->overrides[options->overrides_count++] = text;
    return 0;
}

/* A letter may stand among others, as in -xt: then getopt_long is not past that word yet. */
static int
refuse_unknown(char **argv, td_err *err)
{
    if (optopt > 0 && optopt < OPTION_SET)
        return td_err_set(err, TD_EINVAL,
                          "option -%c is unknown, or takes no value; see tornadod --help", optopt);
    return td_err_set(err, TD_EINVAL, "option %s is unknown; see tornadod --help",
                      argv[optind - 1]);
}

int
options_apply(struct options *options, int option, char **argv, td_err *err)
{
    switch (option) {
    case 'c':
        options->path = optarg;
        return 0;
    case 't':
        options->action = ACTION_TEST;
        return 0;
    case 'T':
        options->action = ACTION_PRINT;
        return 0;
    case OPTION_SET:
        return add_override(options, optarg, err);
    case 'v':
        options->action = ACTION_VERSION;
        return 0;
    case 'h':
        options->action = ACTION_HELP;
        return 0;
    case ':':
        return td_err_set(err, TD_EINVAL, "option %s wants a value", argv[optind - 1]);
    default:
        return refuse_unknown(argv, err);
    }
}

void
options_init(struct options *options, int argc)
{
    *options =
        (struct options){.overrides = td_xcalloc((size_t)argc, sizeof(*options->overrides))};
}

int
options_parse(int argc, char **argv, struct options *out, td_err *err)
{
    struct options options;
    int option, rc = 0;

    options_init(&options, argc);
    opterr = 0;
    optind = 0; /* glibc: start afresh, also when called again */
    while (rc == 0 && (option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1)
        rc = options_apply(&options, option, argv, err);
    if (rc == 0 && optind < argc)
        rc = td_err_set(err, TD_EINVAL,
                        "%s: no such argument; a command comes first, see tornadod --help",
                        argv[optind]);
    if (rc != 0) {
        options_fini(&options);
        return rc;
    }
    *out = options;
    return 0;
}

void
options_fini(struct options *options)
{
    free(options->overrides);
    options->overrides = NULL;
    options->overrides_count = 0;
}

void
options_print_help(FILE *to)
{
    fputs(help, to);
}
