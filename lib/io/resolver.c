/*
 * td_resolver: c-ares asks, our loop watches its sockets and keeps its time.
 *
 * A name that was asked for is a `struct name` in a table, from the question to the end of its time
 * in the cache.  Look-ups stand in its line until c-ares has answered; it may do so from inside the
 * question (/etc/hosts), so they are always told by a callback of the loop.  A question cannot be
 * taken back: when nobody waits for it any more its answer goes to the cache.
 *
 * What c-ares does not know the system may: of machines in the same network, in containers, in
 * directories.  That is asked on a few threads of the resolver's own, which may take their time.
 */
#include "io/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tornado/coroutine.h>
#include <tornado/executor.h>
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/network.h"
#include "base/table.h"
#include "io/call.h"
#include "io/future_internal.h"

#define HOST_MAX 255 /* RFC 1035 section 2.3.4; what is longer cannot be a name */
#define DNS_PORT 53
#define TIMEOUT_DEFAULT_MS 5000
#define TRIES 3
#define SYSTEM_THREADS 4
#define SYSTEM_QUEUE 100 /* names that wait for one; for those beyond it there is no such name */

struct name {
    char key[HOST_MAX + 16]; /* of its family and host */
    unsigned references;     /* the table's, the question's, those of look-ups */
    td_list waiting;         /* look-ups */
    td_list link;            /* in resolver.cache, once it is answered; the oldest first */
    int64_t expires_ns;
    bool is_answered;
    int error;
    td_addresses addresses;
};

struct system_question {
    td_list link; /* in resolver.asked */
    td_observer observer;
    td_future *future;
    struct name *name; /* referenced */
    int family;
    int error; /* from here on the thread's until it is answered */
    td_addresses addresses;
    td_system_lookup *look_up;
    char host[HOST_MAX + 1];
};

struct watch { /* a socket of c-ares */
    ev_io io;
    struct watch *next;
};

struct override {
    char to[HOST_MAX + 1];
    uint16_t to_port;
    char key[]; /* "host" or "host:port" */
};

struct resolver {
    td_ioloop *loop;
    ares_channel channel;
    struct watch *watches;
    td_timer timer;
    td_table names;
    td_list cache;
    size_t cached, pending;
    td_executor *system; /* made when it is needed */
    td_list asked;       /* of the system */
};

static td_resolver_options options = {
    .try_ms = 1500, .ttl_min_ms = 1000, .ttl_max_ms = 300000, .cache_max = 1000, .pending_max = 1000};

static __thread struct resolver *own __attribute__((tls_model("initial-exec")));
static __thread td_table overrides __attribute__((tls_model("initial-exec")));

/* Questions that the loop could not wait for: a thread may still be busy with them. */
static __thread td_list abandoned __attribute__((tls_model("initial-exec")));

void
td_resolver_configure(const td_resolver_options *wanted)
{
    options = *wanted;
}

/* ---- names */

static void
name_unref(struct name *name)
{
    if (--name->references == 0)
        free(name);
}

/* It is in the table no more. */
static void
forget(struct name *name)
{
    td_table_remove(&own->names, td_str_of(name->key));
    if (td_list_is_linked(&name->link)) {
        td_list_remove(&name->link);
        own->cached--;
    }
    name_unref(name);
}

static void
keep(struct name *name, int64_t ttl_ms)
{
    if (ttl_ms < options.ttl_min_ms)
        ttl_ms = options.ttl_min_ms;
    if (ttl_ms > options.ttl_max_ms)
        ttl_ms = options.ttl_max_ms;
    name->expires_ns = td_now_ns() + ttl_ms * TD_NS_PER_MS;
    td_list_append(&own->cache, &name->link);
    if (++own->cached > options.cache_max)
        forget(TD_CONTAINER_OF(own->cache.next, struct name, link));
}

/* Everybody in line is going to be told. */
static void
tell(struct name *name)
{
    while (!td_list_is_empty(&name->waiting)) {
        td_lookup *lookup = TD_CONTAINER_OF(name->waiting.next, td_lookup, link);

        td_list_remove(&lookup->link);
        td_timer_stop(lookup->loop, &lookup->timer);
        lookup->error = name->error;
        td_ioloop_post(lookup->loop, &lookup->answered);
    }
}

static int
error_of(int status)
{
    switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_ENONAME:
    case ARES_EBADNAME:
        return TD_ENOTFOUND;
    case ARES_ETIMEOUT:
        return TD_ETIMEDOUT;
    default:
        return TD_ENAME;
    }
}

static void
add_address(td_addresses *addresses, int family, const struct sockaddr *address)
{
    td_endpoint *endpoint = &addresses->items[addresses->count];

    if (addresses->count == TD_ADDRESSES_MAX || (family != AF_INET && family != AF_INET6))
        return;
    endpoint->len =
        family == AF_INET ? sizeof(endpoint->address.v4) : sizeof(endpoint->address.v6);
    memcpy(&endpoint->address, address, endpoint->len);
    addresses->count++;
}

/* All that there is to know of it; the question's reference is given back. */
static void
answered(struct name *name, int error, int64_t ttl_ms)
{
    own->pending--;
    name->error = error == 0 && name->addresses.count == 0 ? TD_ENOTFOUND : error;
    name->is_answered = true;
    tell(name);
    if (name->error == 0)
        keep(name, ttl_ms);
    else
        forget(name);
    name_unref(name);
}

/* ---- what the system says */

/* On a thread. */
static void *
ask_system(void *arg)
{
    struct system_question *question = arg;
    const struct addrinfo hints = {.ai_family = question->family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;

    if (question->look_up(question->host, NULL, &hints, &found) != 0) {
        question->error = TD_ENOTFOUND;
        return NULL;
    }
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next)
        add_address(&question->addresses, one->ai_family, one->ai_addr);
    freeaddrinfo(found);
    return NULL;
}

static void
on_system_answer(td_observer *observer, td_future *future)
{
    struct system_question *question =
        TD_CONTAINER_OF(observer, struct system_question, observer);
    const int error = td_future_error(future);

    td_list_remove(&question->link);
    question->name->addresses = question->addresses;
    answered(question->name, error != 0 ? TD_ENOTFOUND : question->error, options.ttl_min_ms);
    td_future_unref(future);
    free(question);
}

/* False: nobody is to be asked. */
static bool
begin_asking_system(struct name *name)
{
    struct system_question *question;
    const char *host = strchr(name->key, ':') + 1;

    if (options.system_lookup == NULL)
        return false;
    if (own->system == NULL)
        own->system = td_executor_create(SYSTEM_THREADS, SYSTEM_QUEUE);
    question = td_xcalloc(1, sizeof(*question));
    strcpy(question->host, host);
    question->family = atoi(name->key);
    question->look_up = options.system_lookup;
    question->name = name;
    question->observer.told = on_system_answer;
    question->future = td_executor_submit(own->system, ask_system, question);
    td_list_append(&own->asked, &question->link);
    td_future_observe(question->future, &question->observer);
    return true;
}

/* The loop ends: who waits is told so, and what a thread may still write to stays. */
static void
stop_asking_system(void)
{
    if (abandoned.next == NULL)
        td_list_init(&abandoned);
    while (!td_list_is_empty(&own->asked)) {
        struct system_question *question =
            TD_CONTAINER_OF(own->asked.next, struct system_question, link);

        td_list_remove(&question->observer.link);
        td_future_cancel(question->future);
        td_future_unref(question->future);
        td_list_remove(&question->link);
        td_list_append(&abandoned, &question->link);
        answered(question->name, TD_ECANCELED, 0);
    }
    td_executor_destroy(&own->system);
}

/* ---- what c-ares says */

static void
on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct name *name = arg;
    int64_t ttl_ms = options.ttl_max_ms;
    int error = status == ARES_SUCCESS ? 0 : error_of(status);

    (void)timeouts;
    if (status == ARES_SUCCESS) {
        for (const struct ares_addrinfo_node *node = found->nodes; node != NULL;
             node = node->ai_next) {
            add_address(&name->addresses, node->ai_family, node->ai_addr);
            if (node->ai_ttl * INT64_C(1000) < ttl_ms)
                ttl_ms = node->ai_ttl * INT64_C(1000);
        }
        ares_freeaddrinfo(found);
    }
    if (error != TD_ENOTFOUND || !begin_asking_system(name))
        answered(name, error, ttl_ms);
}

/* ---- its sockets and its time */

static void
set_timer(void)
{
    struct timeval tv;

    if (ares_timeout(own->channel, NULL, &tv) == NULL)
        td_timer_stop(own->loop, &own->timer);
    else
        td_timer_start(own->loop, &own->timer,
                       td_clock_ns() + tv.tv_sec * TD_NS_PER_S + tv.tv_usec * INT64_C(1000));
}

static void
on_time(void *arg)
{
    (void)arg;
    ares_process_fd(own->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer();
}

static void
on_socket(struct ev_loop *ev, ev_io *io, int events)
{
    const int fd = io->fd; /* the watch may go meanwhile */

    if (TD_UNLIKELY(events & EV_ERROR))
        td_ioloop_watch_again(ev, io, "a name server");
    ares_process_fd(own->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    set_timer();
}

/* c-ares wants this of a socket from now on; neither: it is about to close it. */
static void
on_interest(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *resolver = arg;
    struct ev_loop *ev = td_ioloop_ev(resolver->loop);
    struct watch **at = &resolver->watches;

    while (*at != NULL && (*at)->io.fd != fd)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = td_xcalloc(1, sizeof(**at));
        ev_init(&(*at)->io, on_socket);
    }

    struct watch *watch = *at;

    ev_io_stop(ev, &watch->io);
    if (readable || writable) {
        ev_io_set(&watch->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
        ev_io_start(ev, &watch->io);
    } else {
        *at = watch->next;
        free(watch);
    }
}

/* ---- lists of the settings */

/* What stands before the next comma, without blanks around it, if there is anything. */
static bool
next_of_list(const char **text, td_str *out)
{
    for (*out = TD_STR(""); out->len == 0 && **text != '\0';) {
        const size_t len = strcspn(*text, ",");

        *out = td_str_trim(td_str_make(*text, len));
        *text += len + ((*text)[len] == ',');
    }
    return out->len > 0;
}

/* A copy of the host, and its port or 0. */
static bool
split_port(td_str text, char *host, uint16_t *port_out)
{
    td_str name;

    if (!td_port_split(text, &name, port_out) || name.len > HOST_MAX)
        return false;
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    return strpbrk(host, " \t/@") == NULL; /* a comma is missing, or it is a URL */
}

/* As c-ares wants it, which takes other things for addresses, too, and no blanks. */
static bool
put_server(td_str text, td_buf *out)
{
    char host[HOST_MAX + 1];
    td_endpoint endpoint;
    uint16_t port;

    if (!split_port(text, host, &port) || !td_resolve_number(host, port, &endpoint))
        return false;

    const bool wants_brackets = endpoint.address.any.sa_family == AF_INET6 && host[0] != '[';

    td_buf_printf(out, "%s%s%s%s:%u", out->len > 0 ? "," : "", wants_brackets ? "[" : "", host,
                  wants_brackets ? "]" : "", port != 0 ? port : DNS_PORT);
    return true;
}

static int
put_servers(const char *text, td_buf *out, td_err *err)
{
    td_str one;

    while (next_of_list(&text, &one))
        if (!put_server(one, out))
            return td_err_set(err, TD_ECONFIG,
                              "'%.*s' is no address such as 10.0.0.53, 127.0.0.1:5353 or [::1]:53",
                              TD_STR_FMT(one));
    return out->len > 0 ? 0 : td_err_set(err, TD_ECONFIG, "there is no address in it");
}

int
td_resolver_check_servers(const char *text, td_err *err)
{
    td_buf servers = {0};
    const int rc = put_servers(text, &servers, err);

    td_buf_release(&servers);
    return rc;
}

/* ---- life */

static int
set_servers(ares_channel channel)
{
    td_buf servers = {0};
    int status = ARES_EBADSTR;

    if (put_servers(options.servers, &servers, NULL) == 0) {
        td_buf_append(&servers, td_str_make("", 1)); /* its NUL */
        status = ares_set_servers_ports_csv(channel, td_buf_str(&servers).ptr);
    }
    td_buf_release(&servers);
    return status;
}

static int
open_resolver(void)
{
    char lookups[] = "fb"; /* /etc/hosts, then the servers */
    struct ares_options wanted = {
        .timeout = (int)options.try_ms, .tries = TRIES, .lookups = lookups};
    struct resolver *resolver = td_xcalloc(1, sizeof(*resolver));
    int status;

    resolver->loop = td_ioloop_current();
    wanted.sock_state_cb = on_interest;
    wanted.sock_state_cb_data = resolver;
    ares_library_init(ARES_LIB_INIT_ALL);
    status = ares_init_options(&resolver->channel, &wanted,
                               ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                   ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS && options.servers != NULL) {
        status = set_servers(resolver->channel);
        if (status != ARES_SUCCESS)
            ares_destroy(resolver->channel);
    }
    if (status != ARES_SUCCESS) {
        td_log(TD_LOG_ERROR, "resolver: %s", ares_strerror(status));
        ares_library_cleanup();
        free(resolver);
        return TD_ENAME;
    }
    resolver->timer = (td_timer){.fn = on_time};
    td_table_init(&resolver->names);
    td_list_init(&resolver->cache);
    td_list_init(&resolver->asked);
    own = resolver;
    return 0;
}

static void
drop_overrides(void)
{
    TD_TABLE_FOREACH(entry, &overrides)
        free(entry->value);
    td_table_fini(&overrides);
    overrides = (td_table){0};
}

void
td_resolver_close(void)
{
    drop_overrides();
    if (own == NULL)
        return;
    ares_destroy(own->channel); /* each question is answered with ARES_EDESTRUCTION */
    ares_library_cleanup();
    stop_asking_system();
    td_timer_stop(own->loop, &own->timer);
    while (!td_list_is_empty(&own->cache))
        forget(TD_CONTAINER_OF(own->cache.next, struct name, link));
    td_table_fini(&own->names);
    free(own);
    own = NULL;
}

/* ---- look-ups */

static void
copy_addresses(td_addresses *to, const struct name *name, uint16_t port)
{
    *to = name->addresses;
    for (size_t i = 0; i < to->count; i++)
        to->items[i].address.v4.sin_port = htons(port); /* that of IPv6 is in the same place */
}

static void
lookup_told(void *arg)
{
    td_lookup *lookup = arg;
    struct name *name = lookup->name;
    td_addresses addresses = {0};

    lookup->name = NULL;
    if (lookup->error == 0)
        copy_addresses(&addresses, name, lookup->port);
    name_unref(name);
    lookup->done(lookup, lookup->error, &addresses);
}

static void
lookup_too_late(void *arg)
{
    td_lookup *lookup = arg;

    td_list_remove(&lookup->link);
    lookup->error = TD_ETIMEDOUT;
    lookup_told(lookup);
}

/* The loop ends first. */
static void
lookup_dropped(void *arg)
{
    td_lookup *lookup = arg;

    lookup->error = TD_ECANCELED;
    lookup_told(lookup);
}

void
td_lookup_stop(td_lookup *lookup)
{
    if (lookup->name == NULL)
        return;
    td_list_remove(&lookup->link);
    td_callback_cancel(&lookup->answered);
    td_timer_stop(lookup->loop, &lookup->timer);
    name_unref(lookup->name);
    lookup->name = NULL;
}

static void
ask(struct name *name, const char *host, int family)
{
    const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};

    td_list_init(&name->waiting);
    name->references += 2; /* the table's and the question's */
    td_table_set(&own->names, td_str_of(name->key), name);
    own->pending++;
    ares_getaddrinfo(own->channel, host, NULL, &hints, on_answer, name);
    set_timer();
}

/* That name, known, being looked up or not to be had, and a reference to it. */
static int
find_name(const char *host, const td_resolve_options *wanted, struct name **out)
{
    char key[sizeof((*out)->key)];
    struct name *name;
    int len = snprintf(key, sizeof(key), "%d:%s", wanted->family, host);

    for (int i = 0; i < len; i++)
        key[i] = (char)tolower((unsigned char)key[i]);
    name = td_table_get(&own->names, td_str_of(key));
    if (name != NULL && td_list_is_linked(&name->link) && name->expires_ns <= td_now_ns()) {
        forget(name);
        name = NULL;
    }
    if (name == NULL) {
        if (own->pending >= options.pending_max)
            return TD_EBUSY;
        name = td_xcalloc(1, sizeof(*name));
        memcpy(name->key, key, sizeof(key));
        name->references = 1;
        ask(name, host, wanted->family); /* may know the answer at once */
    } else {
        name->references++;
    }
    *out = name;
    return 0;
}

/* "host:port", or without the port, in lower case. */
static size_t
override_key(char *key, size_t size, const char *host, uint16_t port)
{
    const int len = port != 0 ? snprintf(key, size, "%s:%u", host, port)
                              : snprintf(key, size, "%s", host);

    for (int i = 0; i < len && (size_t)i < size; i++)
        key[i] = (char)tolower((unsigned char)key[i]);
    return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

static const struct override *
find_override(const char *host, uint16_t port)
{
    char key[HOST_MAX + 16];
    const struct override *found;

    if (overrides.count == 0)
        return NULL;
    found = td_table_get(&overrides,
                         td_str_make(key, override_key(key, sizeof(key), host, port)));
    return found != NULL ? found
                         : td_table_get(&overrides, td_str_make(key, override_key(key, sizeof(key),
                                                                                  host, 0)));
}

bool
td_resolve_number(const char *host, uint16_t port, td_endpoint *out)
{
    char bare[INET6_ADDRSTRLEN + 1];
    size_t len = strlen(host);

    *out = (td_endpoint){.len = 0};
    if (inet_pton(AF_INET, host, &out->address.v4.sin_addr) == 1) {
        out->address.v4.sin_family = AF_INET;
        out->address.v4.sin_port = htons(port);
        out->len = sizeof(out->address.v4);
        return true;
    }
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof(bare))
        return false;
    memcpy(bare, host, len);
    bare[len] = '\0';
    if (inet_pton(AF_INET6, bare, &out->address.v6.sin6_addr) != 1)
        return false;
    out->address.v6.sin6_family = AF_INET6;
    out->address.v6.sin6_port = htons(port);
    out->len = sizeof(out->address.v6);
    return true;
}

/*
 * RFC 6761 section 6.3: "localhost." and all names that fall within it, whatever the servers say.
 */
static bool
is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host);

    len -= len > 0 && host[len - 1] == '.';
    return len >= strlen(name) && strncasecmp(host + len - strlen(name), name, strlen(name)) == 0 &&
           (len == strlen(name) || host[len - strlen(name) - 1] == '.');
}

/* That of IPv4 first: most servers that are there alone are there. */
static int
localhost_addresses(uint16_t port, int family, td_addresses *out)
{
    out->count = 0;
    if (family != AF_INET6)
        td_resolve_number("127.0.0.1", port, &out->items[out->count++]);
    if (family != AF_INET)
        td_resolve_number("::1", port, &out->items[out->count++]);
    return 1;
}

int
td_lookup_start(td_lookup *lookup, const char *host, uint16_t port,
                const td_resolve_options *wanted, td_lookup_fn *done, td_addresses *out)
{
    const struct override *override = find_override(host, port);
    int rc;

    if (override != NULL) {
        host = override->to;
        port = override->to_port != 0 ? override->to_port : port;
    }
    if (td_resolve_number(host, port, &out->items[0])) {
        out->count = 1;
        return wanted->family == 0 || wanted->family == out->items[0].address.any.sa_family
                   ? 1
                   : TD_ENOTFOUND;
    }
    if (host[0] == '\0' || strlen(host) > HOST_MAX)
        return TD_ENOTFOUND;
    if (is_localhost(host))
        return localhost_addresses(port, wanted->family, out);
    if (own == NULL && (rc = open_resolver()) < 0)
        return rc;

    struct name *name;

    rc = find_name(host, wanted, &name);
    if (rc < 0)
        return rc;
    if (name->is_answered) {
        rc = name->error;
        if (rc == 0)
            copy_addresses(out, name, port);
        name_unref(name);
        return rc == 0 ? 1 : rc;
    }
    *lookup = (td_lookup){.loop = own->loop, .port = port, .name = name, .done = done};
    lookup->answered =
        (td_callback){.fn = lookup_told, .arg = lookup, .dropped = lookup_dropped};
    lookup->timer = (td_timer){.fn = lookup_too_late, .arg = lookup};
    td_list_append(&name->waiting, &lookup->link);
    td_timer_start(own->loop, &lookup->timer,
                   td_deadline_in_ms(wanted->timeout_ms > 0    ? wanted->timeout_ms
                                     : options.timeout_ms > 0 ? options.timeout_ms
                                                              : TIMEOUT_DEFAULT_MS));
    return 0;
}

/* ---- await style */

struct await_lookup {
    td_lookup lookup;
    td_coroutine *co;
    td_addresses *out;
};

static void
await_done(td_lookup *lookup, int error, const td_addresses *addresses)
{
    struct await_lookup *waiting = TD_CONTAINER_OF(lookup, struct await_lookup, lookup);

    if (error == 0)
        *waiting->out = *addresses;
    td_coroutine_resume(waiting->co, error);
}

static void
await_undo(void *arg)
{
    struct await_lookup *waiting = arg;

    td_lookup_stop(&waiting->lookup);
}

/* What TD_RESOLVE says, complete; false: it is wrong, which is logged. */
static bool
read_options(const td_resolve_options *wanted, td_resolve_options *out, const char *function)
{
    *out = (td_resolve_options){0};
    if (wanted != NULL)
        memcpy(out, wanted, wanted->size < sizeof(*out) ? wanted->size : sizeof(*out));
    if ((out->family == 0 || out->family == AF_INET || out->family == AF_INET6) &&
        out->timeout_ms >= 0)
        return true;
    td_misuse(function, "the family or the time-out is wrong");
    return false;
}

int
td_resolve(const char *host, uint16_t port, const td_resolve_options *wanted, td_addresses *out)
{
    static const char function[] = "td_resolve";
    td_resolve_options read;
    td_addresses known = {0};
    int rc;

    if (!td_is_on_coroutine(function))
        return TD_EINVAL;
    if (host == NULL || out == NULL)
        return td_misuse(function, "there is no host, or no place for its addresses");
    if (!read_options(wanted, &read, function))
        return TD_EINVAL;

    struct await_lookup waiting = {.co = td_coroutine_current(), .out = out};

    rc = td_lookup_start(&waiting.lookup, host, port, &read, await_done, &known);
    if (rc == 0)
        return td_coroutine_wait(await_undo, &waiting);
    if (rc < 0)
        return rc;
    *out = known;
    return 0;
}

/* ---- as a future */

struct future_lookup {
    td_lookup lookup;
    td_future *future; /* referenced */
};

static void
future_lookup_free(struct future_lookup *waiting)
{
    td_lookup_stop(&waiting->lookup);
    td_future_on_cancel(waiting->future, NULL, NULL);
    td_future_unref(waiting->future);
    free(waiting);
}

static void
dispose_addresses(void *addresses)
{
    free(addresses);
}

static void
future_resolved(td_future *future, const td_addresses *addresses)
{
    td_addresses *result = td_xmalloc(sizeof(*result));

    *result = *addresses;
    td_future_set_owned(future, result, dispose_addresses);
}

static void
future_done(td_lookup *lookup, int error, const td_addresses *addresses)
{
    struct future_lookup *waiting = TD_CONTAINER_OF(lookup, struct future_lookup, lookup);

    if (error == 0)
        future_resolved(waiting->future, addresses);
    else
        td_future_set_error(waiting->future, error);
    future_lookup_free(waiting);
}

static void
future_canceled(td_future *future, void *arg)
{
    (void)future;
    future_lookup_free(arg);
}

td_future *
td_resolve_future(const char *host, uint16_t port, const td_resolve_options *wanted)
{
    static const char function[] = "td_resolve_future";
    struct future_lookup *waiting;
    td_resolve_options read;
    td_addresses known = {0};
    td_future *future;
    int rc;

    if (!td_is_on_loop(function) || !read_options(wanted, &read, function))
        return NULL;
    if (host == NULL) {
        td_misuse(function, "there is no host");
        return NULL;
    }
    future = td_future_create();
    waiting = td_xcalloc(1, sizeof(*waiting));
    waiting->future = td_future_ref(future);
    rc = td_lookup_start(&waiting->lookup, host, port, &read, future_done, &known);
    if (rc == 0) {
        td_future_on_cancel(future, future_canceled, waiting);
        return future;
    }
    if (rc > 0)
        future_resolved(future, &known);
    else
        td_future_set_error(future, rc);
    future_lookup_free(waiting);
    return future;
}

void
td_addresses_destroy(td_addresses **addresses)
{
    free(*addresses);
    *addresses = NULL;
}

/* ---- overrides */

int
td_resolver_override(const char *host, uint16_t port, const char *to_host, uint16_t to_port)
{
    static const char function[] = "td_resolver_override";
    char key[HOST_MAX + 16];
    struct override *override;
    size_t len;

    if (!td_is_on_loop(function))
        return TD_EINVAL;
    if (host == NULL || strlen(host) > HOST_MAX || (to_host != NULL && strlen(to_host) > HOST_MAX))
        return td_misuse(function, "there is no host, or it is longer than a name can be");
    len = override_key(key, sizeof(key), host, port);
    free(td_table_remove(&overrides, td_str_make(key, len)));
    if (to_host == NULL)
        return 0;
    if (overrides.size == 0)
        td_table_init(&overrides);
    override = td_xcalloc(1, sizeof(*override) + len + 1);
    memcpy(override->key, key, len);
    strcpy(override->to, to_host);
    override->to_port = to_port;
    td_table_set(&overrides, td_str_make(override->key, len), override);
    return 0;
}

struct override_words {
    char from[HOST_MAX + 1], to[HOST_MAX + 1];
    uint16_t from_port, to_port;
};

/* NAME[:PORT]=HOST[:PORT] */
static bool
parse_override(td_str text, struct override_words *out)
{
    const char *equals = memchr(text.ptr, '=', text.len);

    if (equals == NULL)
        return false;

    const td_str left = td_str_trim(td_str_make(text.ptr, (size_t)(equals - text.ptr)));
    const td_str right =
        td_str_trim(td_str_make(equals + 1, (size_t)(text.ptr + text.len - equals - 1)));

    return split_port(left, out->from, &out->from_port) && split_port(right, out->to, &out->to_port);
}

int
td_resolver_check_overrides(const char *text, td_err *err)
{
    struct override_words words;
    td_str one;

    while (next_of_list(&text, &one))
        if (!parse_override(one, &words))
            return td_err_set(err, TD_ECONFIG, "\"%.*s\" is not NAME[:PORT]=HOST[:PORT]",
                              TD_STR_FMT(one));
    return 0;
}

int
td_resolver_override_list(const char *text, td_err *err)
{
    struct override_words words;
    td_str one;
    int rc = td_resolver_check_overrides(text, err);

    while (rc == 0 && next_of_list(&text, &one) && parse_override(one, &words))
        rc = td_resolver_override(words.from, words.from_port, words.to, words.to_port);
    return rc;
}

/* ---- what the system knows */

bool
td_resolver_system_knows_more(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    bool knows_more = false;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        char *rest = line, *word;

        line[strcspn(line, "#\n")] = '\0';
        word = strsep(&rest, ":");
        if (rest == NULL || strcmp(word, "hosts") != 0)
            continue;
        while ((word = strsep(&rest, " \t")) != NULL)
            knows_more |= word[0] != '\0' && word[0] != '[' && strcmp(word, "files") != 0 &&
                          strcmp(word, "dns") != 0 && word[strlen(word) - 1] != ']';
    }
    if (file != NULL)
        fclose(file);
    return knows_more;
}
