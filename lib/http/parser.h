/*
 * The request head, strictly (RFC 9112 sections 2, 3, 5 and 6).
 *
 * http-parser does the parsing and is not trusted: each head is scanned by table first, and what it
 * then says is checked.  Plain heads are taken from that scan alone (the fast scanner); anything
 * unusual goes through http-parser; both give identical results.  This is the only file that knows
 * http-parser.
 *
 * Nothing here reads, writes or waits.  A parser takes any split of its input.
 */
#ifndef TORNADO_HTTP_PARSER_H
#define TORNADO_HTTP_PARSER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/arena.h"
#include "http/headers.h"

typedef enum td_method {
#define X(name) TD_METHOD_##name,
#include "http/method.def"
#undef X
    TD_METHODS_COUNT,
    TD_METHOD_OTHER = TD_METHODS_COUNT, /* a valid token that no handler class has an entry for */
} td_method;

TD_PRIVATE td_str td_method_name(td_method method); /* "GET"; TD_METHOD_OTHER: "" */

/*
 * "example.org:80", "[::1]": false when it is no host, or no port; the name is the part before the
 * port, which is -1 when it is not told.
 */
TD_PRIVATE bool td_host_port_split(td_str host, td_str *name_out, int *port_out);

static inline bool
td_host_split(td_str host, td_str *name_out)
{
    int port;

    return td_host_port_split(host, name_out, &port);
}

/* Content-Length = 1*DIGIT (RFC 9110 section 8.6).  -1: it is not, or does not fit. */
TD_PRIVATE int64_t td_content_length_parse(td_str value);

typedef struct td_head_limits {
    size_t request_line_max; /* bytes up to its CRLF */
    size_t size_max;         /* bytes of the head, request line and last CRLFCRLF included */
    size_t headers_max;      /* lines */
} td_head_limits;

typedef enum td_expect {
    TD_EXPECT_NONE,
    TD_EXPECT_CONTINUE, /* 100-continue, of a 1.1 request */
    TD_EXPECT_OTHER,    /* 417 */
} td_expect;

/* A head that was accepted.  A td_str points into the bytes that were parsed, or is a constant. */
typedef struct td_head {
    td_str raw; /* the whole head, from the method to the last CRLF, without leading CRLFs */
    td_method method;
    td_str method_name; /* as sent */
    td_str target;      /* as sent */
    td_str path;        /* percent-encoded; where absolute-form has none "/", or "*" of OPTIONS */
    td_str query;       /* behind the first '?'; the null string: there was no '?' */
    td_str host;        /* of an absolute-form target, else of Host; else, in 1.0, "127.0.0.1" */
    td_str host_name;   /* host without the port, as sent; "[::1]" keeps its brackets */
    int minor;          /* HTTP version: 0, or 1 for 1.1 and later */
    td_headers headers; /* the array is in the arena given to the parser */
    int64_t content_length; /* -1: no Content-Length */
    bool chunked;
    bool keep_alive;    /* what the client asks for: RFC 9112 section 9.3 */
    bool absolute_form; /* the value of Host, if there is one, is the target's then */
    bool https;         /* absolute_form of an https URI */
    bool upgrade;       /* there is an Upgrade, named by Connection: for the handler to look at */
    td_expect expect;
} td_head;

/* How far a head that is still coming has been judged.  Zeroed memory is the start. */
typedef struct td_head_parser {
    uint32_t judged; /* bytes already found good */
    uint32_t start;  /* offset of the method, behind the leading CRLFs */
    uint32_t lines;  /* field lines that have begun */
    uint8_t state;   /* the parser's own */
} td_head_parser;

typedef struct td_head_error {
    int status;       /* 400, 414, 431, 501, 505 */
    const char *what; /* constant: "Host: more than one" */
} td_head_error;

/*
 * Look at the first len bytes at `bytes`.  Between calls for one head they may move, but all that
 * were there must be there again.
 *
 * Returns the length of the head (> 0; *out is filled in, and up to 2 leading CRLFs are counted), 0
 * when more is needed, or TD_EBADMSG with *error.  What is wrong is told as soon as the bytes show
 * it, not when the head is complete.  Linear in the input over all calls.  After a head the parser
 * is at its start again; after an error it is of no use.  Without a head *out means nothing.
 */
TD_PRIVATE ssize_t td_head_parse(td_head_parser *parser, const char *bytes, size_t len,
                                 const td_head_limits *limits, td_arena *arena, td_head *out,
                                 td_head_error *error);

/* Off: every head goes through http-parser, whatever it is.  For the differential tests. */
TD_PRIVATE void td_head_parser_fast(bool on);

#endif
