/*
 * Goal: the proxy of the settings is read as it stands, and is for just those servers that it is
 * for.
 */
#include <errno.h>
#include <unistd.h>
#include "base/clientproxy.h"
#include "on_arena.h"

static td_err err;

static const struct {
    const char *text, *host; /* NULL: it is refused */
    uint16_t port;
} proxies[] = {
    {"proxy.internal:3128", "proxy.internal", 3128}, {"10.0.0.1:80", "10.0.0.1", 80},
    {"[::1]:8080", "[::1]", 8080},
    {"proxy.internal", NULL, 0}, {"proxy.internal:", NULL, 0}, {"proxy.internal:0", NULL, 0},
    {"proxy.internal:65536", NULL, 0}, {":3128", NULL, 0}, {"::1", NULL, 0}, {"::1:80:", NULL, 0},
    {"http://proxy.internal:3128", NULL, 0}, {"jack:secret@proxy.internal:3128", NULL, 0},
    {"a b:1", NULL, 0}, {"[proxy]:1", NULL, 0}, {"", NULL, 0}, {".:1", NULL, 0},
};

START_TEST(a_proxy_is_a_host_and_a_port)
{
    td_client_proxy proxy = {0};
    const int rc = td_client_proxy_parse(&arena, proxies[_i].text, &proxy, &err);

    if (proxies[_i].host == NULL) {
        ck_assert_int_eq(rc, TD_ECONFIG);
        ck_assert_ptr_null(proxy.host);
    } else {
        ck_assert_int_eq(rc, 0);
        ck_assert_str_eq(proxy.host, proxies[_i].host);
        ck_assert_uint_eq(proxy.port, proxies[_i].port);
    }
}
END_TEST

static const struct {
    const char *text, *username, *password; /* NULL: it is refused */
} files[] = {
    {"jack:secret\n", "jack", "secret"}, {"jack:se:cret", "jack", "se:cret"},
    {" 12:34 \r\n", "12", "34"},         {"jack:", "jack", ""},
    {"jack\n", NULL, NULL},              {"jack:secret\njill:secret\n", NULL, NULL},
    {"", NULL, NULL},
};

START_TEST(credentials_are_one_line)
{
    char path[] = "/tmp/test_clientproxy.XXXXXX";
    td_client_proxy proxy = {0};
    const int fd = mkstemp(path);
    const td_str text = td_str_of(files[_i].text);

    ck_assert_int_eq(write(fd, text.ptr, text.len), (ssize_t)text.len);
    close(fd);
    const int rc = td_client_proxy_read_credentials(&arena, path, &proxy, &err);

    unlink(path);
    if (files[_i].username == NULL) {
        ck_assert_int_eq(rc, TD_ECONFIG);
        ck_assert_ptr_null(strstr(err.text, "secret"));
    } else {
        ck_assert_int_eq(rc, 0);
        ck_assert_str_eq(proxy.username, files[_i].username);
        ck_assert_str_eq(proxy.password, files[_i].password);
    }
}
END_TEST

START_TEST(a_file_that_is_not_there_is_told)
{
    td_client_proxy proxy = {0};

    ck_assert_int_eq(td_client_proxy_read_credentials(&arena, "/nowhere/at/all", &proxy, &err),
                     -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "/nowhere/at/all"));
}
END_TEST

static const struct {
    const char *list;
    const char *direct, *by_proxy; /* HOST or HOST:PORT, blanks between */
} lists[] = {
    {"", "localhost LOCALHOST a.localhost 127.0.0.1 127.9.9.9 ::1 [::1]:80 ::ffff:127.0.0.1",
     "example.com localhost.example.com notlocalhost 128.0.0.1 ::2 10.0.0.1"},
    {"example.com", "example.com EXAMPLE.com www.example.com a.b.example.com:8080",
     "notexample.com example.com.org example.co com"},
    {".example.com", "www.example.com a.b.example.com", "example.com notexample.com"},
    {"*.example.com", "www.example.com", "example.com"},
    {"example.com:8080", "example.com:8080 www.example.com:8080", "example.com example.com:80"},
    {"a.test, b.test,,c.test\tD.test", "a.test b.test c.test d.test x.d.test", "e.test"},
    {"10.0.0.1", "10.0.0.1 10.0.0.1:8080 ::ffff:10.0.0.1", "10.0.0.2 1.10.0.0.1 110.0.0.1"},
    {"10.0.0.1:8080", "10.0.0.1:8080", "10.0.0.1:80 10.0.0.1"},
    {"10.0.0.0/8", "10.0.0.1 10.255.255.255:1", "11.0.0.1 ten.test"},
    {"fd00::/8, [2001:db8::1]:443, fe80::1", "fd12::1 [2001:db8::1]:443 fe80::1",
     "[2001:db8::1]:80 fe80::2"},
    {"*", "example.com 10.0.0.1 ::2", ""},
    {"0.0.0.0/0", "1.2.3.4", "example.com ::2"},
};

static void
check_words(const td_client_proxy *proxy, const char *list, const char *words, bool expected)
{
    for (words += strspn(words, " "); *words != '\0'; words += strspn(words, " ")) {
        const td_str word = td_str_make(words, strcspn(words, " "));
        td_str host;
        uint16_t port;

        ck_assert(td_port_split(word, &host, &port));
        ck_assert_msg(td_client_proxy_is_for(proxy, host, port != 0 ? port : 443) == expected,
                      "%.*s of %s", TD_STR_FMT(word), list);
        words += word.len;
    }
}

START_TEST(some_servers_are_asked_without_it)
{
    td_client_proxy proxy = {.host = "proxy", .port = 1};

    ck_assert_int_eq(td_client_proxy_parse_bypasses(&arena, lists[_i].list, &proxy, &err), 0);
    check_words(&proxy, lists[_i].list, lists[_i].direct, false);
    check_words(&proxy, lists[_i].list, lists[_i].by_proxy, true);
    proxy.host = NULL;
    check_words(&proxy, lists[_i].list, lists[_i].by_proxy, false);
}
END_TEST

static const struct {
    const char *list, *says;
} faults[] = {
    {"example.com:http", "'example.com:http': the port is none"},
    {"example.com:", "'example.com:': the port is none"},
    {"10.0.0.0/33", "the prefix is not between 0 and 32"},
    {"10.0.0.1/8", "the network is 10.0.0.0/8, the address alone 10.0.0.1"},
    {"www.*.com", "'www.*.com' is no host, address or network"},
    {"http://a", "is no network"},
    {"a.test, .", "'.' is no host, address or network"},
    {"a:b:c", "'a:b:c' is no host, address or network"},
};

START_TEST(what_is_wrong_in_the_list_is_said)
{
    td_client_proxy proxy = {0};

    ck_assert_int_eq(td_client_proxy_parse_bypasses(&arena, faults[_i].list, &proxy, &err),
                     TD_ECONFIG);
    ck_assert_msg(strstr(err.text, faults[_i].says) != NULL, "%s", err.text);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    ADD_TABLE(tcase, a_proxy_is_a_host_and_a_port, proxies);
    ADD_TABLE(tcase, credentials_are_one_line, files);
    tcase_add_test(tcase, a_file_that_is_not_there_is_told);
    ADD_TABLE(tcase, some_servers_are_asked_without_it, lists);
    ADD_TABLE(tcase, what_is_wrong_in_the_list_is_said, faults);
}

int
main(void)
{
    return unit_run("clientproxy", fill);
}
