/*
 * Goal: settings are what the file says, what is wrong in them is named with its place and what
 * would be right, and conf/ says what the program does.
 */
#include "base/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/congestion.h"
#include "base/log.h"
#include "base/settings_rows.h"
#include "unit.h"

static td_arena arena;
static const td_configuration *c;
static td_err err;
static char path[64];

static void
set_up(void)
{
    td_arena_init(&arena);
    snprintf(path, sizeof(path), "/tmp/tornadod-test-XXXXXX");

    const int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void
tear_down(void)
{
    td_arena_fini(&arena);
    unlink(path);
}

static int
load(const char *text, const char *override)
{
    FILE *file = fopen(path, "w");

    fputs(text, file);
    fclose(file);
    return td_settings_load(&arena, path, &override, override != NULL, &c, &err);
}

static void
load_good(const char *text, const char *override)
{
    ck_assert_msg(load(text, override) == 0, "%s", err.text);
}

/* ---- defaults */

START_TEST(without_a_file_everything_has_its_default)
{
    ck_assert_int_eq(td_settings_load(&arena, NULL, NULL, 0, &c, &err), 0);
    ck_assert_int_eq(c->tornadod.workers, 0);
    ck_assert_ptr_null(c->tornadod.user);
    ck_assert_int_eq(c->tornadod.drain_timeout_ms, 30000);
    ck_assert_int_eq(c->tornadod.coroutine_stack, 262144);
    ck_assert_int_eq(c->log.level, TD_LOG_INFO);
    ck_assert_int_eq(c->log.target, TD_LOG_STDERR);
    ck_assert_int_eq(c->log.access, TD_ACCESS_TORNADO);
    ck_assert_uint_eq(c->listeners_count, 1);
    ck_assert_str_eq(c->listeners[0].name, "default");
    ck_assert_str_eq(c->listeners[0].address, "127.0.0.1:8888");
    ck_assert_int_eq(c->listeners[0].mode, 0660);
    ck_assert(c->listeners[0].defer_accept);
    ck_assert_int_eq(c->listeners[0].limits.max_body_size, 1048576);
    ck_assert_int_eq(c->listeners[0].limits.header_timeout_ms, 10000);
    ck_assert_uint_eq(c->applications_count, 1);
    ck_assert_str_eq(c->applications[0].name, "default");
    ck_assert_str_eq(c->applications[0].server_header, "tornadod/" TD_VERSION);
    ck_assert_ptr_null(c->applications[0].default_host);
    ck_assert_int_eq(c->applications[0].limits.max_body_size, TD_UNSET);
    ck_assert_uint_eq(c->handlers_count, 0);
}
END_TEST

START_TEST(every_default_is_within_its_own_bounds)
{
    for (size_t k = 0; k < TD_SECTIONS_COUNT; k++)
        for (size_t i = 0; i < td_section_kinds[k].rows_count; i++) {
            const td_setting_row *row = &td_section_kinds[k].rows[i];
            const char *name = k == TD_SECTION_TORNADOD || k == TD_SECTION_LOG ? "" : ":default";
            char text[256];

            if (row->default_text == NULL)
                continue;
            snprintf(text, sizeof(text), "[%s%s]\n%s = %s\n", td_section_kinds[k].name, name,
                     row->key, row->default_text);
            load_good(text, NULL);
        }
    for (size_t i = 0; i < td_limit_rows_count; i++) {
        char text[256];

        snprintf(text, sizeof(text), "[tornadod]\n%s = %s\n", td_limit_rows[i].key,
                 td_limit_rows[i].default_text);
        load_good(text, NULL);
        ck_assert_int_eq(memcmp(&c->tornadod.limits, td_limits_defaults(), sizeof(td_limits)), 0);
    }
}
END_TEST

START_TEST(no_key_stands_for_two_things)
{
    for (size_t k = 0; k < TD_SECTIONS_COUNT; k++)
        for (size_t i = 0; i < td_section_kinds[k].rows_count; i++)
            for (size_t j = 0; j < td_limit_rows_count; j++)
                ck_assert_str_ne(td_section_kinds[k].rows[i].key, td_limit_rows[j].key);
}
END_TEST

/* ---- scopes */

START_TEST(the_narrower_limit_wins)
{
    td_limits limits;

    load_good("[tornadod]\nmax_headers = 10\nmax_body_size = 2m\nmax_fields = 7\n"
              "[listen:a]\naddress = 127.0.0.1:1\nmax_body_size = 3m\n"
              "[listen:b]\naddress = 127.0.0.1:2\nmax_headers = 20\n"
              "[application]\nmax_body_size = 4m\ndecompress_request = on\n"
              "[handler:h]\nmax_body_size = 5m\nrequest_timeout = 0\ndecompress_request = off\n",
              NULL);
    ck_assert_int_eq(c->tornadod.limits.max_headers, 10);
    ck_assert_int_eq(c->listeners[0].limits.max_headers, 10);
    ck_assert_int_eq(c->listeners[0].limits.max_body_size, 3 << 20);
    ck_assert_int_eq(c->listeners[1].limits.max_headers, 20);
    ck_assert_int_eq(c->listeners[1].limits.max_body_size, 2 << 20);

    limits = c->listeners[0].limits;
    td_limits_overlay(&limits, &c->applications[0].limits);
    ck_assert_int_eq(limits.max_body_size, 4 << 20);
    ck_assert_int_eq(limits.decompress_request, 1);
    td_limits_overlay(&limits, &c->handlers[0].limits);
    ck_assert_int_eq(limits.decompress_request, 0);
    ck_assert_int_eq(limits.max_body_size, 5 << 20);
    ck_assert_int_eq(limits.request_timeout_ms, 0);
    ck_assert_int_eq(limits.max_fields, 7);
    ck_assert_int_eq(limits.max_headers, 10);
}
END_TEST

/* ---- sections */

START_TEST(sections_become_structs_in_the_order_of_the_file)
{
    load_good("[handler:b]\norder = -5\nfile = shared.so\n"
              "[listen:two]\naddress = unix:/tmp/x\napplication = shop\nmode = 0600\n"
              "[handler:a]\nmount = /x/y\nenabled = no\n"
              "[application:shop]\nserver-header =\ndefault_host = shop.example\n"
              "[log]\naccess = json\n[handler:b]\nhosts = ^x$\n",
              NULL);
    ck_assert_uint_eq(c->handlers_count, 2);
    ck_assert_str_eq(c->handlers[0].name, "b");
    ck_assert_int_eq(c->handlers[0].order, -5);
    ck_assert_str_eq(c->handlers[0].file, "shared.so");
    ck_assert_str_eq(c->handlers[0].hosts, "^x$");
    ck_assert_str_eq(c->handlers[1].file, "a.so");
    ck_assert_str_eq(c->handlers[1].mount, "/x/y");
    ck_assert(!c->handlers[1].enabled);
    ck_assert_int_eq(c->handlers[1].source.line, 8);
    ck_assert_str_eq(c->listeners[0].application, "shop");
    ck_assert_int_eq(c->listeners[0].mode, 0600);
    ck_assert_uint_eq(c->applications_count, 2);
    ck_assert_str_eq(c->applications[0].server_header, "");
    ck_assert_str_eq(c->applications[0].default_host, "shop.example");
    ck_assert_str_eq(c->applications[1].name, "default");
    ck_assert_int_eq(c->log.access, TD_ACCESS_JSON);
}
END_TEST

START_TEST(whom_a_listener_trusts)
{
    load_good("[listen:x]\ntrusted-downstream = 10.0.0.0/8, unix:\nxheaders = x-forwarded-for\n"
              "proxy_protocol = on\n",
              NULL);
    ck_assert_uint_eq(c->listeners[0].trusted_downstream.count, 2);
    ck_assert_str_eq(c->listeners[0].trusted_downstream.text, "10.0.0.0/8, unix:");
    ck_assert_int_eq(c->listeners[0].xheaders, TD_XHEADERS_FORWARDED_FOR);
    ck_assert(c->listeners[0].proxy_protocol);
    load_good("[listen:x]\n", NULL);
    ck_assert_uint_eq(c->listeners[0].trusted_downstream.count, 0);
    ck_assert_ptr_null(c->listeners[0].trusted_downstream.text);
}
END_TEST

START_TEST(what_a_handler_declares_is_kept_for_it)
{
    load_good("[handler:hello]\ngreeting = Hi, you\nmax_body_size = 1k\nping-every = 5s\n", NULL);
    ck_assert_uint_eq(c->handlers[0].own_count, 2);
    ck_assert_str_eq(c->handlers[0].own[0].key, "greeting");
    ck_assert_str_eq(c->handlers[0].own[0].value, "Hi, you");
    ck_assert_str_eq(c->handlers[0].own[1].key, "ping_every");
    ck_assert_int_eq(c->handlers[0].own[1].source.line, 4);
    ck_assert_int_eq(c->handlers[0].limits.max_body_size, 1024);
}
END_TEST

START_TEST(relative_paths_start_at_the_file)
{
    char here[512];

    load_good("[tornadod]\nhandlers = handlers.d\npid_file = /run/x.pid\nuser =\n",
              "log.access_file=x/access.log");
    ck_assert_str_eq(c->tornadod.handlers, "/tmp/handlers.d");
    ck_assert_str_eq(c->tornadod.pid_file, "/run/x.pid");
    ck_assert_ptr_null(c->tornadod.user);
    ck_assert_ptr_nonnull(getcwd(here, sizeof(here) - 16));
    strcat(here, "/x/access.log");
    ck_assert_str_eq(c->log.access_file, here);
}
END_TEST

/* ---- --set */

static const struct {
    const char *override, *error; /* NULL: it is good */
} overrides[] = {
    {"tornadod.workers=3", NULL},
    {"tornadod.workers = 3 ", NULL},
    {"tornadod.header-timeout=5m 5s", NULL},
    {"listen:public.backlog=3", NULL},
    {"listen:new.address=127.0.0.1:1", NULL},
    {"application.default_host=a=b.c", NULL},
    {"application:default.default_host=x", NULL},
    {"handler:my.name.greeting=a.b=c", NULL},
    {"workers=3", "--set workers=3: write SECTION.KEY=VALUE, as in --set tornadod.workers=2"},
    {".workers=3", "--set .workers=3: write SECTION.KEY=VALUE, as in --set tornadod.workers=2"},
    {"tornadod.workers", "--set tornadod.workers: write SECTION.KEY=VALUE, as in --set "
                         "tornadod.workers=2"},
    {"tornadod.=3", "--set tornadod.=3: '' cannot be a key"},
    {"tornadod.workers=x", "--set: workers: 'x' is neither auto nor a whole number between 1 and "
                           "512"},
    {"tornadod.worker=3", "--set: 'worker' is no key of [tornadod]; did you mean 'workers'?"},
    {"tornado.workers=3", "--set: there is no section [tornado]; did you mean [tornadod]?"},
    {"tornadod.user=a\nb", "--set tornadod.user: a control character"},
    {"tornadod.include=x", "--set: 'include' is no key of [tornadod]"},
};

START_TEST(set_wins_over_the_file)
{
    const int rc =
        load("[tornadod]\nworkers = 1\n[listen:public]\n[application]\n", overrides[_i].override);

    if (overrides[_i].error != NULL) {
        ck_assert_int_eq(rc, TD_ECONFIG);
        ck_assert_str_eq(err.text, overrides[_i].error);
        return;
    }
    ck_assert_msg(rc == 0, "%s", err.text);
    ck_assert_int_eq(c->tornadod.workers, _i < 2 ? 3 : 1);
    ck_assert_int_eq(c->tornadod.limits.header_timeout_ms, _i == 2 ? 305000 : 10000);
    ck_assert_int_eq(c->listeners[0].backlog, _i == 3 ? 3 : 1024);
    ck_assert_uint_eq(c->listeners_count, _i == 4 ? 2 : 1);
    ck_assert_pstr_eq(c->applications[0].default_host, _i == 5 ? "a=b.c" : _i == 6 ? "x" : NULL);
    ck_assert_uint_eq(c->handlers_count, _i == 7);
    ck_assert_str_eq(_i == 7 ? c->handlers[0].own[0].value : "a.b=c", "a.b=c");
}
END_TEST

/* ---- what is wrong */

static const struct {
    const char *text, *error; /* behind the name of the file */
} wrong[] = {
    {"\n[nonsense]", ":2: there is no section [nonsense]"},
    {"[listn:public]", ":1: there is no section [listn:public]; did you mean [listen:public]?"},
    {"[tornado]", ":1: there is no section [tornado]; did you mean [tornadod]?"},
    {"[log:x]", ":1: [log:x] has a name; write [log]"},
    {"[listen]",
     ":1: [listen]: write [listen:NAME], the name of letters, digits, '_', '-' and '.'"},
    {"[handler:]",
     ":1: [handler:]: write [handler:NAME], the name of letters, digits, '_', '-' and '.'"},
    {"[handler:../x]",
     ":1: [handler:../x]: write [handler:NAME], the name of letters, digits, '_', '-' and '.'"},
    {"[application]\n[application:default]",
     ":2: [application:default] is the same as [application] in FILE:1"},
    {"[tornadod]\nworkers = 1\nworkers = 2",
     ":3: 'workers' of [tornadod] is set in FILE:2 already"},
    {"[tornadod]\nworker = 1", ":2: 'worker' is no key of [tornadod]; did you mean 'workers'?"},
    {"[tornadod]\ncookie_secret = 1",
     ":2: 'cookie_secret' is no key of [tornadod]; it belongs in [application:NAME]"},
    {"[application]\nxsrf_cookie_name = a b",
     ":2: xsrf_cookie_name: 'a b' cannot be the name of a cookie"},
    {"[application]\nxsrf_cookie_domain = a;b",
     ":2: xsrf_cookie_domain: 'a;b' is no domain"},
    {"[application]\nxsrf_cookie_name = __Host-x\nxsrf_cookie_domain = example.com",
     ":3: xsrf_cookie_domain: a cookie whose name begins with __Host- has none"},
    {"[application]\nxsrf_cookie_name =",
     ":2: xsrf_cookie_name: '' cannot be the name of a cookie"},
    {"[application]\ncookie_secret_file = nowhere",
     ":2: cookie_secret_file: /tmp/nowhere: No such file or directory"},
    {"[application]\ncookie_secret_file = /", ":2: cookie_secret_file: /: is not a file"},
    {"[application]\ncookie_secret_file = x\ncookie_secret = y",
     ":2: cookie_secret_file: there is a cookie_secret, too"},
    {"[tornadod]\nlevel = info", ":2: 'level' is no key of [tornadod]; it belongs in [log]"},
    {"[tornadod]\napplication = x",
     ":2: 'application' is no key of [tornadod]; it belongs in [listen:NAME] or [handler:NAME]"},
    {"[listen:x]\nmax_heders = 1", ":2: 'max_heders' is no key of [listen:x]; did you mean "
                                   "'max_headers'?"},
    {"[application]\nmax_headers = 1", ":2: 'max_headers' is no key of [application]; it belongs "
                                       "in [tornadod] or [listen:NAME]"},
    {"[handler:x]\nmax_headers = 1", ":2: 'max_headers' is no key of [handler:x]; it belongs in "
                                     "[tornadod] or [listen:NAME]"},
    {"[tornadod]\nworkers = 513",
     ":2: workers: '513' is neither auto nor a whole number between 1 and 512"},
    {"[tornadod]\nworkers = 0",
     ":2: workers: '0' is neither auto nor a whole number between 1 and 512"},
    {"[tornadod]\nmemory = 1k", ":2: memory: '1k' is not between 64k and 1024g"},
    {"[tornadod]\nmax_coroutines = many", ":2: max_coroutines: 'many' is not a whole number"},
    {"[tornadod]\ncoroutine_stack = 4k", ":2: coroutine_stack: '4k' is not between 64k and 64m"},
    {"[tornadod]\ndrain_timeout = 2x",
     ":2: drain_timeout: '2x' is not a time such as 250ms, 10s or 1h 30m"},
    {"[listen:x]\nheader_timeout = 0", ":2: header_timeout: '0' is not between 10ms and 1h"},
    {"[listen:x]\nmax_body_size = 1.5m",
     ":2: max_body_size: '1.5m' is not a size such as 4096, 64k, 1m or 2g"},
    {"[listen:x]\nreuseport = maybe", ":2: reuseport: 'maybe' is neither on nor off"},
    {"[listen:x]\nmode = 0888", ":2: mode: '0888' is not a mode such as 0660"},
    {"[listen:x]\nmode = 1000", ":2: mode: '1000' is not a mode such as 0660"},
    {"[listen:x]\nmode =", ":2: mode: '' is not a mode such as 0660"},
    {"[listen:x]\naddress = *:80", ":2: address: '*:80' is not an address such as 127.0.0.1:8888, "
                                   "[::1]:8888 or unix:/run/tornadod/http.sock"},
    {"[log]\nlevel = loud", ":2: level: 'loud' is none of debug, info, warning, error, critical"},
    {"[log]\ntarget = file", ":2: target = file wants a file: file = /var/log/tornadod.log"},
    {"[listen:x]\napplication = defualt",
     ":2: there is no section [application:defualt]; did you mean application = default?"},
    {"[handler:x]\n\napplication = shop", ":3: there is no section [application:shop]"},
    {"[listen:a]\naddress = [::1]:80\n[listen:b]\naddress = [0:0::1]:80",
     ":4: [listen:b] listens on [0:0::1]:80, as [listen:a] in FILE:2 does"},
    {"[listen:a]\n[listen:b]", ":2: [listen:b] listens on 127.0.0.1:8888, as [listen:a] in FILE:1 "
                               "does"},
    {"[listen:x]\ntrusted_downstream = 10.0.0.0/8 proxy",
     ":2: trusted_downstream: 'proxy' is no network such as 10.0.0.0/8, 127.0.0.1, fd00::/8 or "
     "unix:"},
    {"[listen:x]\nbacklog = 9\nxheaders = on",
     ":3: xheaders: whose? Write trusted_downstream = and the addresses of the proxies"},
    {"[listen:x]\ntrusted_downstream =\nproxy_protocol = on",
     ":3: proxy_protocol: whose? Write trusted_downstream = and the addresses of the proxies"},
    {"[listen:x]\nxheaders = yes",
     ":2: xheaders: 'yes' is none of off, on, x-forwarded-for, x-real-ip, forwarded"},
    {"[handler:x]\nmount = x", ":2: mount: 'x' is not a path such as / or /shop/api"},
    {"[handler:x]\nmount = /x/", ":2: mount: '/x/' is not a path such as / or /shop/api"},
    {"[handler:x]\nmount =", ":2: mount: '' is not a path such as / or /shop/api"},
    {"[handler:x]\nfile = ../x.so", ":2: file: '../x.so' is not the name of a file in the "
                                    "directory of the handlers"},
};

/* With "FILE" for the name of the file. */
static const char *
without_path(const char *text)
{
    td_str result = TD_STR("");

    for (const char *at; (at = strstr(text, path)) != NULL; text = at + strlen(path))
        result = td_arena_sprintf(&arena, "%s%.*sFILE", result.ptr, (int)(at - text), text);
    return td_arena_sprintf(&arena, "%s%s", result.ptr, text).ptr;
}

START_TEST(what_is_wrong_is_named_with_its_place)
{
    ck_assert_int_eq(load(wrong[_i].text, NULL), TD_ECONFIG);
    ck_assert_int_eq(err.code, TD_ECONFIG);
    ck_assert_str_eq(without_path(err.text),
                     td_arena_sprintf(&arena, "FILE%s", wrong[_i].error).ptr);
}
END_TEST

START_TEST(an_algorithm_that_the_kernel_has_not_is_named_beside_those_that_it_has)
{
    char names[256];

    td_congestion_names(names, sizeof(names));
    ck_assert_int_eq(load("[listen:x]\ncongestion = ronin", NULL), TD_ECONFIG);
    ck_assert_str_eq(without_path(err.text),
                     td_arena_sprintf(&arena, "FILE:2: congestion = ronin: write auto, system, or "
                                              "one that the kernel has: %s", names).ptr);
    ck_assert_int_eq(load("[listen:x]\ncongestion = reno", NULL), 0);
    ck_assert_str_eq(c->listeners[0].congestion, "reno");
}
END_TEST

START_TEST(ports_that_the_system_picks_do_not_clash)
{
    load_good("[listen:a]\naddress = 127.0.0.1:0\n[listen:b]\naddress = 127.0.0.1:0\n", NULL);
    ck_assert_uint_eq(c->listeners_count, 2);
}
END_TEST

START_TEST(a_file_that_is_missing_says_so)
{
    ck_assert_int_eq(td_settings_load(&arena, "/nowhere/x.ini", NULL, 0, &c, &err), -ENOENT);
    ck_assert_str_eq(err.text, "/nowhere/x.ini: No such file or directory");
    ck_assert_int_eq(td_settings_load(&arena, "/nowhere/x.ini", NULL, 0, &c, NULL), -ENOENT);
}
END_TEST

/* ---- written out */

static const char *
written(void (*write)(FILE *out))
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    write(out);
    fclose(out);

    const char *copy = td_arena_strdup(&arena, text);

    free(text);
    return copy;
}

static void
print_loaded(FILE *out)
{
    td_settings_print(c, out);
}

/* Comments out of the way, which name the sources. */
static char *
without_sources(const char *text)
{
    char *copy = td_arena_strdup(&arena, text), *to = copy;

    for (const char *from = copy; *from != '\0'; from++) {
        if (from[0] == ' ' && from[1] == ';' && from[2] == ' ')
            from = strchr(from, '\n');
        *to++ = *from;
    }
    *to = '\0';
    return copy;
}

static const char *const loadable[] = {
    "",
    "[tornadod]\nworkers = 3\nuser = nobody\nmax_body_size = 3m\nheader_timeout = 1h\n"
    "[listen:a]\naddress = unix:/tmp/a b\nmode = 0\nbody_timeout = 1ms\n"
    "[listen:b]\nno_keep_alive = on\nmax_fields = 3\n"
    "[log]\nlevel = debug\ntarget = file\nfile = x\n"
    "[application]\nserver_header =\n[application:x]\nmax_response_buffer = 1g\n"
    "[handler:h]\nmount = /x\nmax_body_size = 1\nown = a $;b $$; $${X} $$$ $\nhosts = ^a$;c$\n",
};

START_TEST(what_is_printed_loads_to_the_same)
{
    const char *first, *second;

    load_good(loadable[_i], NULL);
    first = written(print_loaded);
    load_good(first, NULL);
    second = written(print_loaded);
    ck_assert_str_eq(without_sources(first), without_sources(second));
}
END_TEST

START_TEST(what_is_printed_says_where_it_comes_from)
{
    const char *text;

    load_good("[tornadod]\nmax_headers = 3\n[listen:a]\nbacklog = 7\nmax_pipelined = 2\n",
              "listen:a.mode=0600");
    text = without_path(written(print_loaded));
    ck_assert_ptr_nonnull(strstr(text, "[tornadod]\nworkers = auto ; default\n"));
    text = strstr(text, "[listen:a]");
    ck_assert_ptr_nonnull(strstr(text, "\nbacklog = 7 ; FILE:4\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmode = 0600 ; --set\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmax_headers = 3 ; FILE:2\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmax_pipelined = 2 ; FILE:5\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmax_body_size = 1m ; default\n"));
}
END_TEST

static char *
read_page(const char *name)
{
    static char text[1 << 16];
    FILE *file = fopen(name, "r");

    ck_assert_msg(file != NULL, "%s: run this from the top of the source tree", name);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

START_TEST(conf_tornadod_ini_is_what_the_program_would_write)
{
    ck_assert_str_eq(read_page("conf/tornadod.ini"), written(td_settings_reference));
}
END_TEST

START_TEST(conf_tornadod_ini_5_lists_what_the_program_knows)
{
    static const char begin[] = ".\\\" settings: begin\n", end[] = ".\\\" settings: end\n";
    char *text = read_page("conf/tornadod.ini.5");
    char *first = strstr(text, begin), *last = strstr(text, end);

    ck_assert(first != NULL && last != NULL);
    *last = '\0';
    ck_assert_str_eq(first + strlen(begin), written(td_settings_manual));
}
END_TEST

START_TEST(conf_tornadod_ini_changes_nothing)
{
    const char *defaults;

    ck_assert_int_eq(td_settings_load(&arena, NULL, NULL, 0, &c, &err), 0);
    defaults = written(print_loaded);
    ck_assert_int_eq(td_settings_load(&arena, "conf/tornadod.ini", NULL, 0, &c, &err), 0);
    ck_assert_str_eq(written(print_loaded), defaults);
}
END_TEST

/* Each ";key = default" of it can be switched on by taking the semicolon away. */
START_TEST(conf_tornadod_ini_loads_with_everything_switched_on)
{
    char *text = td_arena_strdup(&arena, read_page("conf/tornadod.ini"));

    for (char *at = text; (at = strstr(at, "\n;")) != NULL; at++)
        if (at[2] != ' ' && at[2] != '\n' && at[2] != '[' && strncmp(at + 2, "include", 7) != 0)
            at[1] = ' ';
    *strstr(text, ";[handler:NAME]") = '\0'; /* those are keys of a section that is still off */
    load_good(text, NULL);
    ck_assert_int_eq(memcmp(&c->tornadod.limits, td_limits_defaults(), sizeof(td_limits)), 0);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, without_a_file_everything_has_its_default);
    tcase_add_test(tcase, every_default_is_within_its_own_bounds);
    tcase_add_test(tcase, no_key_stands_for_two_things);
    tcase_add_test(tcase, the_narrower_limit_wins);
    tcase_add_test(tcase, sections_become_structs_in_the_order_of_the_file);
    tcase_add_test(tcase, whom_a_listener_trusts);
    tcase_add_test(tcase, what_a_handler_declares_is_kept_for_it);
    tcase_add_test(tcase, relative_paths_start_at_the_file);
    ADD_TABLE(tcase, set_wins_over_the_file, overrides);
    ADD_TABLE(tcase, what_is_wrong_is_named_with_its_place, wrong);
    tcase_add_test(tcase, an_algorithm_that_the_kernel_has_not_is_named_beside_those_that_it_has);
    tcase_add_test(tcase, ports_that_the_system_picks_do_not_clash);
    tcase_add_test(tcase, a_file_that_is_missing_says_so);
    ADD_TABLE(tcase, what_is_printed_loads_to_the_same, loadable);
    tcase_add_test(tcase, what_is_printed_says_where_it_comes_from);
    tcase_add_test(tcase, conf_tornadod_ini_is_what_the_program_would_write);
    tcase_add_test(tcase, conf_tornadod_ini_5_lists_what_the_program_knows);
    tcase_add_test(tcase, conf_tornadod_ini_changes_nothing);
    tcase_add_test(tcase, conf_tornadod_ini_loads_with_everything_switched_on);
}

int
main(void)
{
    return unit_run("settings", fill);
}
