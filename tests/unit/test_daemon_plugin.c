/*
 * Goal: a descriptor of an older minor loads with what it does not know left out, one that cannot
 * be right is refused with the reason; a file that is no handler is told from one that is, wherever
 * it is cut.
 */
#include "daemon/site/plugin.h"

#include <stdio.h>
#include <string.h>
#include <tornado/tornado.h>
#include "daemon/site/elf.h"
#include "on_arena.h"
#include "web/pluginlayout.h"

static void
greet(td_handler *h)
{
    (void)h;
}

struct settings {
    const char *greeting;
    int64_t pause;
    bool loud;
};

static const td_handler_class Greet = {.get = greet, .flags = TD_CANCEL_ON_CLOSE},
                              Other = {.post = greet};
static const td_url urls[] = {TD_URL("/a", &Greet, .name = "a"),
                              TD_URL("/b", &Other, .initialize_arg = &Other), TD_URL("/c", &Greet),
                              {.pattern = NULL}};

static const td_option options[] = {
    TD_OPT_STRING(struct settings, greeting, "Hello", "what to say"),
    TD_OPT_TIME(struct settings, pause, "1s", 0, 60000, "pause"),
    TD_OPT_BOOL(struct settings, loud, "off", "shout"),
    {.name = NULL},
};

static td_plugin
good_plugin(void)
{
    return (td_plugin){
        .abi_major = TD_ABI_MAJOR,
        .abi_minor = TD_ABI_MINOR,
        .plugin_size = sizeof(td_plugin),
        .url_size = sizeof(td_url),
        .class_size = sizeof(td_handler_class),
        .option_size = sizeof(td_option),
        .shared_size = sizeof(td_shared_memory),
        .name = "test",
        .urls = urls,
        .options = options,
        .settings_size = sizeof(struct settings),
    };
}

START_TEST(a_good_one_is_copied)
{
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    ck_assert_msg(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err) == 0, "%s", err.text);
    ck_assert_str_eq(copy->name, "test");
    ck_assert_str_eq(copy->urls[1].pattern, "/b");
    ck_assert_ptr_eq(copy->urls[1].initialize_arg, &Other);
    ck_assert_ptr_null(copy->urls[3].pattern);
    ck_assert_uint_eq(copy->urls[0].handler->flags, TD_CANCEL_ON_CLOSE);
    ck_assert_ptr_eq(copy->urls[0].handler, copy->urls[2].handler);
    ck_assert_ptr_ne(copy->urls[0].handler, copy->urls[1].handler);
    ck_assert_str_eq(copy->options[2].name, "loud");
    ck_assert_ptr_null(copy->options[3].name);
    ck_assert_uint_eq(copy->settings_size, sizeof(struct settings));
}
END_TEST

START_TEST(urls_in_urls_are_copied)
{
    static const td_url inner[] = {TD_URL("/x", &Greet), TD_URL("/y", &Other, .methods = "POST"),
                                   {.pattern = NULL}};
    static const td_url outer[] = {TD_URL_MOUNT("/v1", inner), TD_URL_MOUNT("/v2", inner),
                                   TD_URL("/z", &Greet), {.pattern = NULL}};
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    plugin.urls = outer;
    plugin.default_handler = &Other;
    ck_assert_msg(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err) == 0, "%s", err.text);
    ck_assert_ptr_ne(copy->urls[0].urls, inner);
    ck_assert_str_eq(copy->urls[0].urls[1].methods, "POST");
    ck_assert_ptr_null(copy->urls[0].urls[2].pattern);
    ck_assert_ptr_null(copy->urls[0].handler);
    ck_assert_ptr_eq(copy->urls[0].urls[0].handler, copy->urls[2].handler);
    ck_assert_ptr_eq(copy->urls[1].urls[1].handler, copy->default_handler);
    ck_assert_ptr_ne(copy->default_handler, &Other);
}
END_TEST

START_TEST(an_older_file_has_no_newer_fields)
{
    struct {
        const char *pattern;
        const td_handler_class *handler;
        const char *name;
        const void *initialize_arg;
    } old[] = {{"/a", &Greet, "a", NULL}, {"/b", &Greet, NULL, &Other}, {NULL, NULL, NULL, NULL}};
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    plugin.urls = (const td_url *)(const void *)old;
    plugin.url_size = sizeof(old[0]);
    plugin.plugin_size = offsetof(td_plugin, get_current_user);
    plugin.class_size = offsetof(td_handler_class, get_current_user);
    plugin.default_handler = &Other; /* lies behind its end */
    ck_assert_msg(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err) == 0, "%s", err.text);
    ck_assert_str_eq(copy->urls[1].pattern, "/b");
    ck_assert_ptr_eq(copy->urls[1].initialize_arg, &Other);
    ck_assert_ptr_null(copy->urls[1].urls);
    ck_assert_ptr_null(copy->urls[1].headers);
    ck_assert_ptr_null(copy->urls[2].pattern);
    ck_assert_ptr_null(copy->default_handler);
}
END_TEST

START_TEST(nothing_declared_is_fine)
{
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    plugin.urls = NULL;
    plugin.options = NULL;
    ck_assert_msg(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err) == 0, "%s", err.text);
    ck_assert_ptr_null(copy->urls[0].pattern);
    ck_assert_ptr_null(copy->options);
}
END_TEST

static const td_url no_class[] = {{.pattern = "/a"}, {.pattern = NULL}};

static const td_option bad_options[][2] = {
    {{"x", "1", "", 0, 0, 0, 77}, {.name = NULL}},
    {{"x", "1", "", 0, 0, sizeof(struct settings) - 4, TD_OPTION_INT}, {.name = NULL}},
    {{"x", "1", "", 0, 0, UINT32_MAX, TD_OPTION_BOOL}, {.name = NULL}},
    {{"mount", "1", "", 0, 0, 0, TD_OPTION_STRING}, {.name = NULL}},
    {{"max_body_size", "1", "", 0, 0, 0, TD_OPTION_STRING}, {.name = NULL}},
};

static void
set_major(td_plugin *p)
{
    p->abi_major++;
}
static void
set_minor(td_plugin *p)
{
    p->abi_minor++;
}
static void
set_small(td_plugin *p)
{
    p->plugin_size = 8;
}
static void
set_large(td_plugin *p)
{
    p->url_size += 8;
}
static void
set_class(td_plugin *p)
{
    p->class_size = 0;
}
static void
set_option_size(td_plugin *p)
{
    p->option_size += 8;
}
static void
set_no_name(td_plugin *p)
{
    p->name = NULL;
}
static void
set_empty_name(td_plugin *p)
{
    p->name = "";
}
static void
set_no_class(td_plugin *p)
{
    p->urls = no_class;
}
static td_url endless[] = {TD_URL_MOUNT("/x", endless), {.pattern = NULL}};
static void
set_endless(td_plugin *p)
{
    p->urls = endless;
}
static const td_url no_class_within[] = {TD_URL_MOUNT("/x", no_class), {.pattern = NULL}};
static void
set_no_class_within(td_plugin *p)
{
    p->urls = no_class_within;
}
static void
set_type(td_plugin *p)
{
    p->options = bad_options[0];
}
static void
set_past_end(td_plugin *p)
{
    p->options = bad_options[1];
}
static void
set_far_away(td_plugin *p)
{
    p->options = bad_options[2];
}
static void
set_our_key(td_plugin *p)
{
    p->options = bad_options[3];
}
static void
set_our_limit(td_plugin *p)
{
    p->options = bad_options[4];
}

static const struct {
    void (*spoil)(td_plugin *plugin);
    const char *error;
} bad[] = {
    {set_major, "test.so: was built for ABI 2.0"},
    {set_minor, "test.so: was built for ABI 1.1"},
    {set_small, "sizes in it cannot be"},
    {set_large, "sizes in it cannot be"},
    {set_class, "sizes in it cannot be"},
    {set_option_size, "sizes in it cannot be"},
    {set_no_name, "has no .name"},
    {set_empty_name, "has no .name"},
    {set_no_class, "route /a has no handler class"},
    {set_no_class_within, "route /a has no handler class"},
    {set_endless, ".urls stand in one another without end"},
    {set_type, "option x has the unknown type 77"},
    {set_past_end, "option x lies outside the struct"},
    {set_far_away, "option x lies outside the struct"},
    {set_our_key, "option mount bears the name of a setting of ours"},
    {set_our_limit, "option max_body_size bears the name of a setting of ours"},
};

START_TEST(a_bad_one_is_refused_with_the_reason)
{
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    bad[_i].spoil(&plugin);
    ck_assert_int_eq(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err), TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, bad[_i].error) != NULL, "%s", err.text);
}
END_TEST

/* ---- files */

static char *
read_self(size_t *size_out)
{
    FILE *file = fopen("/proc/self/exe", "r");

    ck_assert_ptr_nonnull(file);
    fseek(file, 0, SEEK_END);
    *size_out = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size_out);
    ck_assert_uint_eq(fread(bytes, 1, *size_out, file), *size_out);
    fclose(file);
    return bytes;
}

/* ---- metrics */

#define NAME_63 "a23456789_123456789_123456789_123456789_123456789_123456789_123"

static const struct {
    td_metric_info metrics[3];
    const char *error; /* NULL: they are good */
} metrics[] = {
    {{TD_COUNTER("orders", "Orders."), TD_GAUGE("_Open2", "\xc3\xbc.")}, NULL},
    {{TD_COUNTER(NAME_63, "Long.")}, NULL},
    {{TD_COUNTER(NAME_63 "4", "Longer.")}, "at most 63 bytes"},
    {{TD_COUNTER("", "Nothing.")}, "wants a name of"},
    {{TD_COUNTER("2nd", "A digit.")}, "wants a name of"},
    {{TD_COUNTER("a-b", "A dash.")}, "wants a name of"},
    {{TD_COUNTER("a:b", "A colon.")}, "wants a name of"},
    {{TD_COUNTER("orders_total", "Orders.")}, "must not end in _total"},
    {{TD_GAUGE("orders_count", "Orders.")}, "must not end in _count"},
    {{TD_GAUGE("tornadod_orders", "Orders.")}, "begins our own"},
    {{TD_GAUGE("a", "A."), TD_COUNTER("a", "A.")}, "declares the metric a twice"},
    {{{"a", "A.", 0, NULL, NULL}}, "unknown kind 0"},
    {{{"a", "A.", 3, NULL, NULL}}, "unknown kind 3"},
    {{TD_GAUGE("a", NULL)}, "wants a help"},
    {{TD_GAUGE("a", "")}, "wants a help"},
    {{TD_GAUGE("a", "two\nlines")}, "wants a help"},
    {{TD_GAUGE("a", "\xfc")}, "wants a help"},
    {{TD_COUNTER_BY("a", "A.", "b", "words")}, NULL},
    {{TD_COUNTER_BY("a", "A.", "le", "words")}, "\"le\" cannot be its label"},
    {{TD_COUNTER_BY("a", "A.", "handler", "words")}, "\"handler\" cannot be its label"},
    {{TD_COUNTER_BY("a", "A.", "__b", "words")}, "\"__b\" cannot be its label"},
    {{TD_COUNTER_BY("a", "A.", "", "words")}, "\"\" cannot be its label"},
    {{TD_COUNTER_BY("a", "A.", "a b", "words")}, "\"a b\" cannot be its label"},
    {{TD_COUNTER_BY("a", "A.", NAME_63 "4", "words")}, "cannot be its label"},
    {{TD_GAUGE_BY("a", "A.", "b", "word")}, "no option 'word' that is a string"},
    {{TD_GAUGE_BY("a", "A.", "b", "number")}, "no option 'number' that is a string"},
    {{TD_GAUGE_BY("a", "A.", "b", NULL)}, "no option '' that is a string"},
};

struct words {
    const char *words;
    int64_t number;
};

static const td_option words[] = {TD_OPT_STRING(struct words, words, "", "Words."),
                                  TD_OPT_INT(struct words, number, "1", 0, 9, "A number."),
                                  {.name = NULL}};

START_TEST(metrics_have_names_and_helps_that_can_be_told)
{
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    plugin.options = words;
    plugin.option_size = sizeof(td_option);
    plugin.settings_size = sizeof(struct words);
    plugin.metric_size = sizeof(td_metric_info);
    plugin.metrics = metrics[_i].metrics;
    const int rc = td_plugin_translate(&arena, "test.so", &plugin, &copy, &err);
    if (metrics[_i].error == NULL) {
        ck_assert_msg(rc == 0, "%s", err.text);
        ck_assert_str_eq(copy->metrics[0].name, plugin.metrics[0].name);
    } else {
        ck_assert_int_eq(rc, TD_EPLUGIN);
        ck_assert_msg(strstr(err.text, metrics[_i].error) != NULL, "%s", err.text);
    }
}
END_TEST

START_TEST(metrics_have_a_limit_and_a_size)
{
    static td_metric_info many[110];
    static char names[110][8];
    td_plugin plugin = good_plugin();
    const td_plugin *copy;
    td_err err;

    for (size_t i = 0; i < 101; i++) {
        snprintf(names[i], sizeof(names[i]), "m%zu", i);
        many[i] = (td_metric_info)TD_GAUGE(names[i], "A number.");
    }
    plugin.metrics = many;
    ck_assert_int_eq(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err), TD_EPLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "damaged")); /* metric_size is 0 */
    plugin.metric_size = sizeof(td_metric_info);
    ck_assert_int_eq(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err), TD_EPLUGIN);
    ck_assert_ptr_nonnull(strstr(err.text, "more than 100 metrics"));
    many[100].name = NULL;
    ck_assert_msg(td_plugin_translate(&arena, "test.so", &plugin, &copy, &err) == 0, "%s", err.text);
}
END_TEST

START_TEST(a_shared_object_passes)
{
    size_t size;
    char *bytes = read_self(&size); /* position-independent, so of the same type */
    td_err err;

    ck_assert_msg(elf_check(bytes, size, &err) == 0, "%s", err.text);
    free(bytes);
}
END_TEST

START_TEST(a_file_that_is_cut_is_never_read_past_its_end)
{
    size_t size;
    char *bytes = read_self(&size);
    td_err err;

    for (size_t len = 0; len < size; len += len < 4096 ? 1 : size / 64) {
        char *cut = malloc(len + 1);
        memcpy(cut, bytes, len);
        int rc = elf_check(cut, len, &err);
        ck_assert(rc == TD_EPLUGIN || (rc == 0 && len > 4096));
        free(cut);
    }
    free(bytes);
}
END_TEST

static const struct {
    size_t at;
    unsigned char byte;
    const char *error;
} spoilt[] = {
    {0, 'X', "is not a shared object"}, {4, 1, "another kind of machine"}, /* EI_CLASS: 32 bits */
    {5, 2, "another kind of machine"},                                     /* EI_DATA: big-endian */
    {18, 8, "another kind of machine"},                                    /* e_machine: MIPS */
    {16, 2, "link it with -shared"},                                       /* e_type: ET_EXEC */
    {39, 0xff, "cut off or damaged"},                                      /* e_phoff */
};

START_TEST(what_is_no_shared_object_is_told)
{
    size_t size;
    char *bytes = read_self(&size);
    td_err err;

    bytes[spoilt[_i].at] = (char)spoilt[_i].byte;
    ck_assert_int_eq(elf_check(bytes, size, &err), TD_EPLUGIN);
    ck_assert_msg(strstr(err.text, spoilt[_i].error) != NULL, "%s", err.text);
    free(bytes);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, arena_setup, arena_teardown);
    tcase_add_test(tcase, a_good_one_is_copied);
    tcase_add_test(tcase, urls_in_urls_are_copied);
    tcase_add_test(tcase, an_older_file_has_no_newer_fields);
    tcase_add_test(tcase, nothing_declared_is_fine);
    ADD_TABLE(tcase, a_bad_one_is_refused_with_the_reason, bad);
    ADD_TABLE(tcase, metrics_have_names_and_helps_that_can_be_told, metrics);
    tcase_add_test(tcase, metrics_have_a_limit_and_a_size);
    tcase_add_test(tcase, a_shared_object_passes);
    tcase_add_test(tcase, a_file_that_is_cut_is_never_read_past_its_end);
    ADD_TABLE(tcase, what_is_no_shared_object_is_told, spoilt);
}

int
main(void)
{
    return unit_run("daemon_plugin", fill);
}
