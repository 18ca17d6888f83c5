/*
 * Packets and not a stream, so that a message is never half there.  What a worker sends is data of
 * a process that may have gone mad: sizes and types are checked, texts are ended.
 */
#include "daemon/control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRIES_MAX 10

/* What travels: descriptors go beside it, in the order of the bits of `has_fds`. */
struct packet {
    uint32_t type;
    uint32_t has_fds;
    char text[TD_ERR_TEXT_SIZE];
};

union ancillary {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS_MAX)];
};

int
control_pair(int *master_out, int *worker_out, td_err *err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return td_err_errno(err, "control channel");
    *master_out = fds[0];
    *worker_out = fds[1];
    return 0;
}

static void
attach_fds(struct msghdr *header, union ancillary *ancillary, const struct control_message *message,
           struct packet *packet)
{
    int fds[CONTROL_FDS_MAX];
    size_t count = 0;

    for (unsigned i = 0; i < CONTROL_FDS_MAX; i++) {
        if (message->fds[i] < 0)
            continue;
        packet->has_fds |= 1u << i;
        fds[count++] = message->fds[i];
    }
    if (count == 0)
        return;
    memset(ancillary, 0, sizeof(*ancillary));
    header->msg_control = ancillary->bytes;
    header->msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *item = CMSG_FIRSTHDR(header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(item), fds, sizeof(int) * count);
}

/* Of the system; what the other end has to say is still there. */
static bool
is_shortage(int error)
{
    return error == ENOMEM || error == ENOBUFS;
}

int
control_send(int fd, const struct control_message *message)
{
    union ancillary ancillary;
    struct packet packet = {.type = message->type};
    struct iovec part = {&packet, sizeof(packet)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    memcpy(packet.text, message->text, sizeof(packet.text));
    attach_fds(&header, &ancillary, message, &packet);
    for (int tries = 0; sendmsg(fd, &header, MSG_NOSIGNAL) < 0; tries++) {
        if (errno != EINTR && (!is_shortage(errno) || tries == TRIES_MAX))
            return -errno;
    }
    return 0;
}

/* Give each descriptor its place; those that were not announced are closed. */
static void
take_fds(struct msghdr *header, uint32_t has_fds, struct control_message *out)
{
    unsigned place = 0;

    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL;
         item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
            while (place < CONTROL_FDS_MAX && !(has_fds >> place & 1))
                place++;
            if (place < CONTROL_FDS_MAX)
                out->fds[place++] = fd;
            else
                close(fd);
        }
    }
}

/* 1, 0 at the end, TD_EBADMSG for what we did not send, -errno. */
static int
receive_packet(int fd, struct packet *packet, struct control_message *out)
{
    union ancillary ancillary;
    struct iovec part = {packet, sizeof(*packet)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof(ancillary.bytes)};
    ssize_t n;

    while ((n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC)) < 0) {
        if (errno != EINTR)
            return is_shortage(errno) ? -EAGAIN : -errno;
    }
    for (unsigned i = 0; i < CONTROL_FDS_MAX; i++)
        out->fds[i] = -1;
    if (n == 0)
        return 0;
    bool is_ours = n == sizeof(*packet) && !(header.msg_flags & MSG_TRUNC);
    take_fds(&header, is_ours ? packet->has_fds : 0, out);
    return is_ours ? 1 : TD_EBADMSG;
}

int
control_receive(int fd, struct control_message *out)
{
    struct packet packet = {0};
    int rc;

    do {
        rc = receive_packet(fd, &packet, out);
    } while (rc == TD_EBADMSG);
    if (rc <= 0)
        return rc;
    out->type = packet.type;
    memcpy(out->text, packet.text, sizeof(out->text));
    out->text[sizeof(out->text) - 1] = '\0';
    return 1;
}
