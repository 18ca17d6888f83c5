#include "base/counters.h"

#include <string.h>

static td_worker_counters counters_nowhere;
static td_worker_gauges gauges_nowhere;

td_worker_counters *td_counters = &counters_nowhere;
td_worker_gauges *td_gauges = &gauges_nowhere;
td_listener_counters td_listener_counters_nowhere;

const char *const td_reason_names[TD_REASONS_COUNT] = {
#define X(id, name, words) name,
#include "base/reasons.def"
#undef X
};

const char *const td_connection_state_names[TD_CONNECTION_STATES_COUNT] = {
#define X(id, name) name,
    TD_CONNECTION_STATES(X)
#undef X
};

const char *const td_handshake_names[TD_HANDSHAKES_COUNT] = {
#define X(id, name) name,
    TD_HANDSHAKES(X)
#undef X
};

static const char *const reason_words[TD_REASONS_COUNT] = {
#define X(id, name, words) words,
#include "base/reasons.def"
#undef X
};

static td_reason
reason_by_status(int status)
{
    switch (status) {
    case 404:
        return TD_REASON_NO_ROUTE;
    case 405:
        return TD_REASON_NO_METHOD;
    case 500:
        return TD_REASON_HANDLER_FAILED;
    case 501:
        return TD_REASON_NOT_UNDERSTOOD;
    default:
        return TD_REASON_OTHER;
    }
}

static td_reason
find_reason(int status, const char *why)
{
    for (unsigned i = 0; why != NULL && i < TD_REASONS_COUNT; i++) {
        if (reason_words[i] != NULL && strstr(why, reason_words[i]) != NULL)
            return (td_reason)i;
    }
    return reason_by_status(status);
}

void
td_count_reason(int status, const char *why)
{
    td_counters->reasons[find_reason(status, why)]++;
}
