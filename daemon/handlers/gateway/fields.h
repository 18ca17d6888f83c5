/* Which fields of a message are passed on, and what is told in ours. */
#ifndef GATEWAY_FIELDS_H
#define GATEWAY_FIELDS_H

#include "relay.h"

/* Those that an upstream is sent: relay->headers. */
void fields_of_request(struct relay *relay);

/*
 * How often the request may still be passed on, which OPTIONS and TRACE can say (RFC 9110 section
 * 7.6.2); -1: any number.
 */
int64_t fields_find_hops(td_handler *h);

/* Status and fields of the answer; relay->buffers. */
void fields_of_answer(struct relay *relay, const td_response *answer);

/* True when a list such as Connection's has that name, without regard to case. */
bool fields_list_has(const char *list, const char *name);

/* A setting: 0, or an error that names it. */
int fields_parse_telling(const char *key, const char *text, enum telling *out, td_err *err);

#endif
