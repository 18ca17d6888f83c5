/* td_tcpclient, as the loop and the unit test see it: a connection without a coroutine. */
#ifndef TORNADO_IO_TCPCLIENT_H
#define TORNADO_IO_TCPCLIENT_H

#include <stdbool.h>
#include <tornado/resolver.h>
#include <tornado/tcpclient.h>

#pragma GCC visibility push(hidden)

typedef struct td_connecting td_connecting;

/*
 * error 0 and a connected socket (non-blocking, TCP_NODELAY) of yours, or why not; `connecting` is
 * gone.
 */
typedef void td_connecting_fn(void *arg, int error, int fd);

/* What TD_CONNECT says, complete; false: it is wrong, which is logged. */
bool td_connect_options_read(const td_connect_options *wanted, td_connect_options *out,
                             const char *function);

/*
 * To addresses that are known, as the test has them; a name is looked up first and then goes the same
 * way.  done is called once, on the loop's stack, never from inside this call.
 */
td_connecting *td_connecting_start_with(const td_addresses *addresses,
                                        const td_connect_options *options, td_connecting_fn *done,
                                        void *arg);

void td_connectings_close(void); /* for td_ioloop_destroy: those that are left are told TD_ECANCELED */

#pragma GCC visibility pop

#endif
