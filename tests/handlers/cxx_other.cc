/* Goal: a second handler in C++ beside cxx.cc keeps its own lists: nothing of it is united. */
#include <tornado/tornado.h>

namespace {

struct Settings {
    int64_t other;
};

void
get(td_handler *h)
{
    td_writef(h, "other %d", static_cast<int>(static_cast<const Settings *>(td_settings(h))->other));
}

const td_handler_class Other{.get = get};

} /* namespace */

TD_PLUGIN(.name = "cxx_other", .version = "1.0", .urls = TD_URLS(TD_URL("/other", &Other)),
          .options = TD_OPTIONS(Settings, TD_OPT_INT(Settings, other, "7", 0, 9, "A number.")));
