/* What the two bare servers share: a listening socket, and the fixed answer many times over. */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stddef.h>

#define BARE_READ_SIZE 16384 /* bytes of one read */

/* On 127.0.0.1; deferred: connections are handed over when their request is there.  Exits on
 * failure. */
int bare_listen(int port, bool deferred);

/* `copies` copies of the file's bytes, one after the other; *len_out is the size of one. */
char *bare_load_answers(const char *path, size_t copies, size_t *len_out);

#endif
