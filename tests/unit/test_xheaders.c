/*
 * Goal: the client is the nearest address behind the proxies that are trusted, told by the headers
 * that the setting names and by no others, and nothing that a client sends makes it another.
 */
#include "http/xheaders.h"

#include <stdio.h>
#include <string.h>
#include "http/request_internal.h"
#include "unit.h"

enum {
    ON = TD_XHEADERS_ON,
    XFF = TD_XHEADERS_FORWARDED_FOR,
    REAL = TD_XHEADERS_REAL_IP,
    FWD = TD_XHEADERS_FORWARDED,
};

/* The peer is 10.0.0.1; trusted are 10.0.0.0/8, fd00::/8 and unix:. */
static const struct {
    int kind;
    const char *headers;
    const char *client; /* address and scheme */
    int port;
} rows[] = {
    /* nothing is said, or nothing that is asked for */
    {ON, "", "10.0.0.1 http", 9},
    {XFF, "X-Real-Ip: 1.1.1.1\r\nX-Scheme: https\r\nForwarded: for=1.1.1.1;proto=https\r\n",
     "10.0.0.1 http", 9},
    {REAL, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n",
     "10.0.0.1 http", 9},
    {FWD, "X-Forwarded-For: 1.1.1.1\r\nX-Real-Ip: 1.1.1.1\r\nX-Scheme: https\r\n", "10.0.0.1 http",
     9},
    {ON, "Forwarded: for=1.1.1.1;proto=https\r\n", "10.0.0.1 http", 9},

    /* X-Forwarded-For from the end, behind those that are trusted */
    {XFF, "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.9.9.9\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: 10.3.3.3, 10.2.2.2\r\n", "10.3.3.3 http", 0},
    {XFF, "X-Forwarded-For:   ,1.1.1.1\t, ,\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: 1.1.1.1:4711\r\n", "1.1.1.1 http", 4711},
    {XFF, "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1 http", 0},
    {XFF, "X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1 http", 0},
    {XFF, "X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1 http", 80},
    {XFF, "X-Forwarded-For: 1.1.1.1, fd00::7, ::ffff:10.1.1.1\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: ::ffff:1.1.1.1\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: 1.1.1.1, unix:\r\n", "1.1.1.1 http", 0},
    {XFF, "X-Forwarded-For: unix:\r\n", "unix: http", 0},

    /* nonsense ends the way, and what is in front of it is not looked at */
    {XFF, "X-Forwarded-For: 1.1.1.1, unknown\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: 1.1.1.1, unknown, 10.2.2.2\r\n", "10.2.2.2 http", 0},
    {XFF, "X-Forwarded-For: \"1.1.1.1\"\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: 1.2\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: 1.1.1.1:\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: 1.1.1.1:65536\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: [1.1.1.1]:80\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: [2001:db8::1\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: [2001:db8::1]80\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: [2001:db8::1%eth0]\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: [:\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: ]:1\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-For: \", 1.1.1.1\r\n", "1.1.1.1 http", 0},

    /* schemes */
    {XFF, "X-Forwarded-Proto: https\r\n", "10.0.0.1 https", 9},
    {XFF, "X-Forwarded-Proto: http, HTTPS\r\n", "10.0.0.1 https", 9},
    {XFF, "X-Forwarded-Proto: https, http\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-Proto: ftp\r\n", "10.0.0.1 http", 9},
    {XFF, "X-Forwarded-Proto:\r\n", "10.0.0.1 http", 9},
    {REAL, "X-Scheme: https\r\n", "10.0.0.1 https", 9},
    {ON, "X-Scheme: https\r\nX-Forwarded-Proto: http\r\n", "10.0.0.1 https", 9},
    {ON, "X-Forwarded-Proto: https\r\n", "10.0.0.1 https", 9},

    /* X-Real-Ip */
    {REAL, "X-Real-Ip: 1.1.1.1\r\n", "1.1.1.1 http", 0},
    {REAL, "X-Real-Ip: [::1]:5\r\n", "::1 http", 5},
    {REAL, "X-Real-Ip: 1.1.1.1, 2.2.2.2\r\n", "10.0.0.1 http", 9},
    {REAL, "X-Real-Ip: 1.1.1.1\r\nX-Real-Ip: 2.2.2.2\r\n", "10.0.0.1 http", 9},
    {REAL, "X-Real-Ip:\r\n", "10.0.0.1 http", 9},
    {ON, "X-Forwarded-For: 1.1.1.1\r\nX-Real-Ip: 2.2.2.2\r\n", "2.2.2.2 http", 0},
    {ON, "X-Forwarded-For: 1.1.1.1\r\nX-Real-Ip: 1.2\r\n", "1.1.1.1 http", 0},

    /* RFC 7239 */
    {FWD, "Forwarded: for=1.1.1.1\r\n", "1.1.1.1 http", 0},
    {FWD, "Forwarded: for=1.1.1.1;proto=https;by=10.0.0.1;host=h\r\n", "1.1.1.1 https", 0},
    {FWD, "Forwarded: Proto=HTTPS; FOR=\"1.1.1.1:80\"\r\n", "1.1.1.1 https", 80},
    {FWD, "forwarded: for=\"[2001:db8::1]:4711\"\r\n", "2001:db8::1 http", 4711},
    {FWD, "Forwarded: for=[2001:db8::1]\r\n", "2001:db8::1 http", 0},
    {FWD, "Forwarded: for=\"1.1.1.1:_gazonk\"\r\n", "1.1.1.1 http", 0},
    {FWD, "Forwarded: for=6.6.6.6, for=1.1.1.1;proto=https, for=10.2.2.2;proto=http\r\n",
     "1.1.1.1 https", 0},
    {FWD, "Forwarded: for=6.6.6.6\r\nForwarded: for=1.1.1.1\r\n", "1.1.1.1 http", 0},
    {FWD, "Forwarded: ;;for=1.1.1.1;;\r\n", "1.1.1.1 http", 0},
    {FWD, "Forwarded: secret=\"a, \\\" for=6.6.6.6; b\";for=1.1.1.1\r\n", "1.1.1.1 http", 0},
    {FWD, "Forwarded: for=1.1.1.1;x=\"\\\\\"\r\n", "1.1.1.1 http", 0},

    /* who hides is not known, and neither is who stands in front of him */
    {FWD, "Forwarded: for=unknown;proto=https\r\n", "10.0.0.1 https", 9},
    {FWD, "Forwarded: for=1.1.1.1, for=_hidden\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: for=_hidden, for=10.2.2.2\r\n", "10.2.2.2 http", 0},
    {FWD, "Forwarded: for=1.1.1.1, proto=https\r\n", "10.0.0.1 https", 9},

    /* an element that is none says nothing */
    {FWD, "Forwarded: for=6.6.6.6;for=1.1.1.1\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: proto=https;proto=http;for=1.1.1.1\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: 1.1.1.1\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: for\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: for=\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: for=\"1.1.1.1\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: for=\"1.1\\.1.1\"\r\n", "10.0.0.1 http", 9},
    {FWD, "Forwarded: for=\"\r\n", "10.0.0.1 http", 9},

    /* a quote that a client has opened swallows nothing of what the proxy has appended */
    {FWD, "Forwarded: for=\", for=1.1.1.1;proto=https\r\n", "1.1.1.1 https", 0},
    {FWD, "Forwarded: for=\"\r\nForwarded: for=\"[2001:db8::1]\"\r\n", "2001:db8::1 http", 0},
    {FWD, "Forwarded: for=\"\\, for=\"1.1.1.1:80\"\r\n", "1.1.1.1 http", 80},
    {FWD, "Forwarded: \", for=1.1.1.1, for=10.2.2.2\r\n", "1.1.1.1 http", 0},

    /* it is another one's host that is told: not looked at */
    {ON, "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n", "10.0.0.1 http", 9},
};

static td_listener_settings settings;

static td_request *
make_request(const char *headers)
{
    static const td_head_limits limits = {8192, 32768, 256};
    td_request *request = td_request_create();
    td_head_parser parser = {0};
    td_head_error error;
    td_address peer;
    const td_str text = td_arena_sprintf(&request->arena, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n",
                                         headers);

    ck_assert_msg(td_head_parse(&parser, text.ptr, text.len, &limits, &request->arena,
                                &request->head, &error) > 0,
                  "%s", headers);
    td_address_parse(TD_STR("10.0.0.1"), &peer);
    request->peer = td_peer_make(peer, 9);
    return request;
}

static void
set_up(int kind, td_arena *arena)
{
    td_arena_init(arena);
    settings.xheaders = kind;
    ck_assert_int_eq(td_networks_parse(arena, "10.0.0.0/8, fd00::/8, unix:",
                                       &settings.trusted_downstream, NULL),
                     0);
}

START_TEST(the_client_is_who_trusted_proxies_say)
{
    td_arena arena;
    td_request *request = make_request(rows[_i].headers);
    char peer[TD_PEER_TEXT_SIZE], client[64];

    set_up(rows[_i].kind, &arena);
    td_xheaders_apply(&settings, request);
    td_peer_format(&request->peer, peer);
    snprintf(client, sizeof(client), "%s %s", peer, td_request_protocol(request));
    ck_assert_msg(strcmp(client, rows[_i].client) == 0, "%s: %s", rows[_i].headers, client);
    ck_assert_int_eq(request->peer.port, rows[_i].port);
    ck_assert(td_str_equal(request->head.host, TD_STR("h")));
    td_request_unref(request);
    td_arena_fini(&arena);
}
END_TEST

START_TEST(a_scheme_is_taken_back_by_a_proxy_further_in_front)
{
    td_arena arena;
    td_request *request = make_request("X-Forwarded-Proto: http\r\n");

    set_up(XFF, &arena);
    request->https = true; /* as the PROXY protocol may have said */
    td_xheaders_apply(&settings, request);
    ck_assert_str_eq(td_request_protocol(request), "http");
    td_request_unref(request);
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, the_client_is_who_trusted_proxies_say, rows);
    tcase_add_test(tcase, a_scheme_is_taken_back_by_a_proxy_further_in_front);
}

int
main(void)
{
    return unit_run("xheaders", fill);
}
