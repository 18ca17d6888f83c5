/*
 * multipart/form-data (RFC 7578, RFC 2046 section 5.1), taken apart.
 *
 *   multipart  = [preamble CRLF] delimiter-line *( part delimiter-line ) last-line [epilogue]
 *   part       = *( field-line CRLF ) CRLF *OCTET
 *   delimiter  = CRLF "--" boundary, followed by CRLF, or by "--" where the last part has ended
 *
 * Preamble and epilogue are ignored.  A parser takes any split of its input, and what it says does
 * not depend on the split; it copies the lines that mean something of the headers of parts, and
 * nothing of their bodies.  Its time is linear in the size of the input, and what a line means is
 * found out when it comes: a header of many lines is no long work at its end.
 */
#ifndef TORNADO_HTTP_MULTIPART_H
#define TORNADO_HTTP_MULTIPART_H

#include <stdbool.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/buf.h"

#define TD_BOUNDARY_MAX 70 /* bytes: RFC 2046 section 5.1.1 */

typedef struct td_multipart_limits {
    size_t parts_max;     /* past it TD_ETOOBIG and status 413 */
    size_t head_size_max; /* bytes of the header of a part; past it the same */
} td_multipart_limits;

typedef enum td_multipart_event {
    TD_MULTIPART_MORE,     /* the input is used up */
    TD_MULTIPART_PART,     /* the header of a part is complete: parser->name and so on */
    TD_MULTIPART_DATA,     /* some of its body, at least one byte */
    TD_MULTIPART_PART_END, /* that was the last of its body */
    TD_MULTIPART_END,      /* the last part has ended; what follows is of no interest */
} td_multipart_event;

typedef struct td_multipart {
    /* Of the part; valid until the next call.  Without control bytes, UTF-8. */
    td_str name;         /* never empty */
    td_str filename;     /* the null string: a field and no file.  Never use it as a path. */
    td_str content_type; /* as sent; the null string: none; also while its header comes */

    char line[TD_BOUNDARY_MAX + 5]; /* CRLF "--" boundary, and a '-' more, see give_back */
    size_t line_len;                /* of the delimiter, without that '-' */
    size_t matched;                 /* bytes of such a line that were taken and not handed over */
    size_t skipped;                 /* of these, bytes that belong to the header in front */
    char tail;                      /* the byte behind the delimiter, when matched > line_len */
    uint8_t state;
    size_t parts;
    size_t head_size;    /* bytes of the header of the part, as far as it has come */
    td_buf cut_line;     /* of that header: as far as it has come, when it was cut */
    td_buf disposition;  /* the value of that line */
    td_buf type;         /* of Content-Type */
    bool has_disposition;

    int status;       /* after an error: what to answer */
    const char *what; /* after an error: constant */
} td_multipart;

/*
 * Start over zeroed memory.  content_type: the value of the header, from "multipart/form-data" on.
 * Returns 0, or TD_EBADMSG when it has no boundary that will do.  Then, too, fini is wanted.
 */
TD_PRIVATE int td_multipart_init(td_multipart *parser, td_str content_type);
TD_PRIVATE void td_multipart_fini(td_multipart *parser);

/*
 * What comes next.  Takes it off the front of *input; call again until the result is MORE or END.
 * Returns a td_multipart_event, with TD_MULTIPART_DATA the bytes in *data_out (of the input, or,
 * few, of the parser: valid until the next call); or TD_EBADMSG or TD_ETOOBIG, with parser->status
 * and ->what, after which it is not to be called again.  A body is one DATA if the input has it as
 * a whole.
 */
TD_PRIVATE int td_multipart_next(td_multipart *parser, const td_multipart_limits *limits,
                                 td_str *input, td_str *data_out);

#endif
