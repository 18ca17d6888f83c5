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

/* 1: bytes; 0: neither side has said anything for upgrade_timeout; or an error. */
static int
read_upgraded(struct relay *relay, td_iostream *from, td_str *piece_out)
{
    const int64_t timeout_ms = relay->settings->upgrade_timeout;
    int rc;

    do
        rc = td_iostream_read_partial(from, PIECE, piece_out);
    while (rc == TD_EDRAINING || /* only the two know how to say goodbye: they have drain_timeout */
           (rc == TD_ETIMEDOUT && td_ioloop_time_ms() - relay->moved_ms < timeout_ms));
    relay->moved_ms = td_ioloop_time_ms();
    return rc == 0 ? 1 : rc == TD_ETIMEDOUT ? 0 : rc;
}

/* One way, until one of them has closed: what it has said before still arrives. */
static void
pump(struct relay *relay, td_iostream *from, td_iostream *to)
{
    td_str piece;

    while (read_upgraded(relay, from, &piece) > 0 && td_iostream_write(to, piece) == 0 &&
           td_iostream_flush(to) == 0)
        ;
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
    const int64_t timeout_ms = relay->settings->upgrade_timeout;

    relay->server = td_fetch_detach(relay->stream);
    relay->client =
        td_detach(relay->h, TD_DETACH(.upgrade = td_fetched_header(answer, "Upgrade").ptr,
                                      .stream = TD_IOSTREAM(.timeout_ms = timeout_ms)));
    if (relay->client == NULL)
        return;
    td_iostream_set_timeout(relay->server, timeout_ms);
    relay->moved_ms = td_ioloop_time_ms();
    relay_start_beside(relay, pump_down);
    pump(relay, relay->client, relay->server);
}
