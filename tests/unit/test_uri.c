/* Goal: URIs are taken apart and put together as RFC 3986 says, and what is none is refused. */
#include "http/uri.h"
#include "unit.h"

static const struct uri_case {
    const char *text;
    bool is_good;
    const char *user_info, *authority, *host;
    int port;
    const char *path, *query;
} uris[] = {
    {"http://example.org", true, NULL, "example.org", "example.org", 80, "/", NULL},
    {"https://example.org", true, NULL, "example.org", "example.org", 443, "/", NULL},
    {"HTTP://Example.org:8080/a?b=c?d#e", true, NULL, "Example.org:8080", "Example.org", 8080, "/a",
     "b=c?d"},
    {"http://u:p%20@[::1]:1/", true, "u:p%20", "[::1]:1", "[::1]", 1, "/", NULL},
    {"http://example.org?a", true, NULL, "example.org", "example.org", 80, "/", "a"},
    {"http://example.org:/x?", true, NULL, "example.org", "example.org", 80, "/x", ""},
    {"http://a@b@c/", true, "a@b", "c", "c", 80, "/", NULL},
    {"", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"example.org", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"ftp://example.org/", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http:///path", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://example.org:0/", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://example.org:65536/", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://example.org:8a/", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://exa mple.org/", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://example.org/a b", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://example.org/a\r\nX: y", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://example.org/\xc3\xbc", false, NULL, NULL, NULL, 0, NULL, NULL},
    {"http://[::1/", false, NULL, NULL, NULL, 0, NULL, NULL},
};

static void
check_text(td_str s, const char *expected)
{
    if (expected == NULL)
        ck_assert_ptr_null(s.ptr);
    else
        ck_assert(td_str_equal(s, td_str_of(expected)));
}

static void
check_uri(const struct uri_case *c)
{
    td_uri uri;

    ck_assert_int_eq(td_uri_parse(td_str_of(c->text), &uri), c->is_good);
    if (!c->is_good)
        return;
    check_text(uri.user_info, c->user_info);
    check_text(uri.authority, c->authority);
    check_text(uri.host, c->host);
    check_text(uri.path, c->path);
    check_text(uri.query, c->query);
    ck_assert_uint_eq(uri.port, (unsigned)c->port);
}

/* Also when its host was the last one, or another one was. */
START_TEST(a_uri_is_taken_apart_or_refused)
{
    check_uri(&uris[_i]);
    check_uri(&uris[_i]);
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++)
        check_uri(&uris[i]);
}
END_TEST

/* RFC 3986 section 5.4; the base is http://a/b/c/d;p?q. */
static const struct join_case {
    const char *reference, *joined;
} joins[] = {
    {"http://g/x", "http://g/x"}, {"g", "http://a/b/c/g"},        {"./g", "http://a/b/c/g"},
    {"g/", "http://a/b/c/g/"},    {"/g", "http://a/g"},           {"//g", "http://g"},
    {"?y", "http://a/b/c/d;p?y"}, {"g?y", "http://a/b/c/g?y"},    {"#s", "http://a/b/c/d;p?q"},
    {"g#s", "http://a/b/c/g"},    {";x", "http://a/b/c/;x"},      {"g;x?y#s", "http://a/b/c/g;x?y"},
    {"", "http://a/b/c/d;p?q"},   {".", "http://a/b/c/"},         {"./", "http://a/b/c/"},
    {"..", "http://a/b/"},        {"../", "http://a/b/"},         {"../g", "http://a/b/g"},
    {"../..", "http://a/"},       {"../../g", "http://a/g"},      {"../../../g", "http://a/g"},
    {"/./g", "http://a/g"},       {"/../g", "http://a/g"},        {"g.", "http://a/b/c/g."},
    {"..g", "http://a/b/c/..g"},  {"./../g", "http://a/b/g"},     {"./g/.", "http://a/b/c/g/"},
    {"g/../h", "http://a/b/c/h"}, {"g;x=1/../y", "http://a/b/c/y"},
    {"g?y/../x", "http://a/b/c/g?y/../x"},
    {"/a b", "http://a/a%20b"},   {"/\xc3\xbc%20", "http://a/%C3%BC%20"},
    {"https://g:8443/", "https://g:8443/"},
    {"javascript:alert(1)", NULL}, {"file:///etc/passwd", NULL},  {"http://", NULL},
    {"//", NULL},
};

START_TEST(a_reference_means_what_the_rfc_says)
{
    td_arena arena;
    td_uri base;

    td_arena_init(&arena);
    ck_assert(td_uri_parse(TD_STR("http://a/b/c/d;p?q"), &base));

    const td_str joined = td_uri_join(&arena, &base, td_str_of(joins[_i].reference));

    if (joins[_i].joined == NULL)
        ck_assert_ptr_null(joined.ptr);
    else
        ck_assert_str_eq(joined.ptr, joins[_i].joined);
    td_arena_fini(&arena);
}
END_TEST

START_TEST(an_origin_is_scheme_host_and_port)
{
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"http://a/", "http://A:80/x", true},
        {"http://a/", "https://a/", false},
        {"http://a/", "http://a:81/", false},
        {"http://a:443/", "https://a/", false},
        {"http://a/", "http://b/", false},
    };

    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        td_uri a, b;

        ck_assert(td_uri_parse(td_str_of(pairs[i].a), &a));
        ck_assert(td_uri_parse(td_str_of(pairs[i].b), &b));
        ck_assert_int_eq(td_uri_same_origin(&a, &b), pairs[i].same);
    }
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_uri_is_taken_apart_or_refused, uris);
    ADD_TABLE(tcase, a_reference_means_what_the_rfc_says, joins);
    tcase_add_test(tcase, an_origin_is_scheme_host_and_port);
}

int
main(void)
{
    return unit_run("uri", fill);
}
