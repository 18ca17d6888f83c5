/* Goal: what clients upload is saved into files, and what became of each is told. */
#include <inttypes.h>
#include <tornado/tornado.h>

struct settings {
    const char *directory;
};

static const char *
path_of(td_handler *h, const char *name)
{
    const struct settings *settings = td_settings(h);

    return td_sprintf(h, "%s/%s", settings->directory, name).ptr;
}

/* A line for each file: its size, and what td_save_file said. */
static void
save(td_handler *h)
{
    const td_http_file *files;
    const size_t count = td_get_files(h, NULL, &files);

    for (size_t i = 0; i < count; i++) {
        const int rc = td_save_file(h, &files[i], path_of(h, files[i].name.ptr));

        td_writef(h, "%s %zu %d\n", files[i].name.ptr, files[i].body.len, rc);
    }
}

static void
save_body(td_handler *h)
{
    const int rc = td_save_body(h, path_of(h, "body"));

    td_writef(h, "%zu %d\n", td_request_body(h).len, rc);
}

/* What a form has, without a look at the files. */
static void
count(td_handler *h)
{
    td_writef(h, "%zu %zu\n", td_get_body_arguments(h, "f", NULL), td_get_files(h, NULL, NULL));
}

static void
own_page(td_handler *h, int status)
{
    td_writef(h, "page of the handler: %d", status);
}

static void
slow_page(td_handler *h, int status)
{
    td_sleep(50);
    own_page(h, status);
}

static const td_handler_class Save = {.post = save, .write_error = own_page};
static const td_handler_class Body = {.put = save_body};
static const td_handler_class Count = {.get = count, .post = count, .write_error = own_page};
static const td_handler_class Slow = {.post = count, .write_error = slow_page};

TD_PLUGIN(.name = "uploads", .version = "1.0",
          .urls = TD_URLS(TD_URL("/save", &Save), TD_URL("/body", &Body),
                          TD_URL("/count", &Count), TD_URL("/slow", &Slow)),
          .options = TD_OPTIONS(struct settings,
                                TD_OPT_STRING(struct settings, directory, NULL,
                                              "Where uploads are saved.")));
