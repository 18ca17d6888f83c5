/*
 * What the files of the master share.  master.c: signals, leaving, life; rollout.c: the generation
 * that is to come; supervise.c: workers come and go; scale.c: how many there are; recycle.c: before
 * they are worn out.
 */
#ifndef DAEMON_MASTER_MASTER_INTERNAL_H
#define DAEMON_MASTER_MASTER_INTERNAL_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "base/list.h"
#include "daemon/master/generation.h"
#include "daemon/options.h"
#include "daemon/site/checker.h"

enum phase {
    PHASE_NONE, /* no generation is to come */
    PHASE_CHECK,
    PHASE_CANARY,
    PHASE_FILL,
};

/* Of the last reload. */
struct outcome {
    time_t time; /* 0: there was none yet */
    bool is_good;
    char text[TD_ERR_TEXT_SIZE + 1024];
};

struct master {
    const struct options *options;
    const char *ini; /* its absolute path; NULL: there is none */
    int64_t started_ns;
    struct ev_loop *loop;
    ev_io nudge; /* ends a poll */
    ev_io signals;
    ev_timer watchdog;

    struct generation *current; /* serves; NULL before the first one does, and when stopping */
    struct generation *next;    /* is to come; NULL: none */
    enum phase phase;
    td_list draining;     /* oldest first */
    uint32_t generations; /* there ever were */

    struct checker checker;
    bool checker_timed_out;
    int workers_change; /* TTIN less TTOU: to the number that is set */
    bool reload_again; /* HUP came while a reload was on its way */
    uint32_t reloads;  /* that were begun */
    struct outcome last_reload;
    bool stopping;
    int exit_status;

    const char *pid_path; /* NULL: none */
    int pid_fd;
    const char *control_path; /* that was to be opened; NULL: none */
};

extern struct master master;

/* ---- master.c */

void master_tell_status(void); /* STATUS= of how many workers serve */
int master_open_log(const td_configuration *configuration, td_err *err);
void master_end_when_alone(void); /* the last of what a stop waits for may have gone */
void master_stop(void);        /* the second time at once */
bool master_reopen_logs(void); /* false: one could not be opened, and the old one goes on */
void master_forget(struct generation *generation); /* a draining one whose workers have gone */

/* Tell its workers to leave; those that serve nobody yet are simply ended. */
void master_drain(struct generation *generation, enum control_type how);

void master_await_end(struct generation *generation); /* its workers were told to leave */

/* ---- rollout.c */

/* The first generation; rc < 0: it failed at once. */
int rollout_begin(td_err *err);

/* Another one, now or after the one that is on its way. */
void rollout_reload(void);

/*
 * The next generation will not serve.  status: what the program exits with if it is the first one.
 */
void rollout_fail(int status, const char *format, ...) TD_PRINTF(2, 3);
int rollout_exit_status(int rc); /* of a failure with this code */

void rollout_checked(int status); /* the checker was reaped */
void rollout_seat_ready(struct generation *generation); /* one of the next generation is */

/* ---- scale.c */

#define WORKERS_MAX 512 /* as of the setting */

void scale_prepare(struct generation *generation); /* that is to come: as many seats as are wanted */
void scale_took_over(const struct generation *before); /* master.current has; before may be NULL */
void scale_by(int step); /* 1 or -1, of the workers that serve */
void scale_to_none(void);

/* ---- recycle.c */

/* Look after the workers of the generation that serves now; at the end, no more. */
void recycle_begin(const td_tornadod_settings *settings);
void recycle_end(void);

/* ---- supervise.c */

void supervise_reap(void); /* SIGCHLD has come */
void supervise_seat_ready(struct seat *seat);
void supervise_respawn_failed(struct seat *seat, const td_err *err);

/* Another worker comes, and when it is ready, this one leaves. */
void supervise_replace(struct seat *seat);

/*
 * The same, and the one that comes accepts from the sockets of `leaving` too, which leaves then.
 * False: that cannot be now.
 */
bool supervise_inherit(struct seat *seat, struct seat *leaving);

/* Let the instance out of quarantine; false: it is not in. */
bool supervise_release(struct generation *generation, const char *instance);

#endif
