#include "daemon/commands/client.h"

#define PATIENCE_S 10

int
command_reopen(int argc, char **argv)
{
    return client_run(argc, argv, "reopen", PATIENCE_S);
}
