/*
 * A program without the daemon: a main of its own, one process, one loop (Tornado's hello world).
 *
 *     static const td_plugin site =
 *         TD_PLUGIN_OF(.name = "hello", .urls = TD_URLS(TD_URL("/", &Hello)));
 *
 *     int
 *     main(void)
 *     {
 *         td_err err;
 *         td_program *program = td_program_create(&site, NULL, &err);
 *
 *         if (program == NULL || td_program_listen(program, "127.0.0.1:8888", &err) < 0 ||
 *             td_program_run(program, &err) < 0)
 *             fprintf(stderr, "%s\n", err.text);
 *         td_program_destroy(&program);
 *         return err.code != 0;
 *     }
 *
 *     cc -o hello hello.c $(pkg-config --cflags --libs tornado)
 *
 * Handlers are those of the daemon, to the letter: they wait on coroutines, and a .so is made of
 * them by writing TD_PLUGIN in place of the main.  What the daemon adds is not here: workers,
 * reloads, options of [handler:NAME] and TD_SHARED, quarantine, privileges.
 *
 * A process has one program at a time.  All functions but td_program_stop are for the thread that
 * has created it; elsewhere they are misuse: TD_EINVAL, and logged.
 */
#ifndef TORNADO_PROGRAM_H
#define TORNADO_PROGRAM_H

#include <stddef.h>
#include <tornado/abi.h>
#include <tornado/error.h>
#include <tornado/plugin.h>

typedef struct td_program td_program;

typedef struct td_program_options {
    size_t size TD_ZERO;      /* of the struct; set by TD_PROGRAM */
    const char *ini TD_ZERO;  /* path of a file of settings, tornadod.ini(5); NULL: none */
    const char *const *settings TD_ZERO; /* "application.debug=on", which win over the file; a list that
                                            ends in NULL; NULL: none */
} td_program_options;

#ifndef __cplusplus
#define TD_PROGRAM(...)                                                                            \
    (&(const td_program_options){.size = sizeof(td_program_options), __VA_ARGS__})
#else
#define TD_PROGRAM(...) TD_OPTIONS_OF(td_program_options, __VA_ARGS__)
#endif

/*
 * Read the settings, make a loop for this thread (td_ioloop_current(), so td_add_callback and its
 * kin work from here on) and the tables of the routes.  site outlives the program.  SIGPIPE is
 * ignored. Of the settings count those of [tornadod] that are about the loop, those of
 * [application], [listen:NAME], and of a [handler:NAME] with the site's name.  options NULL: all
 * defaults.  Lines are logged to standard error, one for each response too (`access` of [log]).
 *
 * NULL: a setting or a route is wrong, as the daemon would say it; or the thread has a loop, or the
 * process a program.
 */
TD_API td_program *td_program_create(const td_plugin *site, const td_program_options *options,
                                     td_err *err);

/*
 * Listen on "127.0.0.1:8888", "[::1]:0" or "unix:/path"; requests are taken from td_program_run on.
 * All but the address is what the first [listen:NAME] says, also its protocol, which can be the
 * site's own if that has a handle_stream.  The name of a unix socket that nobody listens to any
 * more is replaced, and ours is removed at the end.  Returns the port (0 of a unix socket), or
 * -errno.  May be called again, and while it runs.
 */
TD_API int td_program_listen(td_program *program, const char *address, td_err *err);

/*
 * Call load and start of site, then serve (without a td_program_listen on the addresses of all
 * [listen:NAME], or 127.0.0.1:8888).  Returns when all is over after the first SIGTERM, SIGINT or
 * td_program_stop: new connections are refused, what has begun is answered, for drain_timeout at
 * most; a second signal does not wait for that.  The hooks drain and stop are called then, and stop
 * is not waited for any longer either way; but not when it ends before start has returned.  Once in
 * a program's life.
 *
 * 0, or the error of a hook or a listener.
 */
TD_API int td_program_run(td_program *program, td_err *err);

/* Begin to end, as the first signal does, in the next iteration of the loop.  From any thread. */
TD_API void td_program_stop(td_program *program);

/* After the run, never in it.  NULL inside is harmless. */
TD_API void td_program_destroy(td_program **program);

#endif
