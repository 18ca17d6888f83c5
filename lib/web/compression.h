/*
 * compress_response: which responses are compressed, how, and what their headers say (RFC
 * 9110 sections 8.4, 8.8.3.3 and 12.5.3).
 */
#ifndef TORNADO_WEB_COMPRESSION_H
#define TORNADO_WEB_COMPRESSION_H

#include <tornado/error.h>
#include "base/settings.h"
#include "http/accept.h"
#include "http/request.h"
#include "web/handler.h"

#define TD_COMPRESS_WHOLE_MAX (64 * 1024) /* bytes; a larger body is compressed like a stream */

typedef struct td_compression {
    unsigned codings; /* TD_CODING_BITs */
    int level;
    size_t size_min;  /* bytes */
    td_str *types;    /* "text/html", "text/STAR" */
    size_t types_count;
} td_compression;

/* In the arena.  *out is NULL where compress_response is off.  TD_ECONFIG names what is wrong. */
int td_compression_create(td_arena *arena, const td_application_settings *settings,
                          const td_compression **out, td_err *err);

/* What a request would like; kept while its head comes again. */
td_coding td_compression_wish(const td_compression *compression, td_request *request);

/*
 * The coding for the response of h.  length: bytes of its body, -1 when not known; stream: it does
 * not leave at once.
 */
td_coding td_compression_choose(td_handler *h, int64_t length, bool stream);

/*
 * What every answer of an application that compresses says, since another client gets another one.
 */
void td_compression_vary(td_handler *h);

/* Content-Encoding, and what else the headers say then. */
void td_compression_tell(td_handler *h, td_coding coding);

#endif
