/* A client and an upstream that go on with another protocol: their bytes pass. */
#ifndef GATEWAY_UPGRADE_H
#define GATEWAY_UPGRADE_H

#include "relay.h"

/*
 * The protocol that the client would like to go on with, if it is one that is passed; NULL: none.
 */
const char *upgrade_wanted(const struct relay *relay);

/* The answer is a 101: until both, or one of them for good, have said what they have to. */
void upgrade_relay(struct relay *relay, const td_response *answer);

#endif
