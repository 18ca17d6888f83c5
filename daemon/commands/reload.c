#include "daemon/commands/client.h"

/* As long as it takes: start_timeout bounds each of its steps. */
int
command_reload(int argc, char **argv)
{
    return client_run(argc, argv, "reload", 0);
}
