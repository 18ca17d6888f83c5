/*
 * The settings written out: what is in force (`tornadod -T`), and what there is to set
 * (conf/tornadod.ini and the list in its manual page), from the same rows that they are read with.
 */
#include <inttypes.h>
#include <string.h>
#include "base/settings_rows.h"

/* ---- values as text */

/* A value that reads back as itself: what would be expanded or taken for a comment is escaped. */
static void
print_text(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        const bool is_expanded = *c == '$' && c[1] != '\0' && strchr("${;", c[1]) != NULL;
        const bool is_comment = *c == ';' && (c == text || c[-1] == ' ' || c[-1] == '\t');

        if (is_expanded || is_comment)
            putc('$', out);
        putc(*c, out);
    }
}

static void
print_number(FILE *out, const td_setting_row *row, int64_t value)
{
    char text[TD_VALUE_TEXT_SIZE];

    if (row->word != NULL && value == 0)
        snprintf(text, sizeof(text), "%s", row->word);
    else if (row->kind == TD_KIND_SIZE)
        td_value_format_size(value, text);
    else if (row->kind == TD_KIND_TIME)
        td_value_format_time(value, text);
    else if (row->kind == TD_KIND_MODE)
        snprintf(text, sizeof(text), "%04" PRIo64, (uint64_t)value);
    else
        snprintf(text, sizeof(text), "%" PRId64, value);
    fputs(text, out);
}

/* false: it is unset, and nothing was written. */
static bool
print_value(FILE *out, const td_setting_row *row, const void *field)
{
    switch (row->kind) {
    case TD_KIND_COUNT:
    case TD_KIND_SIZE:
    case TD_KIND_TIME:
    case TD_KIND_MODE:
        print_number(out, row, *(const int64_t *)field);
        return true;
    case TD_KIND_BOOL:
        fputs(*(const bool *)field ? "on" : "off", out);
        return true;
    case TD_KIND_SWITCH:
        fputs(*(const int64_t *)field != 0 ? "on" : "off", out);
        return true;
    case TD_KIND_CHOICE:
        fputs(row->choices[*(const int *)field], out);
        return true;
    case TD_KIND_SECRET:
        if (*(const char *const *)field == NULL)
            return false;
        fputs("(not shown)", out);
        return true;
    case TD_KIND_TEXT:
    case TD_KIND_PATH:
    case TD_KIND_ADDRESS:
    case TD_KIND_NETWORKS: /* begins with its text */
        if (*(const char *const *)field == NULL)
            return false;
        print_text(out, *(const char *const *)field);
        return true;
    }
    return false;
}

/* ---- what is in force */

struct printing {
    FILE *out;
    const td_ini *ini;
};

/* The place of the key in the first of these sections that has it. */
static td_source
find_source(const char *key, const td_ini_section *const *sections, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const td_ini_entry *entry = sections[i] != NULL ? td_ini_find(sections[i], key) : NULL;

        if (entry != NULL)
            return entry->source;
    }
    return (td_source){"default", 0};
}

static void
print_source(FILE *out, td_source source)
{
    fprintf(out, " ; %s", source.file);
    if (source.line > 0)
        fprintf(out, ":%d", source.line);
    putc('\n', out);
}

static void
print_row(struct printing *p, const td_setting_row *row, const void *field, td_source source)
{
    const bool is_unset = row->default_text == NULL && *(const char *const *)field == NULL;
    const bool is_comment = is_unset || row->kind == TD_KIND_SECRET;

    fprintf(p->out, "%s%s = ", is_comment ? ";" : "", row->key);
    print_value(p->out, row, field);
    print_source(p->out, source);
}

static void
print_header(struct printing *p, const td_section_kind *kind, const char *name)
{
    fprintf(p->out, "%s[%s%s%s]\n", kind == td_section_kinds ? "" : "\n", kind->name,
            name != NULL ? ":" : "", name != NULL ? name : "");
}

/* base: the section's struct; limits: what it sets, or what is in force there, or NULL. */
static void
print_section(struct printing *p, int kind, const char *name, const void *base,
              const td_limits *limits)
{
    const td_section_kind *k = &td_section_kinds[kind];
    const td_ini_section *sections[2] = {
        td_settings_section(p->ini, k, name),
        td_settings_section(p->ini, &td_section_kinds[TD_SECTION_TORNADOD], NULL),
    };
    const bool inherits = kind == TD_SECTION_LISTEN;

    print_header(p, k, name);
    for (size_t i = 0; i < k->rows_count; i++)
        print_row(p, &k->rows[i], (const char *)base + k->rows[i].offset,
                  find_source(k->rows[i].key, sections, 1));
    for (size_t i = 0; limits != NULL && i < td_limit_rows_count; i++) {
        const td_setting_row *row = &td_limit_rows[i];
        const int64_t *field = (const int64_t *)((const char *)limits + row->offset);

        if (*field != TD_UNSET)
            print_row(p, row, field, find_source(row->key, sections, 1 + inherits));
    }
}

static void
print_handler(struct printing *p, const td_handler_settings *handler)
{
    print_section(p, TD_SECTION_HANDLER, handler->name, handler, &handler->limits);
    for (size_t i = 0; i < handler->own_count; i++) {
        fprintf(p->out, "%s = ", handler->own[i].key);
        print_text(p->out, handler->own[i].value);
        print_source(p->out, handler->own[i].source);
    }
}

void
td_settings_print(const td_configuration *c, FILE *out)
{
    struct printing p = {out, &c->ini};

    print_section(&p, TD_SECTION_TORNADOD, NULL, &c->tornadod, &c->tornadod.limits);
    print_section(&p, TD_SECTION_LOG, NULL, &c->log, NULL);
    for (size_t i = 0; i < c->listeners_count; i++)
        print_section(&p, TD_SECTION_LISTEN, c->listeners[i].name, &c->listeners[i],
                      &c->listeners[i].limits);
    for (size_t i = 0; i < c->applications_count; i++)
        print_section(&p, TD_SECTION_APPLICATION, c->applications[i].name, &c->applications[i],
                      &c->applications[i].limits);
    for (size_t i = 0; i < c->handlers_count; i++)
        print_handler(&p, &c->handlers[i]);
}

void
td_settings_print_limits(const td_configuration *c, const td_limits_place *place, FILE *out)
{
    struct printing p = {out, &c->ini};
    const td_ini_section *sections[] = {
        place->handler != NULL ? td_settings_section(
                                     p.ini, &td_section_kinds[TD_SECTION_HANDLER], place->handler)
                               : NULL,
        td_settings_section(p.ini, &td_section_kinds[TD_SECTION_APPLICATION], place->application),
        td_settings_section(p.ini, &td_section_kinds[TD_SECTION_LISTEN], place->listener),
        td_settings_section(p.ini, &td_section_kinds[TD_SECTION_TORNADOD], NULL),
    };

    for (size_t i = 0; i < td_limit_rows_count; i++) {
        const td_setting_row *row = &td_limit_rows[i];
        const char *field = (const char *)place->limits + row->offset;
        const int64_t *of_class =
            (const int64_t *)(const void *)((const char *)place->of_class + row->offset);

        fputs(place->indent, out);
        print_row(&p, row, field,
                  *of_class != TD_UNSET ? (td_source){"the handler's class", 0}
                                        : find_source(row->key, sections, 4));
    }
}

/* ---- what there is to set */

static void
print_bounds(FILE *out, const td_setting_row *row)
{
    if (row->kind == TD_KIND_BOOL || row->kind == TD_KIND_SWITCH)
        fputs("on or off", out);
    else if (row->kind == TD_KIND_CHOICE)
        for (size_t i = 0; row->choices[i] != NULL; i++)
            fprintf(out, "%s%s",
                    i == 0                        ? ""
                    : row->choices[i + 1] == NULL ? " or "
                                                  : ", ",
                    row->choices[i]);
    if (row->min == row->max)
        return;
    if (row->word != NULL)
        fprintf(out, "%s or ", row->word);
    /* The word stands for 0, which is not in the range. */
    print_number(out, row, row->min);
    fputs(" to ", out);
    print_number(out, row, row->max);
}

static bool
has_bounds(const td_setting_row *row)
{
    return row->kind == TD_KIND_BOOL || row->kind == TD_KIND_SWITCH ||
           row->kind == TD_KIND_CHOICE || row->min != row->max;
}

struct wrapping {
    FILE *out;
    const char *before; /* what each line begins with */
    size_t width;
    bool has_sentence_lines; /* each sentence begins a line of its own */
};

/* For roff a line that begins with . or ' is a macro, and a backslash an escape. */
static size_t
print_word(const struct wrapping *w, const char *word, size_t len, bool begins_line)
{
    size_t printed = 0;

    if (w->has_sentence_lines && begins_line && (word[0] == '.' || word[0] == '\''))
        printed += (size_t)fprintf(w->out, "\\&");
    for (size_t i = 0; i < len; i++)
        printed += (size_t)fprintf(w->out, "%c%s", word[i],
                                   w->has_sentence_lines && word[i] == '\\' ? "e" : "");
    return printed;
}

static void
print_wrapped(const struct wrapping *w, const char *text)
{
    const size_t indent = strlen(w->before);
    size_t column = 0;
    bool is_new_sentence = false;

    while (*text != '\0') {
        const size_t len = strcspn(text, " ");

        if (column > 0 &&
            (column + 1 + len > w->width || (w->has_sentence_lines && is_new_sentence))) {
            putc('\n', w->out);
            column = 0;
        }
        fputs(column == 0 ? w->before : " ", w->out);
        column += column == 0 ? indent : 1;
        column += print_word(w, text, len, column == indent);
        is_new_sentence = text[len - 1] == '.' && text[len] == ' ';
        text += len;
        text += strspn(text, " ");
    }
    putc('\n', w->out);
}

static void
print_comment(FILE *out, const char *text)
{
    print_wrapped(&(struct wrapping){.out = out, .before = "; ", .width = 96}, text);
}

static void
reference_row(FILE *out, const td_setting_row *row)
{
    putc('\n', out);
    print_comment(out, row->text);
    if (has_bounds(row)) {
        fputs("; ", out);
        print_bounds(out, row);
        putc('\n', out);
    }
    fprintf(out, ";%s =%s%s\n", row->key, row->default_text != NULL ? " " : "",
            row->default_text != NULL ? row->default_text : "");
}

static void
reference_limits(FILE *out, unsigned scopes, const char *text)
{
    putc('\n', out);
    print_comment(out, text);
    for (size_t i = 0; i < td_limit_rows_count; i++)
        if (td_limit_rows[i].scopes == scopes)
            reference_row(out, &td_limit_rows[i]);
}

/* Sections that are there anyway stand bare; one that would make something new is commented out. */
static void
reference_section(FILE *out, int kind)
{
    static const char *const headers[TD_SECTIONS_COUNT] = {
        "[tornadod]", "[log]", "[listen:default]", "[application]", ";[handler:NAME]",
    };
    const td_section_kind *k = &td_section_kinds[kind];

    fputs("\n\n", out);
    print_comment(out, k->text);
    fprintf(out, "%s\n", headers[kind]);
    for (size_t i = 0; i < k->rows_count; i++)
        reference_row(out, &k->rows[i]);
    if (kind != TD_SECTION_TORNADOD)
        return;
    reference_limits(out, TD_OF_HEAD,
                     "---- limits that may also stand in [listen:NAME], where they count for that "
                     "listener");
    reference_limits(out, TD_OF_ROUTE,
                     "---- limits that may also stand in [listen:NAME], [application:NAME] and "
                     "[handler:NAME]; the narrower wins: handler, application, listener, this");
}

void
td_settings_reference(FILE *out)
{
    fputs("; tornadod.ini: every setting with its default, commented out.\n"
          ";\n"
          "; The program runs with no file at all.  Sizes are bytes or 64k, 1m, 2g; times are\n"
          "; seconds or 250ms, 10s, 1h 30m; switches are on or off.  ${NAME} is an environment\n"
          "; variable.  tornadod -t tests a file, tornadod -T prints what is in force.  See\n"
          "; tornadod.ini(5).\n"
          "\n"
          "; Other files, read here; relative to this one.\n"
          ";include = conf.d/*.ini\n",
          out);
    for (int kind = 0; kind < TD_SECTIONS_COUNT; kind++)
        reference_section(out, kind);
}

/* ---- the same for man */

static void
manual_text(FILE *out, const char *text)
{
    print_wrapped(
        &(struct wrapping){.out = out, .before = "", .width = 80, .has_sentence_lines = true},
        text);
}

static void
manual_row(FILE *out, const td_setting_row *row)
{
    fprintf(out, ".It Ic %s", row->key);
    if (row->default_text != NULL)
        fprintf(out, " No = Li \\&%s", row->default_text);
    putc('\n', out);
    manual_text(out, row->text);
    if (has_bounds(row)) {
        fputs(".Pq ", out);
        print_bounds(out, row);
        putc('\n', out);
    }
}

static void
manual_limits(FILE *out, unsigned scopes)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (size_t i = 0; i < td_limit_rows_count; i++)
        if (td_limit_rows[i].scopes == scopes)
            manual_row(out, &td_limit_rows[i]);
    fputs(".El\n", out);
}

void
td_settings_manual(FILE *out)
{
    for (int kind = 0; kind < TD_SECTIONS_COUNT; kind++) {
        const td_section_kind *k = &td_section_kinds[kind];

        fprintf(out, ".Ss [%s%s]\\&\n", k->name, k->is_named ? ":NAME" : "");
        manual_text(out, k->text);
        fputs(".Bl -tag -width Ds\n", out);
        for (size_t i = 0; i < k->rows_count; i++)
            manual_row(out, &k->rows[i]);
        fputs(".El\n", out);
    }
    fputs(".Ss Limits of connections and request heads\n"
          "In\n.Li [tornadod]\nfor all listeners, or in\n.Li [listen:NAME] .\n",
          out);
    manual_limits(out, TD_OF_HEAD);
    fputs(".Ss Limits of requests and responses\n"
          "In\n.Li [tornadod] , [listen:NAME] , [application:NAME]\nor\n.Li [handler:NAME] ;\n"
          "the last of these that sets one wins.\n",
          out);
    manual_limits(out, TD_OF_ROUTE);
}
