/*
 * Just enough of ELF to read the versions that a file needs.  Every offset in the file is checked
 * against its size: a file cut in the middle is an error message, not a crash.
 */
#include "daemon/site/elf.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SYMBOLS_PREFIX "TORNADO_"
#define SYMBOLS_PUBLIC "TORNADO_1.0"
#define SYMBOLS_PRIVATE "TORNADO_PRIVATE"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_NONE /* unknown to us: the dynamic linker judges alone */
#endif

#define NATIVE_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)
#define NATIVE_DATA (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB)

struct image {
    const char *bytes;
    size_t size;
    const ElfW(Phdr) *segments;
    size_t segments_count;
};

/* NULL unless size bytes at offset are in the file, aligned for what will be read there. */
static const void *
at(const struct image *image, uint64_t offset, uint64_t size)
{
    if (offset > image->size || size > image->size - offset || offset % 4 != 0)
        return NULL;
    return image->bytes + offset;
}

static bool
to_offset(const struct image *image, uint64_t address, uint64_t *offset_out)
{
    for (size_t i = 0; i < image->segments_count; i++) {
        const ElfW(Phdr) *segment = &image->segments[i];
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
            address - segment->p_vaddr < segment->p_filesz) {
            *offset_out = segment->p_offset + (address - segment->p_vaddr);
            return true;
        }
    }
    return false;
}

static int
check_header(struct image *image, td_err *err)
{
    const ElfW(Ehdr) *header = at(image, 0, sizeof(*header));

    if (header == NULL || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return td_err_set(err, TD_EPLUGIN, "is not a shared object");
    if (header->e_ident[EI_CLASS] != NATIVE_CLASS || header->e_ident[EI_DATA] != NATIVE_DATA ||
        (MACHINE != EM_NONE && header->e_machine != MACHINE))
        return td_err_set(err, TD_EPLUGIN, "was built for another kind of machine");
    if (header->e_type != ET_DYN)
        return td_err_set(err, TD_EPLUGIN, "is not a shared object (link it with -shared)");
    image->segments_count = header->e_phnum;
    image->segments = header->e_phoff % sizeof(void *) == 0
                          ? at(image, header->e_phoff, header->e_phnum * sizeof(ElfW(Phdr)))
                          : NULL;
    if (image->segments == NULL)
        return td_err_set(err, TD_EPLUGIN, "is cut off or damaged");
    return 0;
}

struct dynamic {
    uint64_t strings, strings_size, needs, needs_count;
};

static bool
find_dynamic(const struct image *image, struct dynamic *out)
{
    const ElfW(Dyn) *entries = NULL;
    size_t count = 0;

    for (size_t i = 0; i < image->segments_count; i++) {
        const ElfW(Phdr) *segment = &image->segments[i];
        if (segment->p_type == PT_DYNAMIC && segment->p_offset % sizeof(void *) == 0) {
            entries = at(image, segment->p_offset, segment->p_filesz);
            count = segment->p_filesz / sizeof(*entries);
        }
    }
    if (entries == NULL)
        return false;
    *out = (struct dynamic){0};
    for (size_t i = 0; i < count && entries[i].d_tag != DT_NULL; i++) {
        switch (entries[i].d_tag) {
        case DT_STRTAB:
            out->strings = entries[i].d_un.d_ptr;
            break;
        case DT_STRSZ:
            out->strings_size = entries[i].d_un.d_val;
            break;
        case DT_VERNEED:
            out->needs = entries[i].d_un.d_ptr;
            break;
        case DT_VERNEEDNUM:
            out->needs_count = entries[i].d_un.d_val;
            break;
        }
    }
    return true;
}

static int
check_version(const char *version, td_err *err)
{
    if (strcmp(version, SYMBOLS_PRIVATE) == 0)
        return td_err_set(err, TD_EPLUGIN,
                          "uses functions that are the daemon's own (%s); handlers include "
                          "<tornado/tornado.h> and nothing else of it",
                          SYMBOLS_PRIVATE);
    if (strncmp(version, SYMBOLS_PREFIX, strlen(SYMBOLS_PREFIX)) == 0 &&
        strcmp(version, SYMBOLS_PUBLIC) != 0)
        return td_err_set(err, TD_EPLUGIN, "was built for a newer tornadod: it needs %s", version);
    return 0;
}

/* One file that is needed, and the versions of it. */
static int
check_need(const struct image *image, uint64_t offset, const ElfW(Verneed) *need,
           const char *strings, uint64_t strings_size, td_err *err)
{
    uint64_t place = offset + need->vn_aux;

    for (unsigned i = 0; i < need->vn_cnt; i++) {
        const ElfW(Vernaux) *version = at(image, place, sizeof(*version));
        if (version == NULL || version->vna_name >= strings_size)
            return td_err_set(err, TD_EPLUGIN, "is cut off or damaged");
        int rc = check_version(strings + version->vna_name, err);
        if (rc < 0)
            return rc;
        place += version->vna_next;
    }
    return 0;
}

int
elf_check(const char *bytes, size_t size, td_err *err)
{
    struct image image = {.bytes = bytes, .size = size};
    struct dynamic dynamic;
    uint64_t strings_at, place;

    if (check_header(&image, err) < 0)
        return err->code;
    if (!find_dynamic(&image, &dynamic))
        return td_err_set(err, TD_EPLUGIN, "is cut off or damaged");
    if (dynamic.needs == 0)
        return 0;
    const char *strings = to_offset(&image, dynamic.strings, &strings_at) && strings_at <= size &&
                                  dynamic.strings_size > 0 &&
                                  dynamic.strings_size <= size - strings_at
                              ? bytes + strings_at
                              : NULL;
    if (strings == NULL || strings[dynamic.strings_size - 1] != '\0' ||
        !to_offset(&image, dynamic.needs, &place))
        return td_err_set(err, TD_EPLUGIN, "is cut off or damaged");
    for (uint64_t i = 0; i < dynamic.needs_count; i++) {
        const ElfW(Verneed) *need = at(&image, place, sizeof(*need));
        if (need == NULL)
            return td_err_set(err, TD_EPLUGIN, "is cut off or damaged");
        int rc = check_need(&image, place, need, strings, dynamic.strings_size, err);
        if (rc < 0)
            return rc;
        place += need->vn_next;
    }
    return 0;
}
