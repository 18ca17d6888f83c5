/* Bodies that a handler reads while they come (TD_STREAM_BODY). */
#ifndef TORNADO_WEB_BODY_H
#define TORNADO_WEB_BODY_H

#include "web/handler.h"

/*
 * In the sequence, before the method: give the body to the class's data_received, if it has one.
 * False: the response has ended, or the client has gone, before all of it had come.
 */
bool td_body_deliver(td_handler *h);

/* What the connection tells; on the loop's stack. */
bool td_body_received(td_handler *h, td_str data); /* false: no more of it for now */
void td_body_ended(td_handler *h);

/* All of it was read, or is in memory. */
bool td_body_is_read(td_handler *h);

/* Nothing more of it will come: whoever waits for it is told. */
void td_body_abandon(td_handler *h);

#endif
