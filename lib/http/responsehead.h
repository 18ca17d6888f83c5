/*
 * The head of a response, as strict as that of a request (parser.h): lines end in CRLF, names are
 * tokens directly behind which stands the colon, nothing is folded, there is one way to tell how
 * long the body is.  The blank behind the status is asked of nobody whose reason is empty.
 */
#ifndef TORNADO_HTTP_RESPONSEHEAD_H
#define TORNADO_HTTP_RESPONSEHEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "http/headers.h"

#define TD_RESPONSE_HEAD_MAX (64 * 1024) /* bytes, all lines */
#define TD_RESPONSE_LINES_MAX 200

typedef struct td_response_scan { /* zeroed memory is the start */
    size_t judged;  /* bytes of whole lines that were found good */
    size_t looked;  /* bytes in which a line end was looked for */
    unsigned lines;
} td_response_scan;

typedef struct td_response_head {
    int status; /* 100..599 */
    int minor;  /* of HTTP/1.x: 0, or 1 for 1.1 and later */
    td_str reason;
    td_headers headers;
    int64_t content_length; /* -1: none */
    bool chunked;
    bool is_encoded; /* there is a Content-Encoding */
    bool keep_alive; /* RFC 9112 section 9.3; whether the body has an end is for the caller to see */
    int idle_max_s;  /* for which the server keeps it (Keep-Alive: timeout=5); 0: it does not say */
} td_response_head;

/*
 * Look at all bytes that have come so far (they may have moved since the last call).  The length of
 * the head when it is complete, 0 when more is needed, or TD_EBADMSG or TD_ETOOBIG and *what.
 */
TD_PRIVATE ssize_t td_response_head_scan(td_response_scan *scan, td_str bytes, const char **what);

/*
 * A plain head that has come from somewhere, for the next one from there: most servers say the same
 * again and again, and the date changes once a second.  Zeroed memory knows none.
 */
typedef struct td_response_known {
    size_t len;      /* of the head; 0: none */
    size_t last_len; /* of the last one, which is worth keeping when the next one is as long */
    char *bytes;     /* as it came, behind it with the NULs, and behind that the lines; one block */
    td_response_head head; /* points in there */
} td_response_known;
TD_PRIVATE void td_response_known_release(td_response_known *known);

/*
 * The same, and td_response_head_read, of a head that is there as a whole and looks as nearly all
 * do: its length, and *out, which points into a copy in the arena with a NUL behind each string.
 * 0: it is for the two to judge.  known NULL: nothing has come from there.
 */
TD_PRIVATE size_t td_response_head_plain(td_str bytes, td_arena *arena, td_response_known *known,
                                         td_response_head *out);

/*
 * What a head that was found good says; *out points into it.  TD_EBADMSG and *what when its lines
 * contradict each other.
 */
TD_PRIVATE int td_response_head_read(td_str head, td_arena *arena, td_response_head *out,
                                     const char **what);

#endif
