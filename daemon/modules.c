#include "daemon/modules.h"

#include <link.h>
#include <string.h>

#define MODULES_MAX 256

struct module {
    uintptr_t base, start, end; /* offsets count from base; its code is start..end */
    char name[CRASH_MODULE_SIZE];
};

static struct module modules[MODULES_MAX];
static size_t modules_count;

struct name_source {
    const char *(*name_of)(void *arg, const char *path);
    void *arg;
};

static const char *
choose_name(const struct name_source *source, const char *path)
{
    const char *name = source->name_of(source->arg, path);
    const char *slash = strrchr(path, '/');

    if (name != NULL)
        return name;
    if (path[0] == '\0')
        return "tornadod"; /* the program itself has no path here */
    return slash != NULL ? slash + 1 : path;
}

static int
note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char *name = choose_name(arg, info->dlpi_name);

    (void)size;
    for (int i = 0; i < info->dlpi_phnum && modules_count < MODULES_MAX; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
            continue;
        struct module *module = &modules[modules_count++];
        module->base = info->dlpi_addr;
        module->start = info->dlpi_addr + segment->p_vaddr;
        module->end = module->start + segment->p_memsz;
        strncpy(module->name, name, sizeof(module->name) - 1);
    }
    return 0;
}

void
modules_note(const char *(*name_of)(void *arg, const char *path), void *arg)
{
    struct name_source source = {name_of, arg};

    memset(modules, 0, sizeof(modules));
    modules_count = 0;
    dl_iterate_phdr(note_module, &source);
}

void
modules_find(uintptr_t address, struct crash_frame *out)
{
    out->offset = address;
    for (size_t i = 0; i < modules_count; i++) {
        const struct module *module = &modules[i];
        if (address < module->start || address >= module->end)
            continue;
        memcpy(out->module, module->name, sizeof(out->module));
        out->offset = address - module->base;
        return;
    }
}
