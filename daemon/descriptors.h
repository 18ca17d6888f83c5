/* What a child keeps of the descriptors that it was born with. */
#ifndef DAEMON_DESCRIPTORS_H
#define DAEMON_DESCRIPTORS_H

#include <stddef.h>

/* Close all but 0, 1, 2 and these; those below zero and repeated ones do no harm.  Sorts `keep`. */
void descriptors_close_others(int *keep, size_t count);

#endif
