/*
 * Read by the section table, with every offset checked against the size of the file.  A table that
 * is missing or makes no sense is as if it were empty; only a file without sections is damaged.
 */
#include "daemon/site/elfsurvey.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#define EH_TABLE_ENCODING 0x3b /* DW_EH_PE_datarel | DW_EH_PE_sdata4: what linkers write */

struct survey {
    td_arena *arena;
    const char *bytes;
    size_t size;
    const ElfW(Ehdr) *header;
    const ElfW(Shdr) *sections;
    const char *section_names;
    size_t section_names_size;
    struct elf_survey *out;
};

/* NULL unless they are in the file and aligned for what is read there. */
static const void *
at(const struct survey *s, uint64_t offset, uint64_t size)
{
    if (offset > s->size || size > s->size - offset || offset % 4 != 0)
        return NULL;
    return s->bytes + offset;
}

static const char *
string_at(const char *strings, size_t size, uint64_t offset)
{
    if (strings == NULL || offset >= size || memchr(strings + offset, '\0', size - offset) == NULL)
        return "";
    return strings + offset;
}

/* The bytes of a section, NULL for none. */
static const void *
contents(const struct survey *s, const ElfW(Shdr) *section)
{
    if (section == NULL || section->sh_type == SHT_NOBITS || (section->sh_flags & SHF_COMPRESSED))
        return NULL;
    if (section->sh_offset > s->size || section->sh_size > s->size - section->sh_offset)
        return NULL;
    return s->bytes + section->sh_offset;
}

static const ElfW(Shdr) *
section_at(const struct survey *s, size_t index)
{
    return index < s->header->e_shnum ? &s->sections[index] : NULL;
}

static const ElfW(Shdr) *
find_type(const struct survey *s, uint32_t type)
{
    for (size_t i = 0; i < s->header->e_shnum; i++)
        if (s->sections[i].sh_type == type)
            return &s->sections[i];
    return NULL;
}

static const ElfW(Shdr) *
find_name(const struct survey *s, const char *name)
{
    for (size_t i = 0; i < s->header->e_shnum; i++)
        if (strcmp(string_at(s->section_names, s->section_names_size, s->sections[i].sh_name),
                   name) == 0)
            return &s->sections[i];
    return NULL;
}

static const ElfW(Phdr) *
find_segment(const struct survey *s, uint32_t type)
{
    const ElfW(Phdr) *segments =
        s->header->e_phoff % 8 == 0
            ? at(s, s->header->e_phoff, s->header->e_phnum * sizeof(ElfW(Phdr)))
            : NULL;

    for (size_t i = 0; segments != NULL && i < s->header->e_phnum; i++)
        if (segments[i].p_type == type)
            return &segments[i];
    return NULL;
}

static bool
has_address(const ElfW(Phdr) *segment, uint64_t address)
{
    return segment != NULL && address >= segment->p_vaddr &&
           address - segment->p_vaddr < segment->p_memsz;
}

/* ---- symbols */

struct symbols {
    const ElfW(Sym) *items;
    size_t count;
    const char *strings;
    size_t strings_size;
};

static struct symbols
symbols_of(const struct survey *s, const ElfW(Shdr) *section)
{
    const ElfW(Shdr) *strings = section != NULL ? section_at(s, section->sh_link) : NULL;
    struct symbols symbols = {.items = section != NULL && section->sh_offset % 8 == 0
                                           ? contents(s, section)
                                           : NULL};

    if (symbols.items == NULL || contents(s, strings) == NULL)
        return (struct symbols){.count = 0};
    symbols.count = section->sh_size / sizeof(ElfW(Sym));
    symbols.strings = contents(s, strings);
    symbols.strings_size = strings->sh_size;
    return symbols;
}

static const char *
name_of(const struct symbols *symbols, size_t i)
{
    return string_at(symbols->strings, symbols->strings_size, symbols->items[i].st_name);
}

static void
add(struct elf_names *names, const char *name)
{
    names->items[names->count++] = name;
}

static void
reserve(struct survey *s, struct elf_names *names, size_t count)
{
    names->items = TD_ARENA_ARRAY(s->arena, const char *, count + 1);
}

/* The number of TORNADO_PRIVATE among the versions that are needed of one file; 0: it is not. */
static unsigned
private_of_need(const struct survey *s, uint64_t need_at, const ElfW(Verneed) *need,
                const char *names, size_t names_size)
{
    uint64_t place = need_at + need->vn_aux;

    for (unsigned i = 0; i < need->vn_cnt; i++) {
        const ElfW(Vernaux) *version = at(s, place, sizeof(*version));
        if (version == NULL)
            return 0;
        if (strcmp(string_at(names, names_size, version->vna_name), "TORNADO_PRIVATE") == 0)
            return version->vna_other;
        if (version->vna_next == 0)
            return 0;
        place += version->vna_next;
    }
    return 0;
}

static unsigned
private_version(const struct survey *s, const ElfW(Shdr) *strings)
{
    const ElfW(Shdr) *section = find_type(s, SHT_GNU_verneed);
    const char *names = strings != NULL ? contents(s, strings) : NULL;
    uint64_t place = section != NULL ? section->sh_offset : 0;
    const ElfW(Verneed) *need = section != NULL ? at(s, place, sizeof(*need)) : NULL;

    while (names != NULL && need != NULL) {
        const unsigned number = private_of_need(s, place, need, names, strings->sh_size);
        if (number != 0 || need->vn_next == 0)
            return number;
        place += need->vn_next;
        need = at(s, place, sizeof(*need));
    }
    return 0;
}

static void
survey_wanted(struct survey *s, const ElfW(Shdr) *dynamic, const struct symbols *symbols)
{
    const ElfW(Shdr) *versions_section = find_type(s, SHT_GNU_versym);
    const ElfW(Half) *versions = versions_section != NULL && versions_section->sh_offset % 2 == 0
                                     ? contents(s, versions_section)
                                     : NULL;
    const unsigned version =
        dynamic != NULL ? private_version(s, section_at(s, dynamic->sh_link)) : 0;

    reserve(s, &s->out->wanted, symbols->count);
    reserve(s, &s->out->private_, symbols->count);
    for (size_t i = 1; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->items[i];
        if (symbol->st_shndx != SHN_UNDEF || ELF64_ST_BIND(symbol->st_info) == STB_WEAK)
            continue;
        add(&s->out->wanted, name_of(symbols, i));
        if (version != 0 && versions != NULL &&
            i < versions_section->sh_size / sizeof(*versions) &&
            (versions[i] & 0x7fff) == version)
            add(&s->out->private_, name_of(symbols, i));
    }
}

static void
survey_plugin(struct survey *s, const struct symbols *symbols)
{
    for (size_t i = 1; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->items[i];
        const ElfW(Shdr) *section = section_at(s, symbol->st_shndx);
        if (section == NULL || strcmp(name_of(symbols, i), "tornado_plugin") != 0)
            continue;
        const uint16_t *abi =
            at(s, section->sh_offset + (symbol->st_value - section->sh_addr), 2 * sizeof(*abi));
        s->out->has_plugin = abi != NULL;
        s->out->abi_major = abi != NULL ? abi[0] : 0;
        s->out->abi_minor = abi != NULL ? abi[1] : 0;
    }
}

/* What crtstuff.c and the sanitizers put into every file, and what TD_PLUGIN is in C++. */
static bool
is_of_others(const char *name)
{
    return strncmp(name, "completed.", 10) == 0 || strncmp(name, "__", 2) == 0 ||
           strncmp(name, "DW.ref.", 7) == 0 || strstr(name, "td_plugin_here") != NULL ||
           strcmp(name, "tornado_plugin") == 0;
}

static void
survey_writable(struct survey *s, const struct symbols *symbols)
{
    const ElfW(Phdr) *read_only = find_segment(s, PT_GNU_RELRO); /* once it is loaded */

    reserve(s, &s->out->writable, symbols->count);
    for (size_t i = 1; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->items[i];
        const ElfW(Shdr) *section = section_at(s, symbol->st_shndx);
        const unsigned type = ELF64_ST_TYPE(symbol->st_info);
        if (section == NULL || symbol->st_shndx == SHN_UNDEF || symbol->st_size == 0 ||
            (type != STT_OBJECT && type != STT_TLS) || !(section->sh_flags & SHF_WRITE) ||
            is_of_others(name_of(symbols, i)))
            continue;
        if (type == STT_TLS || !has_address(read_only, symbol->st_value))
            add(&s->out->writable, name_of(symbols, i));
    }
}

/* ---- unwinding */

struct unwind_table {
    const int32_t *pairs; /* where a function begins, and what is known of it, both from `base` on */
    size_t count;
    uint64_t base;
};

static bool
find_unwind_table(const struct survey *s, struct unwind_table *out)
{
    const ElfW(Phdr) *segment = find_segment(s, PT_GNU_EH_FRAME);
    const uint8_t *head = segment != NULL ? at(s, segment->p_offset, segment->p_filesz) : NULL;

    if (head == NULL || segment->p_filesz < 12 || head[3] != EH_TABLE_ENCODING)
        return false;
    out->count = *(const uint32_t *)(const void *)(head + 8);
    out->pairs = (const int32_t *)(const void *)(head + 12);
    out->base = segment->p_vaddr;
    return out->count <= (segment->p_filesz - 12) / 8;
}

static bool
is_unwindable(const struct unwind_table *table, uint64_t address)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->base + (uint64_t)(int64_t)table->pairs[2 * i] == address)
            return true;
    return false;
}

static void
survey_unwinding(struct survey *s, const struct symbols *symbols)
{
    struct unwind_table table = {.count = 0};

    find_unwind_table(s, &table);
    reserve(s, &s->out->unwindless, symbols->count);
    for (size_t i = 1; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->items[i];
        if (symbol->st_shndx == SHN_UNDEF || symbol->st_size == 0 ||
            ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || strchr(name_of(symbols, i), '.') != NULL)
            continue; /* f.cold is a part of f */
        if (!is_unwindable(&table, symbol->st_value))
            add(&s->out->unwindless, name_of(symbols, i));
    }
}

/* gcc notes its options for the debugger: "GNU C17 12.2.0 -mtune=generic -g -fexceptions". */
static void
survey_producers(struct survey *s)
{
    const ElfW(Shdr) *section = find_name(s, ".debug_str");
    const char *strings = contents(s, section);

    for (uint64_t i = 0; strings != NULL && i < section->sh_size;) {
        const char *text = string_at(strings, section->sh_size, i);
        if (strncmp(text, "GNU C", 5) == 0 && text[5] >= '0' && text[5] <= '9' &&
            strstr(text, " -fexceptions") == NULL)
            s->out->lacks_exceptions = true;
        i += strlen(text) + 1;
    }
}

/* ---- all of it */

static void
survey_libraries(struct survey *s)
{
    const ElfW(Shdr) *section = find_type(s, SHT_DYNAMIC);
    const ElfW(Shdr) *strings = section != NULL ? section_at(s, section->sh_link) : NULL;
    const ElfW(Dyn) *entries = section != NULL && section->sh_offset % 8 == 0
                                   ? contents(s, section)
                                   : NULL;
    const size_t count = entries != NULL ? section->sh_size / sizeof(*entries) : 0;

    reserve(s, &s->out->libraries, count);
    for (size_t i = 0; i < count && strings != NULL; i++)
        if (entries[i].d_tag == DT_NEEDED)
            add(&s->out->libraries,
                string_at(contents(s, strings), strings->sh_size, entries[i].d_un.d_val));
}

static int
open_sections(struct survey *s, td_err *err)
{
    s->header = at(s, 0, sizeof(*s->header));
    if (s->header != NULL && s->header->e_shoff % 8 == 0 && s->header->e_shnum > 0)
        s->sections =
            at(s, s->header->e_shoff, (uint64_t)s->header->e_shnum * sizeof(*s->sections));
    if (s->sections == NULL)
        return td_err_set(err, TD_EPLUGIN, "is cut off or has no sections");
    const ElfW(Shdr) *names = section_at(s, s->header->e_shstrndx);
    s->section_names = contents(s, names);
    s->section_names_size = names != NULL ? names->sh_size : 0;
    return 0;
}

int
elf_survey(td_arena *arena, const char *bytes, size_t size, struct elf_survey *out, td_err *err)
{
    struct survey s = {.arena = arena, .bytes = bytes, .size = size, .out = out};

    *out = (struct elf_survey){.has_plugin = false};
    const int rc = open_sections(&s, err);
    if (rc < 0)
        return rc;
    const ElfW(Shdr) *dynamic = find_type(&s, SHT_DYNSYM), *all = find_type(&s, SHT_SYMTAB);
    const struct symbols exported = symbols_of(&s, dynamic);
    const struct symbols symbols = all != NULL ? symbols_of(&s, all) : exported;
    out->is_stripped = all == NULL;
    survey_libraries(&s);
    survey_wanted(&s, dynamic, &exported);
    survey_plugin(&s, &exported);
    survey_writable(&s, &symbols);
    survey_unwinding(&s, &symbols);
    survey_producers(&s);
    return 0;
}
