/* For the unit tests of static files: a folder with a root in it, and something beside the root. */
#ifndef TESTS_UNIT_STATIC_FIXTURE_H
#define TESTS_UNIT_STATIC_FIXTURE_H

#include "files.h"
#include "web_fixture.h"

static char folder[32], root[40];

static inline void
put(const char *name, const char *text, size_t len)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fwrite(text, 1, len, file);
    fclose(file);
}

static char large[50000];

static inline void
make_files(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-static-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(root, sizeof(root), "%s/root", folder);
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)('a' + i % 26);
    run_in(folder, "mkdir -p root/dir/sub root/bare 'root/a b' root-beside && mkfifo root/fifo");
    put("secret", "secret", 6);
    put("root-beside/secret", "secret", 6);
    put("root/hello.txt", "0123456789", 10);
    put("root/empty.html", "", 0);
    put("root/a b/c+d.html", "c", 1);
    put("root/favicon.ico", "icon", 4);
    put("root/dir/index.html", "<b>", 3);
    put("root/large.bin", large, sizeof(large));
    run_in(folder, "ln -s ../secret root/out && ln -s hello.txt root/in && ln -s .. root/up");
    run_in(folder, "touch -d '1994-11-06 08:49:37.5 UTC' root/hello.txt root/large.bin");
}

static inline void
serve(void)
{
    static const td_url urls[] = {{.pattern = NULL}};

    web_app_settings.static_path = root;
    web_app_settings.static_default_filename = "index.html";
    web_serve(urls);
}

static inline void
setup(void)
{
    web_setup();
    web_app_settings.static_cache_memory = sizeof(large) / 2; /* so it is sent from its descriptor */
    make_files();
}

static inline void
teardown(void)
{
    web_teardown();
    run_in(folder, "rm -r root root-beside secret");
    ck_assert_int_eq(rmdir(folder), 0);
}

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"

static inline void
check_header(const web_exchange *x, const char *line)
{
    char wanted[256];

    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    ck_assert_msg(strstr(x->headers, wanted) != NULL, "no %s in\n%s", line, x->headers);
}

#endif
