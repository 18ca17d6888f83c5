/*
 * Goal: no bytes in a settings file do harm.  What is accepted holds no control bytes, keeps to the
 * limits, and knows its line; what is refused names one.
 */
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"
#include "base/escape.h"
#include "base/ini.h"
#include "base/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
count_lines(td_str text)
{
    size_t count = 1;

    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '\n';
    return count;
}

static void
check_value(const char *value)
{
    static const char *const names[] = {"workers", "max_header_size"};
    struct sockaddr_storage address;
    socklen_t len;
    int64_t number;
    bool is_on;

    for (const char *c = value; *c != '\0'; c++)
        TD_ASSERT((unsigned char)*c >= 0x20 || *c == '\t');
    TD_ASSERT(td_utf8_is_valid(td_str_of(value)));
    if (td_value_parse_int(value, -10, 1000, &number, NULL) == 0)
        TD_ASSERT(number >= -10 && number <= 1000);
    if (td_value_parse_size(value, 0, 1 << 20, &number, NULL) == 0)
        TD_ASSERT(number >= 0 && number <= 1 << 20);
    if (td_value_parse_time(value, 0, 3600000, &number, NULL) == 0)
        TD_ASSERT(number >= 0 && number <= 3600000);
    td_value_parse_bool(value, &is_on, NULL);
    td_value_parse_address(value, &address, &len, NULL);
    td_nearest(value, names, sizeof(names) / sizeof(names[0]));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const td_str text = td_str_make((const char *)data, size);
    td_arena arena;
    td_ini ini;
    td_err err = {0};

    setenv("NAME", "a value", 1);
    td_arena_init(&arena);
    td_ini_init(&ini, &arena);
    if (td_ini_read_text(&ini, text, "t.ini", &err) < 0)
        TD_ASSERT(err.code < 0 && strncmp(err.text, "t.ini:", 6) == 0);
    for (const td_ini_section *s = ini.sections; s != NULL; s = s->next)
        for (const td_ini_entry *e = s->entries; e != NULL; e = e->next) {
            TD_ASSERT(e->source.line >= 1 && (size_t)e->source.line <= count_lines(text));
            TD_ASSERT(td_ini_find(s, e->key) == e);
            check_value(e->value);
        }
    td_arena_fini(&arena);
    return 0;
}
