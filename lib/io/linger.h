/*
 * Lingering: the end of a connection whose last word is ours.
 *
 * A socket that is closed while bytes have come that nobody has read, or still come, answers with a
 * reset, which may eat what the peer has not read yet (RFC 9112 section 9.6).  So our side is shut
 * down, what comes is dropped, and it closes when the peer has ended, too, or has had his share.
 */
#ifndef TORNADO_IO_LINGER_H
#define TORNADO_IO_LINGER_H

#include "io/transport.h"

#define TD_LINGER_MS 2000                 /* for the peer to end */
#define TD_LINGER_MAX (16 * 1024 * 1024) /* bytes that are dropped */

/*
 * For who has the rest of it himself: it is readable, behind td_transport_expect_discard.  False: it
 * is over.  *dropped counts the bytes, from 0 on.
 */
TD_PRIVATE bool td_linger_goes_on(td_transport *t, uint32_t *dropped);

/* All of it, in memory of the caller's. */
typedef struct td_linger {
    td_transport transport;
    td_timer timer;
    td_ioloop *loop;
    uint32_t dropped;
    bool has_ended; /* our side: TLS may have to wait for room to say so */
    void (*ended)(struct td_linger *linger); /* it is closed; may free it */
} td_linger;

/* Takes the transport over, on which nothing is unsent.  ended is set before. */
TD_PRIVATE void td_linger_start(td_linger *linger, td_transport *from, td_ioloop *loop);
TD_PRIVATE void td_linger_stop(td_linger *linger); /* closes now, and tells nobody */

#endif
