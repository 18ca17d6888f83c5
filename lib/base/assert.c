/* An invariant of our own is broken: say which, and stop at once. */
#include "base/assert.h"

#include <stdlib.h>
#include "base/log.h"

void
td_assert_failed(const char *text, const char *file, int line)
{
    td_log_at(TD_LOG_CRITICAL, "assert", "%s:%d: does not hold: %s", file, line, text);
    abort();
}
