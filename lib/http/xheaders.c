/*
 * Headers of proxies are lists to which each proxy appends whom it has seen, so they are read from
 * the end, and no further than the first address that is not trusted: what stands in front of it
 * was written by who knows whom, and cannot do harm by being nonsense either.
 */
#include "http/xheaders.h"

#include "base/escape.h"
#include "base/network.h"

/* One element of such a list: a proxy's word about who came to it. */
struct hop {
    td_peer peer;
    bool has_peer; /* false: not told, or hidden (RFC 7239 section 6.3) */
    td_str scheme; /* the null string: not told */
};

/* ---- addresses */

/* RFC 7239 section 6: node-port = port / obfport; of a hidden one nobody knows the number. */
static bool
parse_node_port(td_str text, uint16_t *out)
{
    if (text.len > 1 && text.ptr[0] == '_') {
        *out = 0;
        return true;
    }
    return td_port_parse(text, out);
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]", "[::1]:80", and "unix:" as nginx has it. */
static bool
parse_node(td_str text, td_peer *out)
{
    const char *end = text.ptr + text.len;
    const bool in_brackets = text.len > 0 && text.ptr[0] == '[';
    const char *colon = memchr(text.ptr, ':', text.len);
    td_str host = text;
    td_address address;
    uint16_t port = 0;

    *out = (td_peer){.port = 0};
    if (td_str_equal(text, TD_STR("unix:")))
        return true;
    if (in_brackets) {
        const char *bracket = memchr(text.ptr, ']', text.len);

        if (bracket == NULL || colon == NULL || colon > bracket)
            return false; /* and no IPv4 address stands in brackets */
        host = td_str_make(text.ptr + 1, (size_t)(bracket - text.ptr) - 1);
        colon = bracket + 1;
        if (colon < end && *colon != ':')
            return false;
    } else if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon) - 1) == NULL) {
        host.len = (size_t)(colon - text.ptr);
    } else {
        colon = end;
    }
    if (!td_address_parse(host, &address) ||
        (colon < end && !parse_node_port(td_str_make(colon + 1, (size_t)(end - colon) - 1), &port)))
        return false;
    *out = td_peer_make(address, port);
    return true;
}

static struct hop
parse_x_forwarded_for(td_str element)
{
    struct hop hop = {.has_peer = false};

    hop.has_peer = parse_node(element, &hop.peer);
    return hop;
}

/* ---- RFC 7239 */

/* forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] ); a ';' in quotes is none. */
static td_str
take_pair(td_str *element)
{
    bool is_quoted = false;
    size_t len = 0;

    while (len < element->len && (is_quoted || element->ptr[len] != ';')) {
        if (element->ptr[len] == '"')
            is_quoted = !is_quoted;
        else if (is_quoted && element->ptr[len] == '\\' && len + 1 < element->len)
            len++;
        len++;
    }

    const td_str pair = td_str_trim(td_str_make(element->ptr, len));

    len += len < element->len;
    *element = td_str_make(element->ptr + len, element->len - len);
    return pair;
}

/*
 * value = token / quoted-string.  Nothing that we look for has to be escaped, so a backslash is
 * left to be found wrong; addresses with colons are taken without their quotes, too.
 */
static td_str
unquote(td_str value)
{
    if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
        return td_str_make(value.ptr + 1, value.len - 2);
    return value;
}

/* False: it is none.  Section 4: a parameter must not occur twice in an element. */
static bool
take_parameter(td_str pair, td_str *node, td_str *scheme)
{
    const char *equals = memchr(pair.ptr, '=', pair.len);
    td_str *value = NULL;

    if (equals == NULL)
        return pair.len == 0;

    const td_str name = td_str_make(pair.ptr, (size_t)(equals - pair.ptr));

    if (td_str_equal_nocase(name, TD_STR("for")))
        value = node;
    else if (td_str_equal_nocase(name, TD_STR("proto")))
        value = scheme;
    if (value == NULL)
        return true; /* by, host, and what may come to be */
    if (!td_str_is_null(*value))
        return false;
    *value = unquote(td_str_make(equals + 1, pair.len - name.len - 1));
    return true;
}

static struct hop
parse_forwarded(td_str element)
{
    const struct hop nothing = {.has_peer = false};
    struct hop hop = nothing;
    td_str node = {NULL, 0};

    while (element.len > 0)
        if (!take_parameter(take_pair(&element), &node, &hop.scheme))
            return nothing;
    hop.has_peer = !td_str_is_null(node) && parse_node(node, &hop.peer);
    return hop;
}

/* ---- lists, from the end */

static bool
is_escaped(td_str s, size_t at)
{
    size_t backslashes = 0;

    while (backslashes < at && s.ptr[at - backslashes - 1] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/*
 * Where the last element begins.  Its quotes are matched from the end, where they are a proxy's
 * own: from the front, a client could open one that swallows what the proxy has appended.
 */
static size_t
last_element(td_str list)
{
    bool is_quoted = false;

    for (size_t i = list.len; i > 0; i--) {
        const char c = list.ptr[i - 1];

        if (c == '"' && !(is_quoted && is_escaped(list, i - 1)))
            is_quoted = !is_quoted;
        else if (c == ',' && !is_quoted)
            return i;
    }
    return 0;
}

/* The last element, trimmed, off the end of a comma list; empty ones are passed over. */
static bool
take_last(td_str *list, td_str *element_out)
{
    while (list->len > 0) {
        const size_t start = last_element(*list);

        *element_out = td_str_trim(td_str_make(list->ptr + start, list->len - start));
        list->len = start > 0 ? start - 1 : 0;
        if (element_out->len > 0)
            return true;
    }
    return false;
}

/* From proxy to proxy as long as they are trusted. */
static void
follow(const td_networks *trusted, td_str list, struct hop (*parse)(td_str element),
       struct hop *client)
{
    td_str element;

    while (take_last(&list, &element)) {
        const struct hop hop = parse(element);

        if (!td_str_is_null(hop.scheme))
            client->scheme = hop.scheme;
        if (!hop.has_peer)
            return;
        client->peer = hop.peer;
        if (!td_networks_have(trusted, hop.peer.address, hop.peer.address_len))
            return;
    }
}

/* ---- requests */

static td_str
get(td_request *request, td_str name)
{
    return td_headers_get(&request->head.headers, &request->arena, name);
}

static void
take_real_ip(td_request *request, struct hop *client)
{
    const td_str value = td_str_trim(get(request, TD_STR("X-Real-Ip")));
    td_peer peer;

    if (!td_str_is_null(value) && parse_node(value, &peer))
        client->peer = peer;
}

/* Tornado takes the last of several, too: that of the nearest proxy. */
static void
take_scheme(td_request *request, td_str name, struct hop *client)
{
    td_str list = get(request, name), scheme;

    if (take_last(&list, &scheme))
        client->scheme = scheme;
}

void
td_xheaders_apply(const td_listener_settings *settings, td_request *request)
{
    const td_xheaders kind = (td_xheaders)settings->xheaders;
    struct hop client = {.peer = request->peer};

    if (kind == TD_XHEADERS_FORWARDED)
        follow(&settings->trusted_downstream, get(request, TD_STR("Forwarded")), parse_forwarded,
               &client);
    if (kind == TD_XHEADERS_ON || kind == TD_XHEADERS_FORWARDED_FOR) {
        follow(&settings->trusted_downstream, get(request, TD_STR("X-Forwarded-For")),
               parse_x_forwarded_for, &client);
        take_scheme(request, TD_STR("X-Forwarded-Proto"), &client);
    }
    if (kind == TD_XHEADERS_ON || kind == TD_XHEADERS_REAL_IP) {
        take_real_ip(request, &client);
        take_scheme(request, TD_STR("X-Scheme"), &client);
    }
    request->peer = client.peer;
    if (td_str_equal_nocase(client.scheme, TD_STR("https")))
        request->https = true;
    else if (td_str_equal_nocase(client.scheme, TD_STR("http")))
        request->https = false;
}
