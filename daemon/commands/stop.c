#include "daemon/commands/client.h"

/* As long as it takes: drain_timeout bounds it.  The end of the answer is that of the daemon. */
int
command_stop(int argc, char **argv)
{
    return client_run(argc, argv, "stop", 0);
}
