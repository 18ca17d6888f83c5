/*
 * A compressed body is another representation than the one that it was made of, so it has an entity
 * tag of its own: that of the other with the coding behind it, "x-gzip".  td_etag_is_in takes it
 * for the other's.
 */
#include "web/compression.h"

#include "base/escape.h"
#include "http/compressor.h"
#include "web/application_internal.h"
#include "web/conditional.h"

/* ---- settings */

static int
parse_codings(const td_application_settings *settings, unsigned *out, td_err *err)
{
    td_str list = td_str_of(settings->compress_codings), name;

    *out = 0;
    while (td_list_next(&list, &name)) {
        int coding = 0;

        while (coding < TD_CODING_IDENTITY && !td_str_equal(name, td_coding_name(coding)))
            coding++;
        if (coding == TD_CODING_IDENTITY)
            return td_err_set(err, TD_ECONFIG,
                              "application %s: compress_codings: '%.*s' is none of zstd, br and gzip",
                              settings->name, TD_STR_FMT(name));
        *out |= TD_CODING_BIT(coding);
    }
    return 0;
}

/* TYPE/SUBTYPE without parameters.  A star is a token, too, but no type. */
static bool
is_type(td_str s)
{
    const char *slash = memchr(s.ptr, '/', s.len);
    const size_t len = slash != NULL ? (size_t)(slash - s.ptr) : 0;

    return slash != NULL && s.ptr[0] != '*' && td_is_token(td_str_make(s.ptr, len)) &&
           td_is_token(td_str_make(slash + 1, s.len - len - 1));
}

static int
parse_types(const td_application_settings *settings, td_arena *arena, td_compression *compression,
            td_err *err)
{
    const td_str all = td_str_of(settings->compress_types);
    td_str list = all, type;

    while (td_list_next(&list, &type))
        compression->types_count++;
    compression->types = TD_ARENA_ARRAY(arena, td_str, compression->types_count);
    compression->types_count = 0;
    for (list = all; td_list_next(&list, &type);) {
        if (!is_type(type))
            return td_err_set(err, TD_ECONFIG,
                              "application %s: compress_types: '%.*s' is no TYPE/SUBTYPE or TYPE/*",
                              settings->name, TD_STR_FMT(type));
        compression->types[compression->types_count++] = type;
    }
    return 0;
}

int
td_compression_create(td_arena *arena, const td_application_settings *settings,
                      const td_compression **out, td_err *err)
{
    td_compression *compression;
    int rc;

    *out = NULL;
    if (!settings->compress_response)
        return 0;
    compression = TD_ARENA_NEW(arena, td_compression);
    compression->level = (int)settings->compress_level;
    compression->size_min = (size_t)settings->compress_min_size;
    rc = parse_codings(settings, &compression->codings, err);
    if (rc == 0)
        rc = parse_types(settings, arena, compression, err);
    if (rc == 0)
        *out = compression;
    return rc;
}

/* ---- what the request wants */

static td_coding
wish_among(td_request *request, unsigned codings)
{
    return td_accept_coding(td_headers_get(&request->head.headers, &request->arena,
                                           TD_STR("Accept-Encoding")),
                            codings);
}

td_coding
td_compression_wish(const td_compression *compression, td_request *request)
{
    return wish_among(request, compression->codings);
}

/* ---- what the response is */

static bool
is_of_type(td_str type, td_str wanted)
{
    if (wanted.ptr[wanted.len - 1] != '*')
        return td_str_equal_nocase(type, wanted);
    return type.len >= wanted.len &&
           td_str_equal_nocase(td_str_make(type.ptr, wanted.len - 1),
                               td_str_make(wanted.ptr, wanted.len - 1));
}

static bool
has_compressible_type(const td_compression *compression, const td_headers *headers)
{
    const td_header *header = td_headers_find(headers, TD_STR("Content-Type"));
    const char *semicolon;
    td_str type;

    if (header == NULL)
        return false;
    type = header->value;
    semicolon = memchr(type.ptr, ';', type.len);
    if (semicolon != NULL)
        type.len = (size_t)(semicolon - type.ptr);
    type = td_str_trim(type);
    for (size_t i = 0; i < compression->types_count; i++)
        if (is_of_type(type, compression->types[i]))
            return true;
    return false;
}

/* RFC 9111 section 5.2.2.6 */
static bool
forbids_transformation(const td_headers *headers)
{
    const td_header *line = td_headers_find(headers, TD_STR("Cache-Control"));

    for (; line != NULL; line = td_headers_next(headers, line))
        if (td_list_has_token(line->value, TD_STR("no-transform")))
            return true;
    return false;
}

/* A piece of a body stays one of the body whose length its Content-Range tells. */
static bool
is_compressible(const td_handler *h, int64_t length)
{
    const td_compression *compression = h->app->compression;

    return h->status != 204 && h->status != 206 && h->status != 304 && !h->never_compress &&
           length != 0 && (length < 0 || (size_t)length >= compression->size_min) &&
           has_compressible_type(compression, &h->headers) &&
           td_headers_find(&h->headers, TD_STR("Content-Encoding")) == NULL &&
           td_headers_find(&h->headers, TD_STR("Content-Range")) == NULL &&
           !forbids_transformation(&h->headers);
}

/* ---- what its headers say */

static void
set(td_handler *h, td_str name, td_str value)
{
    td_headers_set(&h->headers, &h->request->arena, name, value);
}

void
td_compression_vary(td_handler *h)
{
    td_handler_vary(h, TD_STR("Accept-Encoding"));
}

/* A weak one says no more than that they mean the same. */
static void
tell_etag_apart(td_handler *h, td_coding coding)
{
    const td_header *etag = td_headers_find(&h->headers, TD_STR("Etag"));

    if (etag != NULL && etag->value.len > 2 && etag->value.ptr[0] == '"')
        set(h, TD_STR("Etag"),
            td_arena_sprintf(&h->request->arena, "%.*s-%.*s\"", (int)etag->value.len - 1,
                             etag->value.ptr, TD_STR_FMT(td_coding_name(coding))));
}

/*
 * RFC 9111 section 4.3.4: a 304 refreshes the stored response that has its entity tag, and no
 * other.  A weak one was sent as it is, whatever the coding.
 */
static void
repeat_known_etag(td_handler *h)
{
    const td_header *etag = td_headers_find(&h->headers, TD_STR("Etag"));
    td_str known;

    if (etag == NULL || etag->value.len == 0 || etag->value.ptr[0] != '"')
        return;
    known = td_etag_known(etag->value, h->match->if_none_match);
    if (!td_str_is_null(known))
        set(h, TD_STR("Etag"), known);
}

td_coding
td_compression_choose(td_handler *h, int64_t length, bool stream)
{
    const td_coding coding = h->match->coding;

    if (h->status == 304)
        repeat_known_etag(h);
    if (coding == TD_CODING_IDENTITY || !is_compressible(h, length))
        return TD_CODING_IDENTITY;
    if (!stream || (TD_COMPRESS_STREAM_CODINGS & TD_CODING_BIT(coding)))
        return coding;
    return wish_among(h->request, h->app->compression->codings & TD_COMPRESS_STREAM_CODINGS);
}

void
td_compression_tell(td_handler *h, td_coding coding)
{
    tell_etag_apart(h, coding);
    td_headers_remove(&h->headers, TD_STR("Accept-Ranges")); /* of what it would be without */
    set(h, TD_STR("Content-Encoding"), td_coding_name(coding));
}
