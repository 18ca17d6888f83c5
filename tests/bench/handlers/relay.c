/* The handler of the row "relay": what another server answers, by td_fetch. */
#include <tornado/tornado.h>

struct settings {
    const char *upstream;
};

static void
relay(td_handler *h)
{
    const struct settings *settings = td_settings(h);
    td_response *answer = td_fetch(h, settings->upstream, NULL);

    if (answer == NULL)
        td_raise(h, 502, "upstream: %s", td_error_text(h));
    td_write(h, answer->body);
}

static const td_handler_class Relay = {.get = relay};

TD_PLUGIN(.name = "relay", .version = "1.0", .urls = TD_URLS(TD_URL("/plaintext", &Relay)),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, upstream, "", "Its URL.")));
