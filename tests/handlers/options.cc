/* Goal: what is given as TD_SSE(...) and its kin in C is given so in C++, to a call and in a table. */
#include <string>
#include <tornado/tornado.h>

namespace {

void
ticks(td_handler *h)
{
    if (td_sse_begin(h) != 0)
        return;
    for (int i = 1; i <= 2; i++) {
        const std::string id = std::to_string(i);

        if (td_sse_send(h, TD_SSE(.id = id.c_str(), .data = TD_STR("tick"))) != 0)
            return;
    }
}

void
any_file(td_handler *h)
{
    const td_str root = td_get_argument(h, "root"); /* another one each time */

    td_serve_static(h, TD_STATIC(.root = root.ptr), TD_STR("file.txt"));
}

void
open_none(td_handler *h)
{
    td_iostream *stream = td_iostream_create(-1, TD_IOSTREAM(.timeout_ms = 1000));

    td_future *read = td_iostream_read_future(stream, TD_READ_UNTIL(TD_UNTIL_BYTES, .count = 1));
    td_future_unref(read);
    td_writef(h, "%d\n", stream == nullptr);
}

void
fetch_none(td_handler *h)
{
    const td_response *response =
        td_fetch(h, "http://test/", TD_FETCH(.method = "HEAD", .unix_socket = "/no/such"));

    td_writef(h, "%d\n", response == nullptr);
}

const td_handler_class Ticks{.get = ticks};
const td_handler_class AnyFile{.get = any_file};
const td_handler_class OpenNone{.get = open_none};
const td_handler_class FetchNone{.get = fetch_none};

} // namespace

TD_PLUGIN(.name = "options", .version = "1.0",
          .urls = TD_URLS(TD_URL("/ticks", &Ticks), TD_URL("/any", &AnyFile),
                          TD_URL("/none", &OpenNone), TD_URL("/fetch", &FetchNone),
                          TD_URL("/was/(.*)", &td_redirect_class,
                                 .initialize_arg = TD_REDIRECT(.url = "/{0}")),
                          TD_URL("/gone", &td_error_class, .initialize_arg = TD_ERROR(.status = 410)),
                          TD_URL("/proc/(.*)", &td_static_class,
                                 .initialize_arg = TD_STATIC(.root = "/proc/self"))));
