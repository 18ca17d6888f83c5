/* Goal: requests share a connection when, and only when, it leads to the same place in the same way. */
#include "http/origin.h"
#include "http/uri.h"
#include "unit.h"

static const struct {
    const char *a, *b;
    bool same;
} pairs[] = {
    {"http://a.example/", "http://a.example/x?y", true},
    {"http://a.example/", "http://A.EXAMPLE:80/", true},
    {"http://a.example:/", "http://u:p@a.example/", true},
    {"http://a.example:8080/", "http://u:p@A.example:8080", true},
    {"http://a:81/", "http://A:81/", true},
    {"http://[::1]:8080/", "http://[::1]:8080/", true},
    {"https://a.example/", "https://A.example:443/", true},
    {"http://a.example/", "http://a.example:8080/", false},
    {"http://a.example/", "http://b.example/", false},
    {"http://a.example/", "https://a.example/", false},
    {"http://a.example:443/", "https://a.example/", false},
    {"http://https/", "https://https/", false},
};

static td_origin
origin_of(const char *url)
{
    td_uri uri;

    ck_assert(td_uri_parse(td_str_of(url), &uri));
    return (td_origin){.is_https = uri.is_https,
                       .host = uri.host,
                       .authority = uri.authority,
                       .port = uri.port,
                       .ssl = {.size = sizeof(td_ssl_options)}};
}

START_TEST(a_place_has_one_key_however_it_is_spelt)
{
    const td_origin a = origin_of(pairs[_i].a), b = origin_of(pairs[_i].b);
    td_arena arena;

    td_arena_init(&arena);
    ck_assert_int_eq(td_str_equal(td_origin_key(&arena, &a), td_origin_key(&arena, &b)),
                     pairs[_i].same);
    td_arena_fini(&arena);
}
END_TEST

START_TEST(another_way_is_another_key)
{
    const td_origin straight = origin_of("http://a.example:8080/");
    td_origin by_socket = straight, by_proxy = straight, by_v4 = straight, by_v6 = straight;
    td_arena arena;

    by_socket.unix_socket = "/run/a.sock";
    by_proxy.proxy_host = "a.example";
    by_proxy.proxy_port = 8080;
    by_v4.family = AF_INET;
    by_v6.family = AF_INET6;
    td_arena_init(&arena);
    const td_str keys[] = {td_origin_key(&arena, &straight), td_origin_key(&arena, &by_socket),
                           td_origin_key(&arena, &by_proxy), td_origin_key(&arena, &by_v4),
                           td_origin_key(&arena, &by_v6)};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        for (size_t j = 0; j < i; j++)
            ck_assert(!td_str_equal(keys[i], keys[j]));
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_place_has_one_key_however_it_is_spelt, pairs);
    tcase_add_test(tcase, another_way_is_another_key);
}

int
main(void)
{
    return unit_run("origin", fill);
}
