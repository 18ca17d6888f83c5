#include "daemon/master/watch.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "io/ioloop.h"

#define MOMENT_S 0.2 /* of quiet, after which what has changed is whole */
#define EVENTS (IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

static struct {
    struct ev_loop *loop;
    void (*changed)(const char *name);
    ev_io events; /* fd -1: not open */
    ev_timer moment;
    int directory; /* -1: none */
    char name[NAME_MAX + 1];
} watch = {.events = {.fd = -1}, .directory = -1};

static bool
is_handler(const char *name)
{
    const size_t len = strlen(name);

    return len > 3 && name[0] != '.' && strcmp(name + len - 3, ".so") == 0;
}

/* One that goes on being written keeps the others' change waiting, but is none by itself. */
static void
note(const struct inotify_event *event)
{
    const bool counts = (event->mask & IN_MODIFY) == 0 || ev_is_active(&watch.moment);

    if (event->wd != watch.directory || event->len == 0 || !is_handler(event->name) || !counts)
        return;
    snprintf(watch.name, sizeof(watch.name), "%s", event->name);
    ev_timer_stop(watch.loop, &watch.moment);
    ev_timer_set(&watch.moment, MOMENT_S, 0.);
    ev_timer_start(watch.loop, &watch.moment);
}

static void
on_events(struct ev_loop *loop, ev_io *watcher, int revents)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t len;

    if (revents & EV_ERROR)
        td_ioloop_watch_again(loop, watcher, "handlers_watch");
    ev_now_update(loop);
    while ((len = read(watcher->fd, buffer, sizeof(buffer))) > 0) {
        for (char *at = buffer; at < buffer + len;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)at;

            note(event);
            at += sizeof(*event) + event->len;
        }
    }
}

static void
on_moment(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
    watch.changed(watch.name);
}

int
watch_open(struct ev_loop *loop, void (*changed)(const char *name), td_err *err)
{
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd < 0)
        return td_err_errno(err, "handlers_watch: inotify");
    watch.loop = loop;
    watch.changed = changed;
    ev_timer_init(&watch.moment, on_moment, 0., 0.);
    ev_io_init(&watch.events, on_events, fd, EV_READ);
    ev_io_start(loop, &watch.events);
    return 0;
}

void
watch_close(void)
{
    if (watch.events.fd < 0)
        return;
    watch_forget();
    ev_io_stop(watch.loop, &watch.events);
    close(watch.events.fd);
    watch.events.fd = watch.directory = -1;
}

int
watch_directory(const char *path, td_err *err)
{
    const int before = watch.directory;

    if (watch.events.fd < 0)
        return 0;
    watch.directory = path != NULL ? inotify_add_watch(watch.events.fd, path, EVENTS) : -1;
    if (before >= 0 && before != watch.directory)
        inotify_rm_watch(watch.events.fd, before);
    if (path != NULL && watch.directory < 0)
        return td_err_errno(err, "handlers_watch: %s", path);
    return 0;
}

void
watch_forget(void)
{
    char told[4096];

    if (watch.events.fd < 0)
        return;
    while (read(watch.events.fd, told, sizeof(told)) > 0)
        ;
    ev_timer_stop(watch.loop, &watch.moment);
}
