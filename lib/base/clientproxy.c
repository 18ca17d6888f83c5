#include "base/clientproxy.h"

#include <string.h>
#include "base/escape.h"
#include "base/secrets.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

static td_str
without_brackets(td_str host)
{
    const bool has = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';

    return has ? td_str_make(host.ptr + 1, host.len - 2) : host;
}

static bool
is_name(td_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (memchr(NAME_CHARACTERS, text.ptr[i], strlen(NAME_CHARACTERS)) == NULL)
            return false;
    return text.len > 0 && text.ptr[0] != '.';
}

/* ---- the proxy */

int
td_client_proxy_parse(td_arena *arena, const char *text, td_client_proxy *proxy, td_err *err)
{
    td_address address;
    td_str host;
    uint16_t port;

    if (!td_port_split(td_str_of(text), &host, &port) || port == 0 ||
        !(is_name(host) || td_address_parse(without_brackets(host), &address)))
        return td_err_set(err, TD_ECONFIG, "'%s' is not HOST:PORT", text);
    proxy->host = td_str_dup(arena, host).ptr;
    proxy->port = port;
    return 0;
}

int
td_client_proxy_read_credentials(td_arena *arena, const char *path, td_client_proxy *proxy,
                                 td_err *err)
{
    td_str text;
    const int rc = td_secrets_read_text(arena, path, &text, err);

    if (rc < 0)
        return rc;
    while (text.len > 0 && strchr("\r\n\t ", text.ptr[text.len - 1]) != NULL)
        text.len--;
    text = td_str_trim(text);
    const char *colon = memchr(text.ptr, ':', text.len);

    if (colon == NULL || memchr(text.ptr, '\n', text.len) != NULL ||
        memchr(text.ptr, '\0', text.len) != NULL)
        return td_err_set(err, TD_ECONFIG, "%s: is not one line USER:PASSWORD", path);
    proxy->username = td_str_dup(arena, td_str_make(text.ptr, (size_t)(colon - text.ptr))).ptr;
    proxy->password =
        td_str_dup(arena, td_str_make(colon + 1, (size_t)(text.ptr + text.len - colon - 1))).ptr;
    return 0;
}

/* ---- what it is not for */

static bool
take_name(td_str name, td_bypass *out)
{
    if (name.len > 1 && name.ptr[0] == '*' && name.ptr[1] == '.')
        name = td_str_make(name.ptr + 1, name.len - 1);
    out->is_below = name.len > 0 && name.ptr[0] == '.';
    out->name = out->is_below ? td_str_make(name.ptr + 1, name.len - 1) : name;
    return is_name(out->name);
}

static int
parse_bypass(td_arena *arena, td_str text, td_bypass *out, td_err *err)
{
    const bool is_network = memchr(text.ptr, '/', text.len) != NULL;
    td_address address;
    td_str host = text;

    if (td_str_equal(text, TD_STR("*"))) {
        out->is_for_all = true;
        return 0;
    }
    if (!is_network && !td_port_split(text, &host, &out->port))
        return td_err_set(err, TD_ECONFIG, "'%.*s': the port is none", TD_STR_FMT(text));
    host = without_brackets(host);
    if (is_network || td_address_parse(host, &address))
        return td_networks_parse(arena, td_str_dup(arena, host).ptr, &out->networks, err);
    if (!take_name(host, out))
        return td_err_set(err, TD_ECONFIG, "'%.*s' is no host, address or network",
                          TD_STR_FMT(text));
    return 0;
}

int
td_client_proxy_parse_bypasses(td_arena *arena, const char *text, td_client_proxy *proxy,
                               td_err *err)
{
    static const char between[] = ", \t";
    td_bypass *bypasses = TD_ARENA_ARRAY(arena, td_bypass, strlen(text) / 2 + 1);
    size_t count = 0;

    for (text += strspn(text, between); *text != '\0'; text += strspn(text, between)) {
        const td_str entry = td_str_make(text, strcspn(text, between));
        const int rc = parse_bypass(arena, entry, &bypasses[count++], err);

        if (rc < 0)
            return rc;
        text += entry.len;
    }
    proxy->bypasses = bypasses;
    proxy->bypasses_count = count;
    return 0;
}

/* ---- which way */

static bool
is_below(td_str host, td_str name)
{
    return host.len > name.len + 1 && host.ptr[host.len - name.len - 1] == '.' &&
           td_str_equal_nocase(td_str_make(host.ptr + host.len - name.len, name.len), name);
}

static bool
is_named(td_str host, td_str name)
{
    return td_str_equal_nocase(host, name) || is_below(host, name);
}

/* 127.0.0.0/8 (RFC 1122 section 3.2.1.3), ::1. */
static bool
loops_back(const td_address *address)
{
    static const uint8_t one[16] = {[15] = 1};

    return address->len == 4 ? address->bytes[0] == 127 : memcmp(address->bytes, one, 16) == 0;
}

bool
td_client_proxy_is_for(const td_client_proxy *proxy, td_str host, uint16_t port)
{
    td_address address;
    bool is_address;

    if (proxy->host == NULL)
        return false;
    host = without_brackets(host);
    is_address = td_address_parse(host, &address);
    if (is_address ? loops_back(&address) : is_named(host, TD_STR("localhost")))
        return false;
    for (size_t i = 0; i < proxy->bypasses_count; i++) {
        const td_bypass *bypass = &proxy->bypasses[i];

        if (bypass->is_for_all)
            return false;
        if (bypass->port != 0 && bypass->port != port)
            continue;
        if (is_address
                ? td_networks_have(&bypass->networks, address.bytes, address.len)
                : bypass->name.ptr != NULL && (bypass->is_below ? is_below(host, bypass->name)
                                                                : is_named(host, bypass->name)))
            return false;
    }
    return true;
}
