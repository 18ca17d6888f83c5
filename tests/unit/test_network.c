/*
 * Goal: an address or network is read as it is meant or refused, and has its own addresses alone.
 */
#include "base/network.h"

#include <string.h>
#include "unit.h"

static const struct {
    const char *text;
    uint8_t len; /* 0: it is none */
    uint8_t last;
} addresses[] = {
    {"127.0.0.1", 4, 1},        {"0.0.0.0", 4, 0},     {"255.255.255.255", 4, 255},
    {"::1", 16, 1},             {"::", 16, 0},         {"2001:db8:0:0:0:0:0:ff", 16, 0xff},
    {"::ffff:10.0.0.9", 4, 9},  {"::ffff:a00:8", 4, 8}, {"::10.0.0.9", 16, 9},
    {"", 0, 0},                 {"1.2", 0, 0},         {"1.2.3", 0, 0},
    {"1.2.3.4.5", 0, 0},        {"256.1.1.1", 0, 0},   {"01.2.3.4", 0, 0},
    {"0x7f.0.0.1", 0, 0},       {" 1.2.3.4", 0, 0},    {"1.2.3.4 ", 0, 0},
    {"1.2.3.4:80", 0, 0},       {"[::1]", 0, 0},       {"::1%lo", 0, 0},
    {"localhost", 0, 0},        {"unix:", 0, 0},       {"1.2.3.4/32", 0, 0},
    {"-1.2.3.4", 0, 0},         {"+1.2.3.4", 0, 0},    {":::", 0, 0},
    {"0000:0000:0000:0000:0000:0000:0000:0000:0000", 0, 0},
    {"1111111111111111111111111111111111111111111111", 0, 0},
};

START_TEST(addresses_are_numbers)
{
    td_address address;
    const bool is_one = td_address_parse(td_str_of(addresses[_i].text), &address);

    ck_assert_msg(is_one == (addresses[_i].len > 0), "%s", addresses[_i].text);
    if (!is_one)
        return;
    ck_assert_uint_eq(address.len, addresses[_i].len);
    ck_assert_uint_eq(address.bytes[address.len - 1], addresses[_i].last);
}
END_TEST

START_TEST(a_zero_byte_ends_no_address)
{
    td_address address;

    ck_assert(!td_address_parse(td_str_make("1.2.3.4\0", 8), &address));
}
END_TEST

static const struct {
    const char *text;
    int port; /* -1: it is none */
} ports[] = {{"0", 0},   {"80", 80},  {"65535", 65535}, {"00080", 80}, {"65536", -1},
             {"", -1},   {"-1", -1},  {"+1", -1},       {"8 ", -1},    {"000080", -1},
             {"0x1", -1}};

START_TEST(ports_are_five_digits_at_most)
{
    uint16_t port;
    const bool is_one = td_port_parse(td_str_of(ports[_i].text), &port);

    ck_assert_int_eq(is_one ? port : -1, ports[_i].port);
}
END_TEST

static const struct {
    const char *text;
    const char *has, *has_not; /* blank-separated */
} lists[] = {
    {"127.0.0.1", "127.0.0.1 ::ffff:127.0.0.1", "127.0.0.2 ::1 unix: ::7f00:1"},
    {"10.0.0.0/8", "10.0.0.0 10.255.255.255", "11.0.0.0 9.255.255.255 a00::"},
    {"192.168.16.0/20", "192.168.16.0 192.168.31.255", "192.168.32.0 192.168.15.255"},
    {"192.168.1.128/25", "192.168.1.128 192.168.1.255", "192.168.1.127"},
    {"1.2.3.4/32", "1.2.3.4", "1.2.3.5"},
    {"0.0.0.0/0", "1.2.3.4 255.255.255.255", ":: unix:"},
    {"::/0", ":: ffff::", "1.2.3.4 unix:"},
    {"fd00::/8", "fd00:: fdff::1", "fe00:: 253.0.0.0"},
    {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
    {"::1/128", "::1", "::2"},
    {"::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0 ::1"},
    {"::ffff:0.0.0.0/96", "10.1.2.3", "::1"},
    {"unix:", "unix:", "0.0.0.0 ::"},
    {"10.0.0.1,10.0.0.3 ,\tfd00::/8,,unix:", "10.0.0.1 10.0.0.3 fd00::1 unix:", "10.0.0.2"},
    {" , ", "", "10.0.0.2 :: unix:"},
    {"", "", "10.0.0.2 :: unix:"},
};

static void
check_words(const td_networks *networks, const char *words, bool expected)
{
    for (words += strspn(words, " "); *words != '\0'; words += strspn(words, " ")) {
        const td_str word = td_str_make(words, strcspn(words, " "));
        td_address address = {.len = 0};

        ck_assert(td_str_equal(word, TD_STR("unix:")) || td_address_parse(word, &address));
        ck_assert_msg(td_networks_have(networks, address.bytes, address.len) == expected,
                      "%.*s in %s", TD_STR_FMT(word), networks->text);
        words += word.len;
    }
}

START_TEST(a_list_has_its_own_addresses)
{
    td_networks networks;
    td_arena arena;
    td_err err;

    td_arena_init(&arena);
    ck_assert_msg(td_networks_parse(&arena, lists[_i].text, &networks, &err) == 0, "%s", err.text);
    ck_assert((networks.text != NULL) == (networks.count > 0));
    check_words(&networks, lists[_i].has, true);
    check_words(&networks, lists[_i].has_not, false);
    td_arena_fini(&arena);
}
END_TEST

static const struct {
    const char *text, *says;
} faults[] = {
    {"localhost", "'localhost' is no network such as"},
    {"10.0.0.0/8, 1.2", "'1.2' is no network such as"},
    {"10.0.0.0/", "the prefix is not between 0 and 32"},
    {"10.0.0.0/33", "the prefix is not between 0 and 32"},
    {"10.0.0.0/8/8", "the prefix is not between 0 and 32"},
    {"10.0.0.0/-8", "the prefix is not between 0 and 32"},
    {"10.0.0.0/255.0.0.0", "the prefix is not between 0 and 32"},
    {"fd00::/129", "the prefix is not between 0 and 128"},
    {"::ffff:10.0.0.0/8", "the prefix is not between 96 and 128"},
    {"10.0.0.1/8", "'10.0.0.1/8': the network is 10.0.0.0/8, the address alone 10.0.0.1"},
    {"10.0.0.1/31", "the network is 10.0.0.0/31, the address alone 10.0.0.1"},
    {"fd00::1/8", "the network is fd00::/8, the address alone fd00::1"},
    {"::ffff:10.0.0.1/104", "the network is 10.0.0.0/8, the address alone 10.0.0.1"},
    {"unix:/run/x", "is no network such as"},
    {"/8", "is no network such as"},
};

START_TEST(what_is_no_network_is_named)
{
    td_networks networks = {.count = 7};
    td_arena arena;
    td_err err;

    td_arena_init(&arena);
    ck_assert_int_eq(td_networks_parse(&arena, faults[_i].text, &networks, &err), TD_ECONFIG);
    ck_assert_msg(strstr(err.text, faults[_i].says) != NULL, "%s", err.text);
    ck_assert_uint_eq(networks.count, 7);
    td_arena_fini(&arena);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, addresses_are_numbers, addresses);
    tcase_add_test(tcase, a_zero_byte_ends_no_address);
    ADD_TABLE(tcase, ports_are_five_digits_at_most, ports);
    ADD_TABLE(tcase, a_list_has_its_own_addresses, lists);
    ADD_TABLE(tcase, what_is_no_network_is_named, faults);
}

int
main(void)
{
    return unit_run("network", fill);
}
