/* The dummy that td_activity_slot points at until the worker has a slot of the scoreboard. */
#include "base/activity.h"

static volatile td_activity nowhere;

volatile td_activity *td_activity_slot = &nowhere;
