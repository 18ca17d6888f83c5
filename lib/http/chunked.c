/*
 * A state machine that walks over the framing byte by byte and over the data in one step.
 *
 * It stops behind each piece of data, so that what was good before an error has always been handed
 * over.  Lines end in CRLF and nothing else; a size is digits, directly followed by an extension or
 * the line's end; behind the data stands CRLF.  Every leniency in these places has been used to
 * smuggle requests.
 */
#include <tornado/error.h>
#include "base/assert.h"
#include "base/escape.h"
#include "http/chunked.h"
#include "http/headers.h"

enum {
    SIZE_DIGITS_MAX = 16, /* of uint64_t */
};

enum state {
    SIZE,
    BLANKS,    /* before the ';' of an extension */
    EXTENSION, /* behind it */
    EXTENSION_NAME,
    EXTENSION_NAMED, /* behind the name and a blank */
    EXTENSION_VALUE, /* behind '=' */
    EXTENSION_TOKEN,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPED,
    EXTENSION_ENDED, /* behind the second quote */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    COMPLETE,
};

static int
refuse(td_chunked *decoder, int rc, int status, const char *what)
{
    decoder->status = status;
    decoder->what = what;
    return rc;
}

static int
exceeded(td_chunked *decoder, const td_chunked_limits *limits, int status, const char *setting,
         const char *what)
{
    return refuse(decoder, TD_ETOOBIG, status, limits->are_settings ? setting : what);
}

static int
malformed(td_chunked *decoder, const char *what)
{
    return refuse(decoder, TD_EBADMSG, 400, what);
}

static int
count_extension(td_chunked *decoder)
{
    if (++decoder->extension > TD_CHUNK_EXTENSION_MAX ||
        ++decoder->extensions > TD_CHUNK_EXTENSIONS_MAX)
        return malformed(decoder, "chunk extension: too long");
    return 0;
}

/* What a byte is for an extension. */
enum kind {
    TOKEN,
    BLANK,
    SEMICOLON,
    EQUALS,
    QUOTE,
    BACKSLASH,
    OTHER, /* what only a quoted-string may have */
    LINE_END,
    KINDS_COUNT,
};

/*
 * chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), by state and kind
 * of the next byte; 0: it may not stand there.  What an extension says is dropped, but one that is
 * none may be read differently by the proxy in front of us, the end of the line included.
 */
static const uint8_t next_in_extension[][KINDS_COUNT] = {
    [BLANKS] = {[BLANK] = BLANKS, [SEMICOLON] = EXTENSION},
    [EXTENSION] = {[BLANK] = EXTENSION, [TOKEN] = EXTENSION_NAME},
    [EXTENSION_NAME] = {[TOKEN] = EXTENSION_NAME,
                        [BLANK] = EXTENSION_NAMED,
                        [EQUALS] = EXTENSION_VALUE,
                        [SEMICOLON] = EXTENSION,
                        [LINE_END] = SIZE_LF},
    [EXTENSION_NAMED] = {[BLANK] = EXTENSION_NAMED,
                         [EQUALS] = EXTENSION_VALUE,
                         [SEMICOLON] = EXTENSION},
    [EXTENSION_VALUE] = {[BLANK] = EXTENSION_VALUE,
                         [TOKEN] = EXTENSION_TOKEN,
                         [QUOTE] = EXTENSION_QUOTED},
    [EXTENSION_TOKEN] = {[TOKEN] = EXTENSION_TOKEN,
                         [BLANK] = BLANKS,
                         [SEMICOLON] = EXTENSION,
                         [LINE_END] = SIZE_LF},
    [EXTENSION_QUOTED] = {[TOKEN] = EXTENSION_QUOTED,
                          [BLANK] = EXTENSION_QUOTED,
                          [SEMICOLON] = EXTENSION_QUOTED,
                          [EQUALS] = EXTENSION_QUOTED,
                          [OTHER] = EXTENSION_QUOTED,
                          [BACKSLASH] = EXTENSION_ESCAPED,
                          [QUOTE] = EXTENSION_ENDED},
    [EXTENSION_ESCAPED] = {[TOKEN] = EXTENSION_QUOTED,
                           [BLANK] = EXTENSION_QUOTED,
                           [SEMICOLON] = EXTENSION_QUOTED,
                           [EQUALS] = EXTENSION_QUOTED,
                           [OTHER] = EXTENSION_QUOTED,
                           [BACKSLASH] = EXTENSION_QUOTED,
                           [QUOTE] = EXTENSION_QUOTED},
    [EXTENSION_ENDED] = {[BLANK] = BLANKS, [SEMICOLON] = EXTENSION, [LINE_END] = SIZE_LF},
};

static enum kind
kind_in_extension(char byte)
{
    switch (byte) {
    case ' ':
    case '\t':
        return BLANK;
    case ';':
        return SEMICOLON;
    case '=':
        return EQUALS;
    case '"':
        return QUOTE;
    case '\\':
        return BACKSLASH;
    case '\r':
        return LINE_END;
    default:
        return td_byte_is(byte, TD_BYTE_TOKEN) ? TOKEN : OTHER;
    }
}

static int
take_extension(td_chunked *decoder, char byte)
{
    const enum kind kind = kind_in_extension(byte);
    const uint8_t next = next_in_extension[decoder->state][kind];

    if (kind == OTHER && !td_byte_is(byte, TD_BYTE_FIELD))
        return malformed(decoder, "chunk extension: a control byte");
    if (next == 0)
        return malformed(decoder, decoder->state == BLANKS
                                      ? "chunk size: not hex digits alone"
                                      : "chunk extension: not a name, or a name and a value");
    decoder->state = next;
    return kind == LINE_END ? 0 : count_extension(decoder);
}

/* The byte behind the digits of a chunk size. */
static int
end_size(td_chunked *decoder, const td_chunked_limits *limits, char byte)
{
    if (decoder->digits == 0)
        return malformed(decoder, "chunk size: no digit");
    decoder->extension = 0;
    decoder->state = byte == '\r' ? SIZE_LF : BLANKS;
    if (decoder->state == BLANKS && take_extension(decoder, byte) < 0)
        return TD_EBADMSG;
    if (decoder->chunk_left > limits->body_max - decoder->body)
        return exceeded(decoder, limits, 413, "chunk size: the body is above max_body_size",
                        "chunk size: the body is too large");
    decoder->body += decoder->chunk_left;
    return 0;
}

static int
take_size(td_chunked *decoder, const td_chunked_limits *limits, char byte)
{
    if (!td_byte_is(byte, TD_BYTE_HEX))
        return end_size(decoder, limits, byte);
    if (decoder->digits == SIZE_DIGITS_MAX)
        return malformed(decoder, "chunk size: too many digits");
    decoder->digits++;
    decoder->chunk_left = decoder->chunk_left << 4 | (unsigned)td_hex_value(byte);
    return 0;
}

/* A byte of a trailer line; the rules of a header line (RFC 9112 section 5) hold. */
static int
take_trailer(td_chunked *decoder, const td_chunked_limits *limits, char byte)
{
    if (++decoder->trailer_size > limits->trailer_size_max)
        return exceeded(decoder, limits, 431, "trailer: above max_trailer_size",
                        "trailer: too long");
    if (decoder->state == TRAILER_NAME) {
        if (byte == ':')
            decoder->state = TRAILER_VALUE;
        else if (!td_byte_is(byte, TD_BYTE_TOKEN))
            return malformed(decoder, "trailer: the name is not a token and a colon");
    } else if (byte == '\r') {
        decoder->state = TRAILER_LF;
    } else if (!td_byte_is(byte, TD_BYTE_FIELD)) {
        return malformed(decoder, "trailer: a control byte in a value");
    }
    return 0;
}

/* The first byte of a line behind the last chunk. */
static int
begin_trailer(td_chunked *decoder, const td_chunked_limits *limits, char byte)
{
    if (byte == '\r') {
        decoder->state = END_LF;
        return 0;
    }
    if (!td_byte_is(byte, TD_BYTE_TOKEN))
        return malformed(decoder, "trailer: the name is not a token and a colon");
    if (decoder->trailers == limits->trailers_max)
        return exceeded(decoder, limits, 431, "trailer: more lines than max_headers",
                        "trailer: too many lines");
    decoder->trailers++;
    decoder->state = TRAILER_NAME;
    return take_trailer(decoder, limits, byte);
}

/* The one byte that may stand here. */
static int
take_line_end(td_chunked *decoder, char byte, char expected, enum state next)
{
    if (byte != expected)
        return malformed(decoder, decoder->state == DATA_CR || decoder->state == DATA_LF
                                      ? "chunk: no CRLF behind the data"
                                      : "chunk: CR without LF");
    decoder->state = next;
    return 0;
}

static int
take_byte(td_chunked *decoder, const td_chunked_limits *limits, char byte)
{
    switch ((enum state)decoder->state) {
    case SIZE:
        return take_size(decoder, limits, byte);
    case BLANKS:
    case EXTENSION:
    case EXTENSION_NAME:
    case EXTENSION_NAMED:
    case EXTENSION_VALUE:
    case EXTENSION_TOKEN:
    case EXTENSION_QUOTED:
    case EXTENSION_ESCAPED:
    case EXTENSION_ENDED:
        return take_extension(decoder, byte);
    case SIZE_LF:
        return take_line_end(decoder, byte, '\n', decoder->chunk_left > 0 ? DATA : TRAILER);
    case DATA_CR:
        return take_line_end(decoder, byte, '\r', DATA_LF);
    case DATA_LF:
        decoder->digits = 0;
        return take_line_end(decoder, byte, '\n', SIZE);
    case TRAILER:
        return begin_trailer(decoder, limits, byte);
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return take_trailer(decoder, limits, byte);
    case TRAILER_LF:
        return take_line_end(decoder, byte, '\n', TRAILER);
    case END_LF:
        return take_line_end(decoder, byte, '\n', COMPLETE);
    case DATA:
    case COMPLETE:
        break; /* the caller's */
    }
    TD_ASSERT(!"a byte of framing in this state");
}

ssize_t
td_chunked_decode(td_chunked *decoder, const td_chunked_limits *limits, const char *bytes,
                  size_t len, td_str *data_out, bool *end_out)
{
    size_t taken = 0, data = 0;

    while (taken < len && decoder->state != DATA && decoder->state != COMPLETE) {
        const int rc = take_byte(decoder, limits, bytes[taken++]);

        if (rc < 0)
            return rc;
    }
    if (decoder->state == DATA) {
        data = len - taken < decoder->chunk_left ? len - taken : (size_t)decoder->chunk_left;
        decoder->chunk_left -= data;
        if (decoder->chunk_left == 0)
            decoder->state = DATA_CR;
    }
    *data_out = td_str_make(bytes + taken, data);
    *end_out = decoder->state == COMPLETE;
    return (ssize_t)(taken + data);
}

/* Behind data the decoder has always stopped, so these are the last bytes it took. */
void
td_chunked_untake(td_chunked *decoder, size_t n)
{
    if (n == 0)
        return;
    TD_ASSERT(decoder->state == DATA || decoder->state == DATA_CR);
    decoder->chunk_left += n;
    decoder->state = DATA;
}
