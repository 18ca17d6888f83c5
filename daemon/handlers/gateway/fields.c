/*
 * Each field is looked at once: what it is decides whether it goes along.  To applications that
 * make variables of names (CGI, WSGI) an underscore is a hyphen, so it is one here.
 */
#include "fields.h"

#include <stdlib.h>
#include <strings.h>

enum field {
    FIELD_OTHER,
    FIELD_CONNECTION,    /* itself */
    FIELD_OF_CONNECTION, /* of this connection, as that of the other side has its own */
    FIELD_LENGTH,        /* how long the body is: both connections frame it anew */
    FIELD_HOST,
    FIELD_EXPECT,
    FIELD_DATE,
    FIELD_MAX_FORWARDS,
    FIELD_FORWARDED,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO,
    FIELD_X_FORWARDED, /* what else applications take for the word of a gateway */
    FIELD_X_ACCEL_BUFFERING,
};

/* ---- what a field is */

/*
 * A name is a token: bit 0x20 makes one of these bytes of no other but the capitals.  It has a NUL
 * behind it, so one that is shorter differs.
 */
static bool
begins_as(const char *name, const char *lower, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((name[i] == '_' ? '-' : name[i] | 0x20) != lower[i])
            return false;
    return true;
}

/*
 * Length and first letter tell nearly all names apart.  RFC 9110 section 7.6.1 has those of a hop.
 */
static enum field
find_field(const char *name, size_t len)
{
    static const char x_forwarded[] = "x-forwarded-", x_accel[] = "x-accel-buffering";

#define FIELD(first, lower, field)                                                                 \
    case (sizeof(lower) - 1) << 8 | (first):                                                       \
        if (begins_as(name, lower, sizeof(lower) - 1))                                             \
            return field;                                                                          \
        break
    switch (len << 8 | (size_t)(name[0] | 0x20)) {
        FIELD('t', "te", FIELD_OF_CONNECTION);
        FIELD('d', "date", FIELD_DATE);
        FIELD('h', "host", FIELD_HOST);
        FIELD('e', "expect", FIELD_EXPECT);
        FIELD('t', "trailer", FIELD_OF_CONNECTION);
        FIELD('u', "upgrade", FIELD_OF_CONNECTION);
        FIELD('x', "x-scheme", FIELD_X_FORWARDED);
        FIELD('f', "forwarded", FIELD_FORWARDED);
        FIELD('x', "x-real-ip", FIELD_X_FORWARDED);
        FIELD('c', "connection", FIELD_CONNECTION);
        FIELD('k', "keep-alive", FIELD_OF_CONNECTION);
        FIELD('c', "content-length", FIELD_LENGTH);
        FIELD('m', "max-forwards", FIELD_MAX_FORWARDS);
        FIELD('x', "x-forwarded-for", FIELD_X_FORWARDED_FOR);
        FIELD('x', "x-forwarded-host", FIELD_X_FORWARDED_HOST);
        FIELD('p', "proxy-connection", FIELD_OF_CONNECTION);
        FIELD('t', "transfer-encoding", FIELD_OF_CONNECTION);
        FIELD('x', "x-forwarded-proto", FIELD_X_FORWARDED_PROTO);
        FIELD('p', "proxy-authenticate", FIELD_OF_CONNECTION);
        FIELD('p', "proxy-authorization", FIELD_OF_CONNECTION);
    }
#undef FIELD
    if (len == sizeof(x_accel) - 1 && begins_as(name, x_accel, len))
        return FIELD_X_ACCEL_BUFFERING;
    return begins_as(name, x_forwarded, sizeof(x_forwarded) - 1) ? FIELD_X_FORWARDED : FIELD_OTHER;
}

bool
fields_list_has(const char *list, const char *name)
{
    const size_t len = strlen(name);

    for (list += strspn(list, SEPARATORS); *list != '\0'; list += strspn(list, SEPARATORS)) {
        const size_t token = strcspn(list, SEPARATORS);

        if (token == len && strncasecmp(list, name, len) == 0)
            return true;
        list += token;
    }
    return false;
}

/* Those that a Connection names are the connection's, too; the length is nobody's to take away. */
static void
obey_connection(const td_header_line *lines, size_t count, const char *list, unsigned char *are)
{
    for (size_t i = 0; i < count; i++)
        if (are[i] != FIELD_CONNECTION && are[i] != FIELD_LENGTH &&
            fields_list_has(list, lines[i].name))
            are[i] = FIELD_OF_CONNECTION;
}

/* What each of them is, an enum field. */
static const unsigned char *
look_at(td_handler *h, const td_header_line *lines, size_t count)
{
    unsigned char *are = td_alloc(h, count);
    bool has_connection = false;

    for (size_t i = 0; i < count; i++) {
        are[i] = (unsigned char)find_field(lines[i].name, strlen(lines[i].name));
        has_connection |= are[i] == FIELD_CONNECTION;
    }
    for (size_t i = 0; has_connection && i < count; i++)
        if (are[i] == FIELD_CONNECTION)
            obey_connection(lines, count, lines[i].value, are);
    return are;
}

/* ---- the request */

#define OURS_MAX 8 /* lines that we add */

struct lines {
    td_header_line *items;
    size_t count;
};

static void
add_line(struct lines *lines, const char *name, const char *value)
{
    lines->items[lines->count++] = (td_header_line){name, value};
}

static bool
is_passed(const struct relay *relay, enum field field)
{
    const enum telling x_forwarded = relay->gateway->x_forwarded;

    switch (field) {
    case FIELD_CONNECTION:
    case FIELD_OF_CONNECTION:
    case FIELD_LENGTH:
    case FIELD_HOST:
    case FIELD_EXPECT:
        return false;
    case FIELD_MAX_FORWARDS:
        return relay->hops < 0;
    case FIELD_FORWARDED:
        return relay->gateway->forwarded == TELL_PASS;
    case FIELD_X_FORWARDED_FOR:
        return x_forwarded == TELL_PASS;
    case FIELD_X_FORWARDED_HOST:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED:
        return x_forwarded == TELL_PASS || x_forwarded == TELL_ADD;
    default:
        return true;
    }
}

/* Those of the client that go along; true in told[field] when there was such a one. */
static void
add_passed(const struct relay *relay, struct lines *lines, const td_header_line *from, size_t count,
           bool *told)
{
    const unsigned char *are = look_at(relay->h, from, count);

    for (size_t i = 0; i < count; i++) {
        if (!is_passed(relay, are[i]) ||
            (!relay->settings->underscores && strchr(from[i].name, '_') != NULL))
            continue;
        told[are[i]] = true;
        add_line(lines, from[i].name, from[i].value);
    }
}

/* "before, behind" */
static const char *
join(td_handler *h, td_str before, td_str behind)
{
    char *text = td_alloc(h, before.len + 2 + behind.len + 1), *at = text;

    at = mempcpy(at, before.ptr, before.len);
    at = mempcpy(at, ", ", 2);
    memcpy(at, behind.ptr, behind.len);
    return text;
}

/* Of scheme and host counts what the client says of them, if that went along. */
static void
add_x_forwarded(const struct relay *relay, struct lines *lines, const bool *told)
{
    td_handler *h = relay->h;
    const td_str address = td_request_remote_addr(h);
    const td_str before = relay->gateway->x_forwarded == TELL_ADD
                              ? td_request_header(h, "X-Forwarded-For")
                              : td_str_make(NULL, 0);

    add_line(lines, "X-Forwarded-For",
             td_str_is_null(before) ? address.ptr : join(h, before, address));
    if (!told[FIELD_X_FORWARDED_PROTO])
        add_line(lines, "X-Forwarded-Proto", td_request_scheme(h).ptr);
    if (!told[FIELD_X_FORWARDED_HOST])
        add_line(lines, "X-Forwarded-Host", td_request_host(h).ptr);
}

/* RFC 9110 section 5.6.4: what is put behind a string that does not end would be inside it. */
static bool
ends_its_strings(td_str value)
{
    bool is_inside = false;

    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '"')
            is_inside = !is_inside;
        else if (value.ptr[i] == '\\' && is_inside)
            i++;
    }
    return !is_inside;
}

/* RFC 7239 section 4: an address of IPv6 has brackets, and with them quotes. */
static void
add_forwarded(const struct relay *relay, struct lines *lines)
{
    td_handler *h = relay->h;
    const td_str address = td_request_remote_addr(h);
    const td_str before = td_request_header(h, "Forwarded");
    const bool is_unix = td_str_equal(address, TD_STR("unix:"));
    const bool is_v6 = !is_unix && strchr(address.ptr, ':') != NULL;
    const td_str node = is_unix ? TD_STR("unknown")
                        : is_v6 ? td_sprintf(h, "\"[%.*s]\"", TD_STR_FMT(address))
                                : address;
    const td_str ours = td_sprintf(h, "for=%.*s;host=\"%.*s\";proto=%.*s", TD_STR_FMT(node),
                                   TD_STR_FMT(td_request_host(h)), TD_STR_FMT(td_request_scheme(h)));
    const bool is_first = relay->gateway->forwarded == TELL_SET || td_str_is_null(before) ||
                          !ends_its_strings(before);

    add_line(lines, "Forwarded", is_first ? ours.ptr : join(h, before, ours));
}

/* RFC 9110 section 7.6.3: the protocol as it came, and who we are; behind those before us. */
static const char *
find_via(const struct relay *relay)
{
    const td_str version = td_request_version(relay->h);

    return relay->gateway->via[version.ptr[version.len - 1] != '0'];
}

int64_t
fields_find_hops(td_handler *h)
{
    const td_str method = td_request_method(h);
    td_str hops;

    if (!td_str_equal(method, TD_STR("OPTIONS")) && !td_str_equal(method, TD_STR("TRACE")))
        return -1;
    hops = td_request_header(h, "Max-Forwards");
    if (hops.len == 0 || strspn(hops.ptr, "0123456789") != hops.len)
        return -1;
    return strtoll(hops.ptr, NULL, 10);
}

void
fields_of_request(struct relay *relay)
{
    const struct settings *settings = relay->settings;
    const struct gateway *gateway = relay->gateway;
    bool told[FIELD_X_ACCEL_BUFFERING + 1] = {false};
    const td_header_line *from;
    const size_t count = td_request_headers(relay->h, &from);
    struct lines lines = {td_alloc(relay->h, (count + OURS_MAX) * sizeof(*from)), 0};

    if (settings->host[0] != '\0')
        add_line(&lines, "Host", settings->host);
    else if (settings->pass_host && td_request_host(relay->h).len > 0) /* else it has said none */
        add_line(&lines, "Host", td_request_host(relay->h).ptr);
    add_passed(relay, &lines, from, count, told);
    if (relay->hops > 0)
        add_line(&lines, "Max-Forwards", td_sprintf(relay->h, "%lld", (long long)relay->hops - 1).ptr);
    if (find_via(relay) != NULL)
        add_line(&lines, "Via", find_via(relay));
    if (gateway->x_forwarded == TELL_SET || gateway->x_forwarded == TELL_ADD)
        add_x_forwarded(relay, &lines, told);
    if (gateway->forwarded == TELL_SET || gateway->forwarded == TELL_ADD)
        add_forwarded(relay, &lines);
    relay->headers = lines.items;
    relay->headers_count = lines.count;
}

/* ---- the answer */

void
fields_of_answer(struct relay *relay, const td_response *answer)
{
    td_handler *h = relay->h;
    const td_header_line *lines = answer->headers;
    const unsigned char *are = look_at(h, lines, answer->headers_count);

    relay->buffers = true;
    if (answer->status != 101) /* that one is td_detach's to say */
        td_set_status(h, answer->status, answer->reason.len > 0 ? answer->reason.ptr : NULL);
    td_clear_header(h, "Server");
    td_clear_header(h, "Content-Type");
    td_set_etag(h, NULL); /* it is for the upstream to have one */
    for (size_t i = 0; i < answer->headers_count; i++) {
        if (are[i] == FIELD_LENGTH)
            td_set_header(h, lines[i].name, lines[i].value);
        else if (are[i] != FIELD_CONNECTION && are[i] != FIELD_OF_CONNECTION &&
                 are[i] != FIELD_DATE)
            td_add_header(h, lines[i].name, lines[i].value);
        if (are[i] == FIELD_X_ACCEL_BUFFERING && strcmp(lines[i].value, "no") == 0)
            relay->buffers = false;
    }
}

/* ---- the settings */

int
fields_parse_telling(const char *key, const char *text, enum telling *out, td_err *err)
{
    static const char *const names[] = {
        [TELL_SET] = "set", [TELL_ADD] = "add", [TELL_DROP] = "drop", [TELL_PASS] = "pass"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum telling)i;
            return 0;
        }
    return td_err_set(err, TD_ECONFIG, "%s = %s: is none of set, add, drop, pass", key, text);
}
