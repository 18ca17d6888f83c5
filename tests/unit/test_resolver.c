/*
 * Goal: names become addresses without a wait that is not needed, once for all who ask, and in
 * time.
 */
#include <tornado/resolver.h>
#include <arpa/inet.h>
#include <semaphore.h>
#include <stdint.h>
#include "io/resolver.h"
#include "waiting_actors.h"

/* ---- a name server in the same loop, which knows what its names tell it */

static int server;
static ev_io server_watcher;
static unsigned questions;
static char servers_text[32];
static unsigned ttl_s;

/* The first label of the question, and what it asks for: 1 A, 28 AAAA. */
static size_t
question_end(const uint8_t *packet, char *label, uint16_t *type)
{
    size_t at = 12;

    memcpy(label, packet + at + 1, packet[at]);
    label[packet[at]] = '\0';
    while (packet[at] != 0)
        at += packet[at] + 1u;
    *type = (uint16_t)(packet[at + 1] << 8 | packet[at + 2]);
    return at + 5;
}

static size_t
append_answer(uint8_t *packet, size_t len, uint16_t type, uint8_t last)
{
    const uint8_t record[] = {0xc0, 12,  (uint8_t)(type >> 8), (uint8_t)type, 0, 1, 0, 0, 0,
                              (uint8_t)ttl_s, 0, type == 1 ? 4 : 16};

    memcpy(packet + len, record, sizeof(record));
    len += sizeof(record);
    memset(packet + len, 0, 16);
    if (type == 1)
        packet[len] = 127;
    packet[len + (type == 1 ? 3 : 15)] = last;
    packet[7]++;
    return len + (type == 1 ? 4 : 16);
}

static void
on_question(struct ev_loop *ev, ev_io *watcher, int events)
{
    uint8_t packet[2048];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    const ssize_t n = recvfrom(watcher->fd, packet, 512, 0, (struct sockaddr *)&from, &from_len);
    char label[64];
    uint16_t type;
    size_t len;

    (void)ev, (void)events;
    ck_assert_int_gt(n, 12);
    questions++;
    len = question_end(packet, label, &type);
    packet[2] = 0x84;
    packet[3] = strcasecmp(label, "none") == 0 ? 3 : strcasecmp(label, "broken") == 0 ? 2 : 0;
    packet[6] = packet[7] = packet[8] = packet[9] = packet[10] = packet[11] = 0;
    if (strcasecmp(label, "silent") == 0)
        return;
    if (strcasecmp(label, "both") == 0 || (strcasecmp(label, "four") == 0 && type == 1))
        len = append_answer(packet, len, type, 1);
    for (int i = 0; strcasecmp(label, "many") == 0 && type == 1 && i < 20; i++)
        len = append_answer(packet, len, type, (uint8_t)(i + 1));
    sendto(watcher->fd, packet, len, 0, (struct sockaddr *)&from, from_len);
}

static td_system_lookup *system_lookup; /* NULL: none */

static void
configure(size_t cache_max, size_t pending_max)
{
    const td_resolver_options options = {.servers = servers_text, .try_ms = 200, .ttl_min_ms = 1000,
                                         .ttl_max_ms = 300000, .cache_max = cache_max,
                                         .pending_max = pending_max,
                                         .system_lookup = system_lookup};

    td_resolver_configure(&options);
}

static void
open_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    open_loop();
    server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(getsockname(server, (struct sockaddr *)&address, &len), 0);
    ev_io_init(&server_watcher, on_question, server, EV_READ);
    ev_io_start(td_ioloop_ev(loop), &server_watcher);
    snprintf(servers_text, sizeof(servers_text), " 127.0.0.1:%u , ", ntohs(address.sin_port));
    questions = 0;
    ttl_s = 60;
    configure(100, 100);
}

static void
close_server(void)
{
    close_loop();
    close(server);
}

/* ---- what becomes of a name */

static const struct name_case {
    const char *host;
    int family, rc;
    const char *first; /* text of the first address */
    size_t count;
    bool asks;
} names[] = {
    {"127.0.0.1", 0, 0, "127.0.0.1", 1, false},
    {"::1", 0, 0, "::1", 1, false},
    {"[::1]", 0, 0, "::1", 1, false},
    {"::ffff:10.0.0.1", 0, 0, "::ffff:10.0.0.1", 1, false},
    {"127.0.0.1", AF_INET6, TD_ENOTFOUND, NULL, 0, false},
    {"::1", AF_INET, TD_ENOTFOUND, NULL, 0, false},
    {"", 0, TD_ENOTFOUND, NULL, 0, false},
    {"localhost", AF_INET, 0, "127.0.0.1", 1, false},
    {"localhost", 0, 0, "127.0.0.1", 2, false},
    {"a.b.LocalHost.", AF_INET6, 0, "::1", 1, false},
    {"notlocalhost.test.", 0, TD_ENOTFOUND, NULL, 0, true},
    {".", 0, TD_ENOTFOUND, NULL, 0, true},
    {"four.test.", 0, 0, "127.0.0.1", 1, true},
    {"FOUR.test.", 0, 0, "127.0.0.1", 1, true},
    {"four.test.", AF_INET, 0, "127.0.0.1", 1, true},
    {"four.test.", AF_INET6, TD_ENOTFOUND, NULL, 0, true},
    {"both.test.", AF_INET6, 0, "::1", 1, true},
    {"both.test.", 0, 0, NULL, 2, true},
    {"many.test.", AF_INET, 0, "127.0.0.1", TD_ADDRESSES_MAX, true},
    {"none.test.", 0, TD_ENOTFOUND, NULL, 0, true},
    {"empty.test.", 0, TD_ENOTFOUND, NULL, 0, true},
    {"bad..name", 0, TD_ENOTFOUND, NULL, 0, false},
};

static const char *
text_of(const td_endpoint *endpoint)
{
    static char text[INET6_ADDRSTRLEN];
    const bool is_v4 = endpoint->address.any.sa_family == AF_INET;

    return inet_ntop(endpoint->address.any.sa_family,
                     is_v4 ? (const void *)&endpoint->address.v4.sin_addr
                           : (const void *)&endpoint->address.v6.sin6_addr,
                     text, sizeof(text));
}

static void
check_name(void *arg)
{
    const struct name_case *c = arg;
    td_addresses addresses = {0};

    ck_assert_int_eq(td_resolve(c->host, 8080, TD_RESOLVE(.family = c->family), &addresses), c->rc);
    ck_assert_uint_eq(addresses.count, c->count);
    ck_assert_int_eq(questions > 0, c->asks);
    if (c->first != NULL)
        ck_assert_str_eq(text_of(&addresses.items[0]), c->first);
    for (size_t i = 0; i < addresses.count; i++)
        ck_assert_uint_eq(ntohs(addresses.items[i].address.v4.sin_port), 8080);
}

START_TEST(a_name_has_addresses_or_a_reason)
{
    open_server();
    ck_assert_int_eq(on_coroutine(check_name, (void *)&names[_i]), TD_COROUTINE_RETURNED);
    close_server();
}
END_TEST

static void
check_long_name(void *arg)
{
    char host[1000];
    td_addresses addresses;

    (void)arg;
    memset(host, 'a', sizeof(host));
    for (size_t len = 64; len < sizeof(host); len += 64) {
        host[len] = '\0';
        ck_assert_int_eq(td_resolve(host, 1, NULL, &addresses), TD_ENOTFOUND);
        host[len] = '.';
    }
}

START_TEST(a_name_that_is_too_long_is_not_found)
{
    open_server();
    on_coroutine(check_long_name, NULL);
    close_server();
}
END_TEST

/* ---- the cache */

static int
resolve(const char *host)
{
    td_addresses addresses;

    return td_resolve(host, 1, TD_RESOLVE(.family = AF_INET), &addresses);
}

static void
check_cache(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(resolve("four.test."), 0);
    ck_assert_int_eq(resolve("FOUR.TEST."), 0);
    ck_assert_uint_eq(questions, 1);

    /* Failures are not kept. */
    ck_assert_int_eq(resolve("none.test."), TD_ENOTFOUND);
    ck_assert_int_eq(resolve("none.test."), TD_ENOTFOUND);
    ck_assert_uint_eq(questions, 3);
}

START_TEST(an_answer_is_kept)
{
    open_server();
    on_coroutine(check_cache, NULL);
    close_server();
}
END_TEST

static void
check_expiry(void *arg)
{
    (void)arg;
    ck_assert_int_eq(resolve("four.test."), 0);
    td_sleep(1050);
    ck_assert_int_eq(resolve("four.test."), 0);
    ck_assert_uint_eq(questions, 2);
}

START_TEST(an_answer_is_kept_for_its_time)
{
    open_server();
    ttl_s = 0; /* a second all the same */
    on_coroutine(check_expiry, NULL);
    close_server();
}
END_TEST

static void
check_bound(void *arg)
{
    (void)arg;
    ck_assert_int_eq(resolve("four.a."), 0);
    ck_assert_int_eq(resolve("four.b."), 0);
    ck_assert_int_eq(resolve("four.c."), 0); /* pushes the first out */
    ck_assert_int_eq(resolve("four.b."), 0);
    ck_assert_int_eq(resolve("four.c."), 0);
    ck_assert_uint_eq(questions, 3);
    ck_assert_int_eq(resolve("four.a."), 0);
    ck_assert_uint_eq(questions, 4);
}

START_TEST(the_cache_has_a_bound)
{
    open_server();
    configure(2, 100);
    on_coroutine(check_bound, NULL);
    close_server();
}
END_TEST

START_TEST(nothing_is_kept_in_a_cache_of_nothing)
{
    open_server();
    configure(0, 100);
    on_coroutine(check_name, (void *)&names[8]);
    close_server();
}
END_TEST

/* ---- who waits */

static void
ask_as_actor(void *arg)
{
    td_addresses addresses;

    note_outcome(*(const char *)arg, td_resolve("four.test.", 1, TD_RESOLVE(.family = AF_INET),
                                                &addresses));
    if (notes_len == 3)
        td_ioloop_stop(loop);
}

START_TEST(who_asks_for_the_same_name_waits_for_the_same_answer)
{
    open_server();
    start_actor(ask_as_actor, (void *)"a");
    start_actor(ask_as_actor, (void *)"b");
    start_actor(ask_as_actor, (void *)"c");
    ck_assert_int_eq(td_ioloop_start(loop), 0);
    ck_assert_str_eq(notes, "abc");
    ck_assert_uint_eq(questions, 1);
    close_server();
}
END_TEST

static void
check_times(void *arg)
{
    td_addresses addresses;
    const int64_t begun = td_clock_ns();

    (void)arg;
    ck_assert_int_eq(td_resolve("silent.test.", 1, TD_RESOLVE(.timeout_ms = 50), &addresses),
                     TD_ETIMEDOUT);
    ck_assert_int_lt(td_clock_ns() - begun, 1000 * TD_NS_PER_MS);
    ck_assert_int_eq(resolve("broken.test."), TD_ENAME);
}

START_TEST(a_server_that_says_nothing_is_waited_for_so_long)
{
    open_server();
    on_coroutine(check_times, NULL);
    close_server();
}
END_TEST

static void
ask_silent(void *arg)
{
    td_addresses addresses;

    (void)arg;
    td_resolve("silent.test.", 1, NULL, &addresses);
    ck_abort_msg("it came back");
}

START_TEST(a_cancelled_look_up_is_gone)
{
    open_server();
    td_coroutine *co = start_actor(ask_silent, NULL);

    turn();
    td_coroutine_cancel(co);
    turn();
    ck_assert_uint_eq(td_coroutines_count(), 0);
    start_actor(ask_silent, NULL); /* the end of the loop finds this one */
    turn();
    close_server();
}
END_TEST

static void
check_pending(void *arg)
{
    (void)arg;
    ck_assert_int_eq(resolve("four.test."), TD_EBUSY);
}

START_TEST(too_many_at_once_are_refused)
{
    open_server();
    configure(100, 1);
    start_actor(ask_silent, NULL);
    turn();
    on_coroutine(check_pending, NULL);
    close_server();
}
END_TEST

/* ---- futures */

static void
check_future(void *arg)
{
    td_addresses *addresses;
    void *result;

    (void)arg;
    ck_assert_int_eq(td_await(td_resolve_future("four.test.", 80, NULL), &result), 0);
    addresses = result;
    ck_assert_str_eq(text_of(&addresses->items[0]), "127.0.0.1");
    td_addresses_destroy(&addresses);
    ck_assert_ptr_null(addresses);
    ck_assert_int_eq(td_await(td_resolve_future("none.test.", 80, NULL), &result), TD_ENOTFOUND);

    /* Nobody looks at these. */
    td_future_unref(td_resolve_future("127.0.0.1", 80, NULL));
    td_future_unref(td_resolve_future("four.again.", 80, NULL));
    td_future *cancelled = td_resolve_future("silent.test.", 80, NULL);

    td_future_cancel(cancelled);
    td_future_unref(cancelled);
    td_future_unref(td_resolve_future("silent.test.", 80, NULL)); /* the loop ends first */
    td_sleep(20);
}

START_TEST(a_future_of_addresses_that_nobody_wants_leaks_nothing)
{
    open_server();
    on_coroutine(check_future, NULL);
    close_server();
}
END_TEST

/* ---- the system */

static int system_asked;
static sem_t system_may_answer;

/* Knows one name, as nss_mymachines might. */
static int
answer_as_system(const char *host, const char *service, const struct addrinfo *hints,
                 struct addrinfo **out)
{
    const struct addrinfo number = {.ai_flags = AI_NUMERICHOST, .ai_family = hints->ai_family,
                                    .ai_socktype = hints->ai_socktype};

    __atomic_add_fetch(&system_asked, 1, __ATOMIC_SEQ_CST);
    if (strcmp(host, "none.slow.") == 0)
        sem_wait(&system_may_answer);
    return strcmp(host, "none.machine.") == 0 ? getaddrinfo("127.0.0.7", service, &number, out)
                                              : EAI_NONAME;
}

static void
open_with_system(void)
{
    sem_init(&system_may_answer, 0, 0);
    system_asked = 0;
    system_lookup = answer_as_system;
    open_server();
}

static void
check_system(void *arg)
{
    td_addresses addresses;

    (void)arg;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(td_resolve("NONE.machine.", 7, TD_RESOLVE(.family = AF_INET), &addresses), 0);
        ck_assert_uint_eq(addresses.count, 1);
        ck_assert_str_eq(text_of(&addresses.items[0]), "127.0.0.7");
    }
    ck_assert_int_eq(system_asked, 1); /* and kept */
    ck_assert_int_eq(resolve("none.other."), TD_ENOTFOUND);
    ck_assert_int_eq(resolve("broken.test."), TD_ENAME);
    ck_assert_int_eq(resolve("four.test."), 0);
    ck_assert_int_eq(system_asked, 2); /* only for what nobody knew */
}

START_TEST(what_the_servers_do_not_know_the_system_may)
{
    open_with_system();
    on_coroutine(check_system, NULL);
    close_server();
}
END_TEST

static void
check_slow_system(void *arg)
{
    td_addresses addresses;

    (void)arg;
    ck_assert_int_eq(td_resolve("none.slow.", 1, TD_RESOLVE(.family = AF_INET, .timeout_ms = 20),
                                &addresses), TD_ETIMEDOUT);
    ck_assert_int_eq(resolve("none.machine."), 0); /* another thread */
}

START_TEST(a_slow_system_is_waited_for_so_long)
{
    open_with_system();
    on_coroutine(check_slow_system, NULL);
    sem_post(&system_may_answer);
    close_server();
}
END_TEST

START_TEST(a_loop_ends_though_the_system_does_not_answer)
{
    open_with_system();
    on_coroutine(check_slow_system, NULL);
    td_future_unref(td_resolve_future("none.slow.", 1, NULL)); /* both wait for the same thread */
    close_server();
    sem_post(&system_may_answer);
    sem_post(&system_may_answer);
}
END_TEST

static const struct {
    const char *line;
    bool knows_more;
} nsswitches[] = {
    {"hosts: files dns", false},
    {"hosts:\t files\tdns  # mdns", false},
    {"hosts: files mymachines dns", true},
    {"hosts: files resolve [!UNAVAIL=return] dns", true},
    {"hosts: files [NOTFOUND=return] dns", false},
    {"#hosts: ldap", false},
    {"passwd: ldap\nhosts: dns", false},
    {"", false},
};

START_TEST(nsswitch_says_whether_there_is_more_to_ask)
{
    char path[] = "/tmp/test-nsswitch-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");

    fprintf(file, "%s\n", nsswitches[_i].line);
    fclose(file);
    ck_assert_int_eq(td_resolver_system_knows_more(path), nsswitches[_i].knows_more);
    unlink(path);
    ck_assert(!td_resolver_system_knows_more(path));
}
END_TEST

/* ---- overrides */

static const struct {
    const char *text, *wrong;
} lists[] = {
    {"", NULL}, {"a=b", NULL}, {" a = b , c:1=[::1]:2,", NULL}, {"a=::1", NULL}, {"a=[::1]", NULL},
    {"a", "\"a\""}, {"a=", "\"a=\""}, {"=b", "\"=b\""}, {"a=b,c:x=d", "\"c:x=d\""}, {"a=b:70000", "\"a=b:70000\""},
    {"a=b c=d", "\"a=b c=d\""}, {"a=b/", "\"a=b/\""},
};

START_TEST(a_list_of_overrides_is_read_or_its_fault_named)
{
    td_err err;

    open_server();
    ck_assert_int_eq(td_resolver_override_list(lists[_i].text, &err),
                     lists[_i].wrong == NULL ? 0 : TD_ECONFIG);
    if (lists[_i].wrong != NULL)
        ck_assert_msg(strstr(err.text, lists[_i].wrong) == err.text, "%s", err.text);
    close_server();
}
END_TEST

static const struct {
    const char *text, *wrong;
} server_lists[] = {
    {"10.0.0.53", NULL}, {"127.0.0.1:5353,[::1]:53", NULL}, {" 10.0.0.1 , ::1,[::1], ", NULL},
    {"", "there is no address"}, {" , ", "there is no address"}, {"dns.test", "'dns.test'"},
    {"10.0.0.1,1.2.3", "'1.2.3'"}, {"10.0.0.1:99999", "'10.0.0.1:99999'"}, {"[::1", "'[::1'"},
    {"10.0.0.1 10.0.0.2", "'10.0.0.1 10.0.0.2'"}, {"10.0.0.1:", "'10.0.0.1:'"},
};

START_TEST(a_list_of_servers_is_one_or_its_fault_named)
{
    td_err err;

    ck_assert_int_eq(td_resolver_check_servers(server_lists[_i].text, &err),
                     server_lists[_i].wrong == NULL ? 0 : TD_ECONFIG);
    if (server_lists[_i].wrong != NULL)
        ck_assert_msg(strstr(err.text, server_lists[_i].wrong) == err.text, "%s", err.text);
}
END_TEST

static void
check_list(void *arg)
{
    td_addresses addresses;

    (void)arg;
    ck_assert_int_eq(td_resolver_override_list("db.test=127.0.0.9, v6:80=[::1]:81", NULL), 0);
    ck_assert_int_eq(td_resolve("db.test", 5, NULL, &addresses), 0);
    ck_assert_str_eq(text_of(&addresses.items[0]), "127.0.0.9");
    ck_assert_int_eq(td_resolve("v6", 80, NULL, &addresses), 0);
    ck_assert_str_eq(text_of(&addresses.items[0]), "::1");
    ck_assert_uint_eq(ntohs(addresses.items[0].address.v6.sin6_port), 81);
}

START_TEST(a_list_of_overrides_overrides)
{
    open_server();
    on_coroutine(check_list, NULL);
    close_server();
}
END_TEST

static void
check_overrides(void *arg)
{
    td_addresses addresses;

    (void)arg;
    ck_assert_int_eq(td_resolver_override("db.test", 0, "127.0.0.9", 0), 0);
    ck_assert_int_eq(td_resolver_override("DB.test", 5432, "127.0.0.8", 15432), 0);
    ck_assert_int_eq(td_resolver_override("alias", 0, "four.test.", 0), 0);

    ck_assert_int_eq(td_resolve("Db.Test", 80, NULL, &addresses), 0);
    ck_assert_str_eq(text_of(&addresses.items[0]), "127.0.0.9");
    ck_assert_uint_eq(ntohs(addresses.items[0].address.v4.sin_port), 80);
    ck_assert_int_eq(td_resolve("db.test", 5432, NULL, &addresses), 0);
    ck_assert_str_eq(text_of(&addresses.items[0]), "127.0.0.8");
    ck_assert_uint_eq(ntohs(addresses.items[0].address.v4.sin_port), 15432);
    ck_assert_int_eq(td_resolve("alias", 1, NULL, &addresses), 0);
    ck_assert_str_eq(text_of(&addresses.items[0]), "127.0.0.1");

    ck_assert_int_eq(td_resolver_override("db.test", 5432, NULL, 0), 0);
    ck_assert_int_eq(td_resolve("db.test", 5432, NULL, &addresses), 0);
    ck_assert_str_eq(text_of(&addresses.items[0]), "127.0.0.9");
}

START_TEST(an_override_means_another_host)
{
    open_server();
    on_coroutine(check_overrides, NULL);
    close_server();
}
END_TEST

/* ---- misuse */

static void
check_misuse(void *arg)
{
    td_addresses addresses;

    (void)arg;
    ck_assert_int_eq(td_resolve(NULL, 1, NULL, &addresses), TD_EINVAL);
    ck_assert_int_eq(td_resolve("x", 1, NULL, NULL), TD_EINVAL);
    ck_assert_int_eq(td_resolve("x", 1, TD_RESOLVE(.family = AF_UNIX), &addresses), TD_EINVAL);
    ck_assert_int_eq(td_resolve("x", 1, TD_RESOLVE(.timeout_ms = -1), &addresses), TD_EINVAL);
    ck_assert_ptr_null(td_resolve_future(NULL, 1, NULL));
    ck_assert_int_eq(td_resolver_override(NULL, 1, "x", 0), TD_EINVAL);
    ck_assert_int_eq(logged("td_resolve: "), 4);
    ck_assert_int_eq(logged("td_resolve_future: "), 1);
}

START_TEST(misuse_is_told)
{
    td_addresses addresses;

    open_server();
    on_coroutine(check_misuse, NULL);
    ck_assert_int_eq(td_resolve("x", 1, NULL, &addresses), TD_EINVAL);
    ck_assert_int_eq(logged("outside a coroutine"), 1);
    close_server();
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_name_has_addresses_or_a_reason, names);
    tcase_add_test(tcase, a_name_that_is_too_long_is_not_found);
    tcase_add_test(tcase, an_answer_is_kept);
    tcase_add_test(tcase, an_answer_is_kept_for_its_time);
    tcase_add_test(tcase, the_cache_has_a_bound);
    tcase_add_test(tcase, nothing_is_kept_in_a_cache_of_nothing);
    tcase_add_test(tcase, who_asks_for_the_same_name_waits_for_the_same_answer);
    tcase_add_test(tcase, a_server_that_says_nothing_is_waited_for_so_long);
    tcase_add_test(tcase, a_cancelled_look_up_is_gone);
    tcase_add_test(tcase, too_many_at_once_are_refused);
    tcase_add_test(tcase, a_future_of_addresses_that_nobody_wants_leaks_nothing);
    tcase_add_test(tcase, what_the_servers_do_not_know_the_system_may);
    tcase_add_test(tcase, a_slow_system_is_waited_for_so_long);
    tcase_add_test(tcase, a_loop_ends_though_the_system_does_not_answer);
    ADD_TABLE(tcase, nsswitch_says_whether_there_is_more_to_ask, nsswitches);
    tcase_add_test(tcase, an_override_means_another_host);
    ADD_TABLE(tcase, a_list_of_servers_is_one_or_its_fault_named, server_lists);
    ADD_TABLE(tcase, a_list_of_overrides_is_read_or_its_fault_named, lists);
    tcase_add_test(tcase, a_list_of_overrides_overrides);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("resolver", fill);
}
