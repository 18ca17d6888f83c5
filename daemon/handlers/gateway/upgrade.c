#include "upgrade.h"

#include "fields.h"

const char *
upgrade_wanted(const struct relay *relay)
{
    const td_str wanted = td_request_upgrade(relay->h);

    return !td_str_is_null(wanted) && !relay->has_body &&
                   fields_list_has(relay->settings->upgrades, wanted.ptr)
               ? wanted.ptr
               : NULL;
}

/*
 * What to do after a wait that has ended with rc: the same again.  Only the two know how to say
 * goodbye, so a drain is none of ours: they have drain_timeout.
 */
static bool
goes_on(const struct relay *relay, int rc, int64_t silence_max_ms)
{
    return rc == TD_EDRAINING ||
           (rc == TD_ETIMEDOUT && td_ioloop_time_ms() - relay->moved_ms < silence_max_ms);
}

static int
read_upgraded(struct relay *relay, td_iostream *from, td_str *piece_out)
{
    const struct settings *settings = relay->settings;
    int rc;

    do
        rc = td_iostream_read_partial(from, PIECE, piece_out);
    while (goes_on(relay, rc, relay->is_half_open ? settings->half_open_timeout
                                                  : settings->upgrade_timeout));
    relay->moved_ms = td_ioloop_time_ms();
    return rc;
}

/* Who has said what the other is slow to take is not silent, whether the other has ended or not. */
static int
write_upgraded(struct relay *relay, td_iostream *to, td_str piece)
{
    int rc = td_iostream_write(to, piece);

    if (rc < 0)
        return rc;
    do
        rc = td_iostream_flush(to);
    while (goes_on(relay, rc, relay->settings->upgrade_timeout));
    relay->moved_ms = td_ioloop_time_ms();
    return rc;
}

/*
 * One way, until it ends: the other side is told, and may still have something to say.  A failure,
 * or silence, is the end of both ways.
 */
static void
pump(struct relay *relay, td_iostream *from, td_iostream *to)
{
    td_str piece;
    int rc;

    do
        rc = read_upgraded(relay, from, &piece);
    while (rc == 0 && (rc = write_upgraded(relay, to, piece)) == 0);
    relay->is_half_open = true;
    if (rc == TD_ECLOSED && td_iostream_shutdown(to) == 0)
        return;
    td_iostream_close(from);
    td_iostream_close(to);
}

static void
pump_down(struct relay *relay)
{
    pump(relay, relay->server, relay->client);
}

void
upgrade_relay(struct relay *relay, const td_response *answer)
{
    const struct settings *settings = relay->settings;
    const int64_t look_ms = settings->half_open_timeout < settings->upgrade_timeout
                                ? settings->half_open_timeout
                                : settings->upgrade_timeout;

    relay->server = td_fetch_detach(relay->stream);
    relay->client = td_detach(
        relay->h, TD_DETACH(.upgrade = td_fetched_header(answer, "Upgrade").ptr,
                            .stream = TD_IOSTREAM(.timeout_ms = look_ms, .half_open = true)));
    if (relay->client == NULL)
        return;
    td_iostream_set_timeout(relay->server, look_ms);
    td_iostream_set_half_open(relay->server, true);
    relay->moved_ms = td_ioloop_time_ms();
    relay_start_beside(relay, pump_down);
    pump(relay, relay->client, relay->server);
    relay_await_beside(relay);
}
