/*
 * rate_limit: so many requests a period for each address, or each value of a header, whatever
 * worker they come to; then 429.
 *
 *     [application]
 *     middleware = rate_limit
 *     [handler:rate_limit]
 *     requests = 100
 *     period = 1m
 *     burst = 20
 *
 * A bucket is one number, the time at which it is empty again (the generic cell rate algorithm), in
 * a table that all workers share and that a reload keeps.  The table never grows: a key has eight
 * places to be in, and takes that of the one which is the least behind when all are taken.  So a
 * flood from many addresses may make it forget some, never stop.  Which places are a key's, nobody
 * outside can know: the hash has a random key.
 *
 * IPv6 clients own at least a /64, so one of these counts as one address.  Behind a proxy, tell the
 * listener whom to trust (xheaders), or all clients are one.
 */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>
#include "fieldname.h"

#define PLACES 8 /* 128 bytes: two cache lines */
#define SETS 8192
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

struct settings {
    int64_t requests, burst;
    int64_t period; /* ms */
    const char *header;
};

struct bucket {
    _Atomic uint64_t key;     /* hash of it, never 0; 0: free */
    _Atomic int64_t empty_ns; /* CLOCK_MONOTONIC, the same in all processes */
};

struct table {
    _Atomic uint64_t secret[2]; /* 0: not made yet */
    char padding[48];
    struct bucket sets[SETS][PLACES];
};

struct verdict {
    bool allowed;
    int64_t remaining; /* requests that could come at once */
    int64_t reset_ns;  /* until the bucket is empty */
    int64_t retry_ns;  /* until one is allowed */
};

/* ---- whose bucket it is */

static uint64_t
rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void
sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein). */
static uint64_t
hash(const uint64_t secret[2], const unsigned char *bytes, size_t len)
{
    uint64_t v[4] = {secret[0] ^ UINT64_C(0x736f6d6570736575), secret[1] ^ UINT64_C(0x646f72616e646f6d),
                     secret[0] ^ UINT64_C(0x6c7967656e657261), secret[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;

    for (size_t i = 0; i <= len; i++) {
        if (i == len)
            word |= (uint64_t)len << 56;
        else
            word |= (uint64_t)bytes[i] << 8 * (i % 8);
        if (i % 8 != 7 && i != len)
            continue;
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
        word = 0;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Whoever comes first makes it; the others take what they find. */
static void
make_secret(struct table *table, uint64_t secret_out[2])
{
    for (int i = 0; i < 2; i++) {
        uint64_t made = 0, before = 0;

        if (getrandom(&made, sizeof(made), 0) != (ssize_t)sizeof(made) || made == 0)
            made = (uint64_t)td_ioloop_time_ms() | 1;
        if (atomic_compare_exchange_strong(&table->secret[i], &before, made))
            before = made;
        secret_out[i] = before;
    }
}

static uint64_t
key_of(td_handler *h, struct table *table)
{
    const struct settings *settings = td_settings(h);
    uint64_t secret[2] = {atomic_load(&table->secret[0]), atomic_load(&table->secret[1])};
    td_str who = td_str_make(NULL, 0);
    unsigned char address[16];
    uint64_t key;

    if (secret[0] == 0 || secret[1] == 0)
        make_secret(table, secret);
    if (settings->header[0] != '\0')
        who = td_request_header(h, settings->header);
    if (td_str_is_null(who)) {
        who = td_request_remote_addr(h);
        if (inet_pton(AF_INET6, who.ptr, address) == 1 &&
            !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)address))
            who = td_str_make((char *)address, 8);
    }
    key = hash(secret, (const unsigned char *)who.ptr, who.len);
    return key != 0 ? key : 1;
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)NS_PER_S + now.tv_nsec;
}

/*
 * Two workers that give the same place away at once, to different keys, share it for that moment:
 * one of them looks again the next time.
 */
static struct bucket *
find_bucket(struct table *table, uint64_t key, int64_t now)
{
    struct bucket *set = table->sets[key % SETS], *best = NULL;
    int64_t earliest = INT64_MAX;
    uint64_t before;

    for (int i = 0; i < PLACES; i++) {
        const uint64_t found = atomic_load_explicit(&set[i].key, memory_order_relaxed);
        const int64_t empty_ns = found == 0 ? INT64_MIN : atomic_load(&set[i].empty_ns);

        if (found == key)
            return &set[i];
        if (empty_ns < earliest) {
            earliest = empty_ns;
            best = &set[i];
        }
    }
    before = atomic_load(&best->key);
    if (atomic_compare_exchange_strong(&best->key, &before, key))
        atomic_store(&best->empty_ns, now);
    return best;
}

static struct verdict
judge(struct bucket *bucket, const struct settings *settings, int64_t now)
{
    const int64_t interval = settings->period * NS_PER_MS / settings->requests;
    const int64_t depth = interval * settings->burst;
    int64_t before = atomic_load(&bucket->empty_ns), after;
    struct verdict verdict = {.allowed = true};

    do {
        after = (before > now ? before : now) + interval;
        if (after - now > depth) {
            verdict.allowed = false;
            verdict.retry_ns = after - now - depth;
            after = before;
            break;
        }
    } while (!atomic_compare_exchange_weak(&bucket->empty_ns, &before, after));
    verdict.remaining = verdict.allowed ? (depth - (after - now)) / interval : 0;
    verdict.reset_ns = after - now;
    return verdict;
}

/* ---- a request */

static int64_t
seconds(int64_t ns)
{
    return (ns + NS_PER_S - 1) / NS_PER_S;
}

static void
set_number(td_handler *h, const char *name, int64_t number)
{
    td_set_header(h, name, td_sprintf(h, "%lld", (long long)number).ptr);
}

static void
tell(td_handler *h, void *arg)
{
    const struct settings *settings = td_settings(h);
    const struct verdict *verdict = arg;

    set_number(h, "RateLimit-Limit", settings->burst);
    set_number(h, "RateLimit-Remaining", verdict->remaining);
    set_number(h, "RateLimit-Reset", seconds(verdict->reset_ns));
    if (!verdict->allowed)
        set_number(h, "Retry-After", seconds(verdict->retry_ns));
}

static void
run(td_handler *h)
{
    struct table *table = td_shared(h, "buckets");
    struct verdict *verdict = td_alloc(h, sizeof(*verdict));
    const int64_t now = now_ns();

    *verdict = judge(find_bucket(table, key_of(h, table), now), td_settings(h), now);
    td_on_head(h, tell, verdict);
    if (!verdict->allowed)
        td_raise(h, 429, NULL);
    td_next(h);
}

static int
check(const td_instance *instance, td_err *err)
{
    const struct settings *settings = td_instance_settings(instance);

    return settings->header[0] != '\0' ? fieldname_check("header", settings->header, err) : 0;
}

#define OPTION(type_, ...) TD_OPT_##type_(struct settings, __VA_ARGS__)

TD_PLUGIN(.name = "rate_limit", .version = "1.0", .middleware = run, .check = check,
          .shared = TD_SHARED({"buckets", sizeof(struct table)}),
          .options = TD_OPTIONS(
              struct settings,
              OPTION(INT, requests, "600", 1, 1000000, "How many may come in a period, on and on."),
              OPTION(TIME, period, "1m", 1, 86400000, "The period."),
              OPTION(INT, burst, "60", 1, 10000, "How many may come at once."),
              OPTION(STRING, header, "",
                     "Header whose value is counted instead of the address, such as X-Api-Key, where "
                     "a request has it: only if something before has verified it. Unset: none.")));
