#include "daemon/master/controlsocket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "daemon/master/pidfile.h"
#include "io/ioloop.h"

#define ACCEPT_PAUSE_S 1 /* when descriptors are short, not to spin */
#define GROUPS_MAX 64    /* of a stranger; one who is in more has to be root or the own user */
#define RUN_DIRECTORY "/run/tornadod"

struct control_client {
    td_list link;
    ev_io io;
    ev_timer limit;
    struct ucred who;
    size_t line_len;
    char line[CONTROL_LINE_MAX];
    td_buf answer;
    enum control_event event; /* 0: it waits for nothing */
    uint32_t number;
};

static struct {
    struct ev_loop *loop;
    char *path, *lock_path; /* NULL: it is not open */
    int lock;
    bool has_group;
    gid_t group;
    ev_io listener;
    ev_timer pause;
    td_list clients;
    size_t clients_count;
    void (*asked)(struct control_client *client, const struct control_request *request);
} control = {.lock = -1};

/* ---- where it is */

static bool
is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "shop" of "/etc/tornadod/shop.ini". */
static td_str
name_of_ini(const char *ini)
{
    const char *slash = strrchr(ini, '/');
    const char *name = slash != NULL ? slash + 1 : ini;
    const size_t len = strlen(name);

    return td_str_make(name, len > 4 && strcmp(name + len - 4, ".ini") == 0 ? len - 4 : len);
}

const char *
controlsocket_path(td_arena *arena, const td_configuration *configuration, const char *ini)
{
    const char *setting = configuration->tornadod.control;

    if (setting != NULL)
        return strcmp(setting, "off") == 0 ? NULL : setting;
    if (ini != NULL) {
        const td_str name = name_of_ini(ini);
        const char *own =
            td_arena_sprintf(arena, RUN_DIRECTORY "-%.*s", TD_STR_FMT(name)).ptr;
        if (name.len > 0 && is_directory(own))
            return td_arena_sprintf(arena, "%s/" CONTROL_SOCKET_NAME, own).ptr;
    }
    return is_directory(RUN_DIRECTORY) ? RUN_DIRECTORY "/" CONTROL_SOCKET_NAME : NULL;
}

/* ---- clients */

static void
drop(struct control_client *client)
{
    ev_io_stop(control.loop, &client->io);
    ev_timer_stop(control.loop, &client->limit);
    close(client->io.fd);
    td_list_remove(&client->link);
    control.clients_count--;
    td_buf_release(&client->answer);
    free(client);
}

static void
on_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    drop(timer->data);
}

static void
start_limit(struct control_client *client)
{
    ev_timer_stop(control.loop, &client->limit);
    ev_now_update(control.loop);
    ev_timer_set(&client->limit, CONTROL_TIMEOUT_S, 0.);
    ev_timer_start(control.loop, &client->limit);
}

/* False: the kernel takes no more now. */
static bool
send_rest(struct control_client *client)
{
    while (client->answer.len > 0) {
        const td_str rest = td_buf_str(&client->answer);
        ssize_t n = send(client->io.fd, rest.ptr, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno != EAGAIN;
        td_buf_consume(&client->answer, (size_t)n);
    }
    return true;
}

static void
send_answer(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop;
    (void)events;
    if (send_rest(io->data))
        drop(io->data);
}

void
control_answer(struct control_client *client, const char *error, td_str body)
{
    client->event = 0;
    if (error == NULL)
        td_buf_append(&client->answer, TD_STR("ok\n"));
    else
        td_buf_printf(&client->answer, "error %s", error);
    td_buf_append(&client->answer, body);
    ev_io_stop(control.loop, &client->io);
    ev_io_init(&client->io, send_answer, client->io.fd, EV_WRITE);
    ev_io_start(control.loop, &client->io);
    start_limit(client);
}

void
control_say(struct control_client *client, td_str text)
{
    (void)!send(client->io.fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
control_wait(struct control_client *client, enum control_event event, uint32_t number)
{
    client->event = event;
    client->number = number;
}

void
control_settle(enum control_event event, uint32_t number, const char *error, const char *text)
{
    if (control.path == NULL)
        return;
    TD_LIST_FOREACH (link, &control.clients) {
        struct control_client *client = TD_CONTAINER_OF(link, struct control_client, link);
        if (client->event == event && client->number <= number)
            control_answer(client, error, td_str_of(text));
    }
}

/* The line, cut into its words in place. */
static bool
parse_line(struct control_client *client, struct control_request *out)
{
    const char *words[3] = {client->line, "", ""};
    size_t count = 1;

    for (char *c = client->line; *c != '\0'; c++) {
        if (*c == '\t' && count == 3)
            return false;
        if (*c == '\t') {
            *c = '\0';
            words[count++] = c + 1;
        } else if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return false;
        }
    }
    *out = (struct control_request){.command = words[0],
                                    .argument = words[1],
                                    .ini = words[2],
                                    .uid = client->who.uid,
                                    .pid = client->who.pid};
    return words[0][0] != '\0';
}

static void
take_request(struct control_client *client, size_t len)
{
    struct control_request request;

    ev_io_stop(control.loop, &client->io);
    ev_timer_stop(control.loop, &client->limit);
    client->line[len] = '\0';
    if (strlen(client->line) == len && client->line_len == len + 1 && parse_line(client, &request))
        control.asked(client, &request);
    else
        control_answer(client, "that is no request", TD_STR(""));
}

static void
on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    struct control_client *client = io->data;
    const size_t room = sizeof(client->line) - client->line_len;
    ssize_t n = recv(io->fd, client->line + client->line_len, room, MSG_DONTWAIT);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(client);
        return;
    }
    client->line_len += (size_t)n;
    const char *end = memchr(client->line, '\n', client->line_len);
    if (end != NULL)
        take_request(client, (size_t)(end - client->line));
    else if (client->line_len == sizeof(client->line))
        control_answer(client, "the request is too long", TD_STR(""));
}

/* ---- who may */

static bool
has_the_group(int fd, const struct ucred *who)
{
    gid_t groups[GROUPS_MAX];
    socklen_t size = sizeof(groups);

    if (!control.has_group)
        return false;
    if (who->gid == control.group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof(*groups); i++) {
        if (groups[i] == control.group)
            return true;
    }
    return false;
}

static bool
may_ask(int fd, struct ucred *who)
{
    socklen_t size = sizeof(*who);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &size) < 0)
        return false;
    return who->uid == 0 || who->uid == geteuid() || has_the_group(fd, who);
}

static struct control_client *
add_client(int fd)
{
    struct control_client *client = td_xcalloc(1, sizeof(*client));

    ev_io_init(&client->io, on_readable, fd, EV_READ);
    client->io.data = client;
    ev_timer_init(&client->limit, on_limit, 0., 0.);
    client->limit.data = client;
    td_list_append(&control.clients, &client->link);
    control.clients_count++;
    return client;
}

static void
refuse(int fd, const char *answer)
{
    send(fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void
welcome(int fd)
{
    static td_log_gate gate;
    struct ucred who;

    if (!may_ask(fd, &who)) {
        td_log_gated(&gate, TD_LOG_WARNING, "master", "control: uid %u may not ask",
                     (unsigned)who.uid);
        refuse(fd, "error you may not ask");
        return;
    }
    if (control.clients_count == CONTROL_CLIENTS_MAX) {
        refuse(fd, "error too many ask at once");
        return;
    }
    struct control_client *client = add_client(fd);
    client->who = who;
    ev_io_start(control.loop, &client->io);
    start_limit(client);
}

static void
on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_io_start(loop, &control.listener);
}

static void
on_connection(struct ev_loop *loop, ev_io *io, int events)
{
    static td_log_gate gate;
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (events & EV_ERROR)
        td_ioloop_watch_again(loop, io, "control");
    if (fd >= 0) {
        welcome(fd);
        return;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return;
    td_log_gated(&gate, TD_LOG_ERROR, "master", "control: accept: %s", strerror(errno));
    ev_io_stop(loop, io);
    ev_timer_init(&control.pause, on_pause_over, ACCEPT_PAUSE_S, 0.);
    ev_timer_start(loop, &control.pause);
}

/* ---- over an upgrade */

void
control_each_waiting(void (*each)(void *arg, int fd), void *arg)
{
    if (control.path == NULL)
        return;
    TD_LIST_FOREACH (link, &control.clients) {
        struct control_client *client = TD_CONTAINER_OF(link, struct control_client, link);
        if (client->event != 0)
            each(arg, client->io.fd);
    }
}

void
control_adopt_waiting(int fd, enum control_event event, uint32_t number)
{
    if (control.path != NULL)
        control_wait(add_client(fd), event, number);
    else
        close(fd);
}

/* ---- the socket */

int
controlsocket_find_group(const char *name, gid_t *out, td_err *err)
{
    struct group entry, *found = NULL;
    char buffer[16384];

    if (getgrnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0 || found == NULL)
        return td_err_set(err, TD_ECONFIG, "control_group = %s: there is no such group", name);
    *out = found->gr_gid;
    return 0;
}

static int
set_group(const char *name, td_err *err)
{
    control.has_group = false;
    if (name == NULL)
        return 0;
    const int rc = controlsocket_find_group(name, &control.group, err);
    control.has_group = rc == 0;
    return rc;
}

/*
 * With the lock in our hands what has the name is nobody's; what is no socket is not ours to
 * remove.
 */
static int
remove_stale(const char *path, td_err *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : td_err_errno(err, "control = %s", path);
    if (!S_ISSOCK(st.st_mode))
        return td_err_set(err, TD_ECONFIG, "control = %s: is there and is no socket", path);
    return unlink(path) < 0 ? td_err_errno(err, "control = %s: stale", path) : 0;
}

/* Of the name itself: in a directory that is not ours alone it may be a link by now. */
static int
set_mode(const char *path, mode_t mode)
{
    return fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}

static int
give(const char *path, td_err *err)
{
    if (set_mode(path, 0600) < 0 ||
        (control.has_group &&
         (lchown(path, (uid_t)-1, control.group) < 0 || set_mode(path, 0660) < 0)))
        return td_err_errno(err, "control = %s", path);
    return 0;
}

/* Nobody gets in before it listens, and then its owner and mode are right. */
static int
listen_at(int fd, const char *path, td_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return td_err_set(err, TD_ECONFIG, "control = %s: longer than %zu bytes", path,
                          sizeof(address.sun_path) - 1);
    if (remove_stale(path, err) < 0)
        return err->code;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return td_err_errno(err, "control = %s", path);
    int rc = give(path, err);
    if (rc == 0 && listen(fd, CONTROL_CLIENTS_MAX) < 0)
        rc = td_err_errno(err, "control = %s", path);
    if (rc < 0)
        unlink(path);
    return rc;
}

static int
open_socket(const char *path, int *fd_out, td_err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return td_err_errno(err, "control = %s", path);
    if (listen_at(fd, path, err) < 0) {
        close(fd);
        return err->code;
    }
    *fd_out = fd;
    return 0;
}

static char *
lock_path_of(const char *path)
{
    char *lock_path = td_xmalloc(strlen(path) + sizeof(".lock"));

    strcpy(stpcpy(lock_path, path), ".lock");
    return lock_path;
}

/* As with the pid file, a lock says who lives; what is in the file does not matter. */
static int
take_lock(const char *path, const char *lock_path, int *lock_out, td_err *err)
{
    int rc = pidfile_open(lock_path, lock_out, err);

    if (rc == TD_EBUSY)
        return td_err_set(err, rc, "control = %s: another tornadod holds it", path);
    if (rc < 0)
        return td_err_prefix(err, "control");
    fchmod(*lock_out, 0600); /* who can open it can lock it, too, and keep the next daemon out */
    return 0;
}

static void
start(struct ev_loop *loop, const char *path, int fd, int lock)
{
    control.loop = loop;
    control.path = td_xstrdup(path);
    control.lock_path = lock_path_of(path);
    control.lock = lock;
    td_list_init(&control.clients);
    control.clients_count = 0;
    ev_timer_init(&control.pause, on_pause_over, 0., 0.);
    ev_io_init(&control.listener, on_connection, fd, EV_READ);
    ev_io_start(loop, &control.listener);
}

int
controlsocket_open(struct ev_loop *loop, const char *path, const char *group,
                   void (*asked)(struct control_client *client,
                                 const struct control_request *request),
                   td_err *err)
{
    char *lock_path = lock_path_of(path);
    int fd = -1, lock, rc = set_group(group, err);

    if (rc == 0)
        rc = take_lock(path, lock_path, &lock, err);
    if (rc < 0)
        goto done;
    rc = open_socket(path, &fd, err);
    if (rc < 0) {
        pidfile_close(lock, lock_path);
        goto done;
    }
    control.asked = asked;
    start(loop, path, fd, lock);

done:
    free(lock_path);
    return rc;
}

void
controlsocket_adopt(struct ev_loop *loop, const char *path, int socket, int lock,
                    void (*asked)(struct control_client *client,
                                  const struct control_request *request))
{
    control.asked = asked;
    start(loop, path, socket, lock);
}

int
controlsocket_set_group(const char *group, td_err *err)
{
    if (control.path == NULL)
        return 0;
    int rc = set_group(group, err);
    return rc < 0 ? rc : give(control.path, err);
}

void
controlsocket_descriptors(int *socket_out, int *lock_out)
{
    *socket_out = control.path != NULL ? control.listener.fd : -1;
    *lock_out = control.lock;
}

void
controlsocket_close(void)
{
    if (control.path == NULL)
        return;
    ev_io_stop(control.loop, &control.listener);
    ev_timer_stop(control.loop, &control.pause);
    unlink(control.path); /* the lock says that it is ours */
    close(control.listener.fd);
    pidfile_close(control.lock, control.lock_path);
    while (!td_list_is_empty(&control.clients)) { /* who waits for the end may start another daemon */
        struct control_client *client =
            TD_CONTAINER_OF(control.clients.next, struct control_client, link);
        send_rest(client); /* the end may have come first */
        drop(client);
    }
    free(control.path);
    free(control.lock_path);
    control.path = control.lock_path = NULL;
    control.lock = -1;
}
