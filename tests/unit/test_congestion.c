/*
 * Goal: a path inside of the machine has the simplest congestion control, and any other what the
 * system or the operator wants.
 */
#include "base/congestion.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/value.h"
#include "unit.h"

static int fd;
static char systems[16];

static const char *
congestion_of(int of)
{
    static char name[16];
    socklen_t len = sizeof(name) - 1;

    memset(name, 0, sizeof(name));
    ck_assert_int_eq(getsockopt(of, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    return name;
}

static void
setup(void)
{
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    strcpy(systems, congestion_of(fd));
}

static void
teardown(void)
{
    close(fd);
}

static int
set(const char *address, const char *name)
{
    struct sockaddr_storage parsed;
    socklen_t len;

    ck_assert_int_eq(td_value_parse_address(address, &parsed, &len, NULL), 0);
    return td_congestion_set(fd, (struct sockaddr *)&parsed, name);
}

static const struct {
    const char *address;
    bool is_local;
} addresses[] = {
    {"127.0.0.1:1", true},  {"127.9.9.9:1", true}, {"[::1]:1", true},   {"unix:/x", true},
    {"128.0.0.1:1", false}, {"0.0.0.0:1", false},  {"[::]:1", false},   {"[::2]:1", false},
};

START_TEST(only_this_machine_reaches_a_local_one)
{
    struct sockaddr_storage address;
    socklen_t len;

    ck_assert_int_eq(td_value_parse_address(addresses[_i].address, &address, &len, NULL), 0);
    ck_assert_int_eq(td_sockaddr_is_local((struct sockaddr *)&address), addresses[_i].is_local);
}
END_TEST

START_TEST(auto_is_the_simplest_on_this_machine_and_else_the_systems)
{
    ck_assert_int_eq(set("127.0.0.1:1", "auto"), 0);
    ck_assert_str_eq(congestion_of(fd), "reno");
    ck_assert_int_eq(set("0.0.0.0:1", "auto"), 0);
    ck_assert_str_eq(congestion_of(fd), systems);
}
END_TEST

START_TEST(a_name_is_meant_everywhere)
{
    ck_assert_int_eq(set("0.0.0.0:1", "reno"), 0);
    ck_assert_str_eq(congestion_of(fd), "reno");
    ck_assert_int_eq(set("127.0.0.1:1", "system"), 0);
    ck_assert_str_eq(congestion_of(fd), systems);
    ck_assert_int_eq(set("127.0.0.1:1", "ronin"), -ENOENT);
    ck_assert_str_eq(congestion_of(fd), systems);
    ck_assert_int_eq(set("unix:/x", "reno"), 0);
}
END_TEST

START_TEST(what_there_is_can_be_asked)
{
    char names[256];

    td_congestion_names(names, sizeof(names));
    ck_assert_ptr_nonnull(strstr(names, "reno"));
    ck_assert_ptr_null(strchr(names, '\n'));
    ck_assert(td_congestion_is_known("reno"));
    ck_assert(td_congestion_is_known("auto"));
    ck_assert(td_congestion_is_known("system"));
    ck_assert(!td_congestion_is_known("ronin"));
    ck_assert(!td_congestion_is_known(""));
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    ADD_TABLE(tcase, only_this_machine_reaches_a_local_one, addresses);
    tcase_add_test(tcase, auto_is_the_simplest_on_this_machine_and_else_the_systems);
    tcase_add_test(tcase, a_name_is_meant_everywhere);
    tcase_add_test(tcase, what_there_is_can_be_asked);
}

int
main(void)
{
    return unit_run("congestion", fill);
}
