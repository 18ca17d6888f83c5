#include "io/stretch.h"

#include <stddef.h>

int64_t td_stretch_max_ns = INT64_MAX;
td_stretch_fn *td_stretch_tell;
