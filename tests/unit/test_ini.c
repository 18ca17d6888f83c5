/* Goal: an ini is read to the letter, and what is wrong in it is reported with file and line. */
#include "base/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "unit.h"

static td_arena arena;
static td_ini ini;
static td_err err;
static char folder[64];

static void
set_up(void)
{
    td_arena_init(&arena);
    td_ini_init(&ini, &arena);
    snprintf(folder, sizeof(folder), "/tmp/tornadod-test-ini-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("TD_TEST", "some value", 1);
    setenv("TD_EMPTY", "", 1);
    setenv("TD_CONTROL", "a\nb", 1);
    unsetenv("TD_UNSET");
}

static void
tear_down(void)
{
    char command[128];

    td_arena_fini(&arena);
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

/* "[a] k=v; l=w; [b]" */
static const char *
dump(void)
{
    td_str text = TD_STR("");

    for (const td_ini_section *s = ini.sections; s != NULL; s = s->next) {
        text = td_arena_sprintf(&arena, "%s[%s]", text.ptr, s->name);
        for (const td_ini_entry *e = s->entries; e != NULL; e = e->next)
            text = td_arena_sprintf(&arena, "%s %s=%s|", text.ptr, e->key, e->value);
    }
    return text.ptr;
}

static const struct {
    const char *text, *dump;
} good[] = {
    {"", ""},
    {"\n\n  \t\n; comment\n# comment\n  ; comment", ""},
    {"[a]", "[a]"},
    {"[a]\n[b]\r\n\t[c]  \n", "[a][b][c]"},
    {"[a] ; comment [x]\nk=v", "[a] k=v|"},
    {"\xef\xbb\xbf[a]\nk=v", "[a] k=v|"},
    {"[a]\n  k \t= v w  \r\n\tl=\n", "[a] k=v w| l=|"},
    {"[a]\nk = v\n  l = w", "[a] k=v| l=w|"}, /* indented lines continue nothing */
    {"[a]\nk=a=b:c[d]#e\n", "[a] k=a=b:c[d]#e|"},
    {"[a]\nk = v ; comment\nl = v;no\nm = ; comment\nn =;no", "[a] k=v| l=v;no| m=| n=;no|"},
    {"[a]\nmax-body-size=1\nMax_X=2", "[a] max_body_size=1| Max_X=2|"},
    {"[a]\nk=1\n[b]\nk=2\n[a]\nl=3", "[a] k=1| l=3|[b] k=2|"},
    {"[a]\nk=?", "[a] k=?|"}, /* what inih is given for every value */
    {"[a]\nk=${TD_TEST}!${TD_TEST}\nl=${TD_EMPTY}", "[a] k=some value!some value| l=|"},
    {"[a]\nk=$${TD_TEST} $$$; ^x$ $", "[a] k=${TD_TEST} $; ^x$ $|"},
    {"[a]\nk=a $;b", "[a] k=a ;b|"},
    {"[a:b c/d]\nk=v", "[a:b c/d] k=v|"},
    {"[a]\nk=\xc3\xa9", "[a] k=\xc3\xa9|"},
};

START_TEST(what_is_good_is_read_to_the_letter)
{
    ck_assert_msg(td_ini_read_text(&ini, td_str_of(good[_i].text), "t.ini", &err) == 0, "%s",
                  err.text);
    ck_assert_str_eq(dump(), good[_i].dump);
}
END_TEST

static const struct {
    const char *text, *error;
} bad[] = {
    {"k=v", "t.ini:1: 'k' stands before the first [section]"},
    {"[a]\n\nrubbish", "t.ini:3: neither a [section], nor key = value, nor a comment"},
    {"[a]\nrubbish\nk=v", "t.ini:2: neither a [section], nor key = value, nor a comment"},
    {"[a]\nkey ; comment = 1", "t.ini:2: neither a [section], nor key = value, nor a comment"},
    {"[a]\nkey: 1", "t.ini:2: 'key' is followed by ':' instead of '='"},
    {"[a]\nkey: x=1", "t.ini:2: 'key' is followed by ':' instead of '='"},
    {"[a]\nkey:=?", "t.ini:2: 'key' is followed by ':' instead of '='"},
    {"[a]\n=1", "t.ini:2: '' cannot be a key"},
    {"[a]\n?=?", "t.ini:2: '?' cannot be a key"},
    {"[a]\na b=1", "t.ini:2: 'a b' cannot be a key"},
    {"[a]\n\xc3\xa9=1", "t.ini:2: '\xc3\xa9' cannot be a key"},
    {"[a", "t.ini:1: a section is [NAME] with a name of at most 49 bytes"},
    {"[a]\n[", "t.ini:2: a section is [NAME] with a name of at most 49 bytes"},
    {"[aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee]",
     "t.ini:1: a section is [NAME] with a name of at most 49 bytes"},
    {"[a] b", "t.ini:1: 'b' stands behind [a]"},
    {"[a]]", "t.ini:1: ']' stands behind [a]"},
    {"[a]\nk=1\n; x\nk=2", "t.ini:4: 'k' of [a] is set in t.ini:2 already"},
    {"[a]\nx-y=1\n[b]\n[a]\nx_y=2", "t.ini:5: 'x_y' of [a] is set in t.ini:2 already"},
    {"[a]\nk=${TD_UNSET}", "t.ini:2: the environment variable 'TD_UNSET' is not set"},
    {"[a]\nk=${}", "t.ini:2: the environment variable '' is not set"},
    {"[a]\nk=${TD_TEST", "t.ini:2: ${ without }"},
    {"[a]\nk=${TD_CONTROL}",
     "t.ini:2: the environment variable 'TD_CONTROL' holds a control character"},
    {"[a]\nk=\x01", "t.ini:2: byte 3 of the line is 0x01, a control character"},
    {"[a]\nk=a\rb", "t.ini:2: byte 4 of the line is 0x0d, a control character"},
    {"; \x7f", "t.ini:1: byte 3 of the line is 0x7f, a control character"},
    {"[a]\nk=\xff", "t.ini:2: the line is not UTF-8"},
    {"include=x", "t.ini:1: include is not possible here"},
};

START_TEST(what_is_wrong_is_reported_with_its_line)
{
    ck_assert_int_eq(td_ini_read_text(&ini, td_str_of(bad[_i].text), "t.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, bad[_i].error);
}
END_TEST

START_TEST(a_zero_byte_is_refused)
{
    const td_str text = TD_STR("[a]\nk=a\0b\n");

    ck_assert_int_eq(td_ini_read_text(&ini, text, "t.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "t.ini:2: byte 4 of the line is 0x00, a control character");
}
END_TEST

START_TEST(lines_may_have_64_kib)
{
    static char text[70000];
    const size_t max = 65536;

    memcpy(text, "[a]\nk=", 6);
    memset(text + 6, 'x', max - 2);
    memcpy(text + 4 + max, "\nl=1", 4);
    ck_assert_int_eq(td_ini_read_text(&ini, td_str_of(text), "t.ini", &err), 0);
    ck_assert_uint_eq(strlen(td_ini_find(ini.sections, "k")->value), max - 2);
    ck_assert_str_eq(td_ini_find(ini.sections, "l")->value, "1");

    memcpy(text + 4 + max, "x\nl=1", 5);
    ck_assert_int_eq(td_ini_read_text(&ini, td_str_of(text), "t.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "t.ini:2: the line is longer than 65536 bytes");
}
END_TEST

START_TEST(a_long_comment_or_rubbish_does_not_shift_the_lines)
{
    static char text[1200];

    snprintf(text, sizeof(text), ";%500s\n%300s[a] ; %300s\nwrong", "k=v", "", "[b]");
    ck_assert_int_eq(td_ini_read_text(&ini, td_str_of(text), "t.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "t.ini:3: neither a [section], nor key = value, nor a comment");
    snprintf(text, sizeof(text), "[a]\n%0500d\n", 1);
    ck_assert_int_eq(td_ini_read_text(&ini, td_str_of(text), "t.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "t.ini:2: neither a [section], nor key = value, nor a comment");
    snprintf(text, sizeof(text), "[a]\n%0500d=1\n", 1);
    ck_assert_int_eq(td_ini_read_text(&ini, td_str_of(text), "t.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "t.ini:2: the key is longer than 100 bytes");
}
END_TEST

START_TEST(sources_name_file_and_line)
{
    ck_assert_int_eq(td_ini_read_text(&ini, TD_STR("\n[a]\n\nk=v"), "t.ini", &err), 0);
    ck_assert_str_eq(td_source_text(&arena, ini.sections->source), "t.ini:2");
    ck_assert_str_eq(td_source_text(&arena, td_ini_find(ini.sections, "k")->source), "t.ini:4");
    ck_assert_str_eq(td_source_text(&arena, (td_source){"--set", 0}), "--set");
    ck_assert_ptr_null(td_ini_find(ini.sections, "x"));
    ck_assert_ptr_null(td_ini_find_section(&ini, "x"));
}
END_TEST

START_TEST(set_replaces_and_adds)
{
    const td_source set = {"--set", 0};

    td_ini_read_text(&ini, TD_STR("[a]\nk_x=1\nl=2"), "t.ini", &err);
    ck_assert_int_eq(td_ini_set(&ini, "a", "k-x", "3", set, &err), 0);
    ck_assert_int_eq(td_ini_set(&ini, "b", "m", "4", set, &err), 0);
    ck_assert_str_eq(dump(), "[a] k_x=3| l=2|[b] m=4|");
    ck_assert_str_eq(td_ini_find(ini.sections, "k_x")->source.file, "--set");
    ck_assert_int_eq(td_ini_set(&ini, "b", "m n", "4", set, &err), TD_ECONFIG);
}
END_TEST

/* ---- files */

static const char *
file_path(const char *name)
{
    return td_arena_sprintf(&arena, "%s/%s", folder, name).ptr;
}

static void
write_file(const char *name, const char *text)
{
    FILE *file = fopen(file_path(name), "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* The error without the name of the folder, wherever that stands. */
static const char *
relative_error(void)
{
    char *text = td_arena_strdup(&arena, err.text);
    const size_t len = strlen(folder) + 1;

    for (char *at; (at = strstr(text, folder)) != NULL;)
        memmove(at, at + len, strlen(at + len) + 1);
    return text;
}

START_TEST(includes_are_read_in_order_where_they_stand)
{
    mkdir(file_path("conf.d"), 0700);
    write_file("main.ini", "include = first.ini\n[tornadod]\na=1\ninclude = conf.d/*.ini\nb=2\n");
    write_file("first.ini", "[listen:x]\nk=1\n");
    write_file("conf.d/20.ini", "[tornadod]\nd=4\n");
    write_file("conf.d/10.ini", "[tornadod]\nc=3\ninclude = ../[!x]eeper.ini\n");
    write_file("conf.d/note.txt", "rubbish");
    write_file("deeper.ini", "[listen:y]\n");
    ck_assert_msg(td_ini_read_file(&ini, file_path("main.ini"), &err) == 0, "%s", err.text);
    ck_assert_str_eq(dump(), "[listen:x] k=1|[tornadod] a=1| c=3| d=4| b=2|[listen:y]");
    ck_assert_str_eq(td_ini_find(td_ini_find_section(&ini, "tornadod"), "d")->source.file,
                     file_path("conf.d/20.ini"));
}
END_TEST

START_TEST(a_folder_whose_name_looks_like_a_pattern_is_no_pattern)
{
    mkdir(file_path("a[b]*"), 0700);
    write_file("a[b]*/main.ini", "include = *.part\n");
    write_file("a[b]*/x.part", "[a]\n");
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("a[b]*/main.ini"), &err), 0);
    ck_assert_str_eq(dump(), "[a]");
}
END_TEST

START_TEST(a_name_without_a_folder_includes_beside_itself)
{
    write_file("main.ini", "include = x.part\n");
    write_file("x.part", "[a]\nk\n");
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_int_eq(td_ini_read_file(&ini, "main.ini", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "x.part:2: neither a [section], nor key = value, nor a comment");
}
END_TEST

static const struct {
    const char *files[6]; /* name, text, name, text, NULL; the first is read */
    const char *error;
} includes[] = {
    {{"a.ini", "\ninclude = b.ini"}, "a.ini:2: include b.ini: no such file"},
    {{"a.ini", "include ="}, "a.ini:1: include wants a file or a pattern"},
    {{"a.ini", "include = a.ini"}, "a.ini:1: include a.ini: includes itself"},
    {{"a.ini", "include = b.ini", "b.ini", "\n\ninclude = ./a.ini"},
     "b.ini:3: include ./a.ini: includes itself"},
    {{"a.ini", "include = *b.ini", "b.ini", "include = ."}, "b.ini:1: include .: is a directory"},
    {{"a.ini", "[tornadod]\nk=1\ninclude = b.ini", "b.ini", "[tornadod]\nk=2"},
     "b.ini:2: 'k' of [tornadod] is set in a.ini:2 already"},
};

START_TEST(an_include_that_is_wrong_is_reported_where_it_stands)
{
    for (size_t i = 0; includes[_i].files[i] != NULL; i += 2)
        write_file(includes[_i].files[i], includes[_i].files[i + 1]);
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("a.ini"), &err), TD_ECONFIG);
    ck_assert_str_eq(relative_error(), includes[_i].error);
}
END_TEST

START_TEST(includes_end_somewhere)
{
    char name[16], text[512] = "";

    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "%d.ini", i);
        snprintf(text, sizeof(text), "include = %d.ini\n", i + 1);
        write_file(name, text);
    }
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("0.ini"), &err), TD_ECONFIG);
    ck_assert_str_eq(relative_error(), "8.ini:1: include is nested more than 8 deep");

    for (int i = 0; i < 8; i++) { /* ten times ten times ten ... */
        snprintf(name, sizeof(name), "%d.ini", i);
        text[0] = '\0';
        for (int j = 0; j < 10; j++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "include = %d.ini\n", i + 1);
        write_file(name, i < 7 ? text : "; the last\n");
    }
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("0.ini"), &err), TD_ECONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "too many files"));
}
END_TEST

START_TEST(include_is_a_key_elsewhere)
{
    write_file("a.ini", "[handler:x]\ninclude = b.ini\n");
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("a.ini"), &err), 0);
    ck_assert_str_eq(dump(), "[handler:x] include=b.ini|");
}
END_TEST

START_TEST(a_file_that_cannot_be_read_says_why)
{
    ck_assert_int_eq(td_ini_read_file(&ini, "/nowhere/a.ini", &err), -ENOENT);
    ck_assert_str_eq(err.text, "/nowhere/a.ini: No such file or directory");
    ck_assert_int_eq(err.code, -ENOENT);
    ck_assert_int_eq(td_ini_read_file(&ini, "/", &err), TD_ECONFIG);
    ck_assert_str_eq(err.text, "/: is a directory");
}
END_TEST

START_TEST(a_file_has_at_most_a_mebibyte)
{
    static char text[1024 * 1024 + 2];

    memset(text, '\n', 1024 * 1024);
    write_file("a.ini", text);
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("a.ini"), &err), 0);
    text[1024 * 1024] = '\n';
    write_file("a.ini", text);
    ck_assert_int_eq(td_ini_read_file(&ini, file_path("a.ini"), &err), TD_ECONFIG);
    ck_assert_str_eq(relative_error(), "a.ini: is larger than 1 MiB");
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    ADD_TABLE(tcase, what_is_good_is_read_to_the_letter, good);
    ADD_TABLE(tcase, what_is_wrong_is_reported_with_its_line, bad);
    tcase_add_test(tcase, a_zero_byte_is_refused);
    tcase_add_test(tcase, lines_may_have_64_kib);
    tcase_add_test(tcase, a_long_comment_or_rubbish_does_not_shift_the_lines);
    tcase_add_test(tcase, sources_name_file_and_line);
    tcase_add_test(tcase, set_replaces_and_adds);
    tcase_add_test(tcase, includes_are_read_in_order_where_they_stand);
    tcase_add_test(tcase, a_folder_whose_name_looks_like_a_pattern_is_no_pattern);
    tcase_add_test(tcase, a_name_without_a_folder_includes_beside_itself);
    ADD_TABLE(tcase, an_include_that_is_wrong_is_reported_where_it_stands, includes);
    tcase_add_test(tcase, includes_end_somewhere);
    tcase_add_test(tcase, include_is_a_key_elsewhere);
    tcase_add_test(tcase, a_file_that_cannot_be_read_says_why);
    tcase_add_test(tcase, a_file_has_at_most_a_mebibyte);
}

int
main(void)
{
    return unit_run("ini", fill);
}
