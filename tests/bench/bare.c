#include "bare.h"
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

int
bare_listen(int port, bool deferred)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, seconds = deferred ? 10 : 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        err(1, "listen on port %d", port);
    return fd;
}

char *
bare_load_answers(const char *path, size_t copies, size_t *len_out)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    char *answers;
    size_t len;

    if (file == NULL || fstat(fileno(file), &st) < 0)
        err(1, "%s", path);
    len = (size_t)st.st_size;
    answers = malloc(copies * len);
    if (answers == NULL)
        err(1, "malloc");
    if (fread(answers, 1, len, file) != len)
        err(1, "%s", path);
    fclose(file);
    for (size_t i = 1; i < copies; i++)
        memcpy(answers + i * len, answers, len);
    *len_out = len;
    return answers;
}
