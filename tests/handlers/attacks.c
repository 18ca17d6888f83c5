/*
 * Goal: each way in which one client can make a worker toil, beside a small answer for those who
 * are not to notice it.
 */
#include <stdlib.h>
#include <string.h>
#include <tornado/tornado.h>

#define PAGE_BYTES (16 << 20)

struct settings {
    const char *directory;
};

static void
small(td_handler *h)
{
    td_write(h, TD_STR("Hello, World!"));
}

static void
form(td_handler *h)
{
    td_writef(h, "%zu", td_get_body_argument_default(h, "f", "").len);
}

static void
cookie(td_handler *h)
{
    td_writef(h, "%zu", td_get_cookie(h, "c").len);
}

static void
json(td_handler *h)
{
    td_writef(h, "%zu", td_json_count(td_request_json(h)));
}

static void
body(td_handler *h)
{
    td_writef(h, "%zu", td_request_body(h).len);
}

static void
save(td_handler *h)
{
    const struct settings *settings = td_settings(h);
    const td_http_file *file = td_get_file(h, "f");
    const char *path = td_sprintf(h, "%s/saved", settings->directory).ptr;

    td_writef(h, "%d", file != NULL ? td_save_file(h, file, path) : TD_EINVAL);
}

/* Text that a compressor has to work at. */
static void
page(td_handler *h)
{
    static char bytes[64 * 1024];

    if (bytes[0] == '\0')
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)('a' + rand() % 16);
    for (size_t written = 0; written < PAGE_BYTES; written += sizeof(bytes))
        td_write(h, td_str_make(bytes, sizeof(bytes)));
}

static void
url(td_handler *h)
{
    td_write(h, td_static_url(h, "new"));
}

static const td_handler_class Small = {.get = small};
static const td_handler_class Form = {.post = form};
static const td_handler_class Cookie = {.get = cookie};
static const td_handler_class Json = {.post = json};
static const td_handler_class Body = {.post = body};
static const td_handler_class Save = {.post = save};
static const td_handler_class Page = {.get = page};
static const td_handler_class Url = {.get = url};

TD_PLUGIN(.name = "attacks", .version = "1.0",
          .urls = TD_URLS(TD_URL("/small", &Small), TD_URL("/form", &Form),
                          TD_URL("/cookie", &Cookie), TD_URL("/json", &Json),
                          TD_URL("/body", &Body), TD_URL("/save", &Save), TD_URL("/page", &Page),
                          TD_URL("/url", &Url)),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, directory, "/nowhere",
                                              "Where uploads are saved.")));
