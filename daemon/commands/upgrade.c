#include "daemon/commands/client.h"

/* As long as it takes: start_timeout bounds each of its steps. */
int
command_upgrade(int argc, char **argv)
{
    return client_run(argc, argv, "upgrade", 0);
}
