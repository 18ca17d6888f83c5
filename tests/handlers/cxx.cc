/* Goal: a handler in C++20: destructors, exceptions and lambdas beside waiting and raising. */
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <tornado/tornado.h>

namespace {

struct Settings {
    const char *greeting;
    int64_t limit;
    bool loud;
};

struct State {
    std::vector<std::string> seen;
};

struct Noted {
    std::string name;
    ~Noted() { td_log_info("~%s", name.c_str()); }
};

void
descend(td_handler *h, int depth)
{
    Noted noted{"depth " + std::to_string(depth)};

    if (depth == 0)
        td_raise(h, 502, "from below");
    if (depth > 0)
        descend(h, depth - 1);
}

void
raise_below(td_handler *h)
{
    descend(h, 2);
}

void
let_go(td_handler *)
{
    throw std::runtime_error("disk full");
}

void
handle(td_handler *h)
{
    try {
        td_sleep(1);
        throw std::runtime_error("handled");
    } catch (const std::exception &e) {
        td_sleep(1);
        td_write_json(h, TD_JSON("what", e.what()), TD_JSON("on", true), TD_JSON("pi", 3.5),
                      TD_JSON("count", 3u), TD_JSON("path", td_request_path(h)));
    }
}

void
wait_too_long(td_handler *h)
{
    Noted noted{"waiting"};
    auto number = std::make_unique<int>(3);

    td_sleep(3600 * 1000);
    td_writef(h, "%d", *number);
}

void
fail_in_callback(td_handler *h)
{
    td_call_later(td_ioloop_current(), 1, [](void *) { throw std::out_of_range("in a callback"); }, h);
    td_sleep(3600 * 1000);
}

void
finish_in_callback(td_handler *h)
{
    td_asynchronous(h);
    td_add_callback(
        td_ioloop_current(),
        [](void *arg) {
            auto *later = static_cast<td_handler *>(arg);

            td_write(later, TD_STR("from a lambda"));
            td_finish(later);
        },
        h);
}

void
remember(td_handler *h)
{
    auto *state = static_cast<State *>(td_state(h));
    auto *settings = static_cast<const Settings *>(td_settings(h));
    auto *hits = static_cast<uint64_t *>(td_shared(h, "hits"));

    state->seen.emplace_back(td_get_argument(h, "name").ptr);
    td_write_json(h, TD_JSON("greeting", settings->greeting), TD_JSON("seen", state->seen.size()),
                  TD_JSON("hits", __atomic_add_fetch(hits, 1, __ATOMIC_RELAXED)));
}

int
load(td_instance *, void **state_out, td_err *)
{
    *state_out = new State;
    return 0;
}

void
stop(td_instance *instance)
{
    delete static_cast<State *>(td_instance_state(instance));
}

const td_handler_class Below{.get = raise_below}, LetGo{.get = let_go}, Handle{.get = handle};
const td_handler_class Long{.get = wait_too_long, .request_timeout_ms = 50};
const td_handler_class Fails{.get = fail_in_callback}, Finishes{.get = finish_in_callback};
const td_handler_class Remember{.get = remember};

} /* namespace */

TD_PLUGIN(.name = "cxx", .version = "1.0",
          .urls = TD_URLS(TD_URL("/below", &Below), TD_URL("/let-go", &LetGo),
                          TD_URL("/handle", &Handle), TD_URL("/long", &Long),
                          TD_URL("/fails", &Fails), TD_URL("/finishes", &Finishes),
                          TD_URL("/remember", &Remember, .name = "remember"),
                          TD_URL_MOUNT("/nested", TD_URLS(TD_URL("/let-go", &LetGo,
                                                                 .methods = "GET")),
                                       .headers = TD_HEADERS({"X-Nested", ".+"}))),
          .options = TD_OPTIONS(Settings, TD_OPT_STRING(Settings, greeting, "Hi", "What to say."),
                                TD_OPT_INT(Settings, limit, "3", 0, 9, "How often."),
                                TD_OPT_BOOL(Settings, loud, "on", "How loud.")),
          .shared = TD_SHARED({"hits", sizeof(uint64_t)}), .load = load, .stop = stop);
