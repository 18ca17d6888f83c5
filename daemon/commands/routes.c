#include "daemon/check.h"
#include "daemon/commands/commands.h"

int
command_routes(int argc, char **argv)
{
    struct command_line line;
    int status;

    if (!command_line_read(argc, argv, NULL, 0, 0, &line, &status))
        return status;
    line.options.action = ACTION_ROUTES;
    status = check_run(&line.options);
    command_line_fini(&line);
    return status;
}
