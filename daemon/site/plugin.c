/* dlopen of /proc/self/fd/N runs what the master accepted and nothing else. */
#include "daemon/site/plugin.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/site/elf.h"
#include "web/pluginlayout.h"

static int
check_bytes(int fd, td_err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return td_err_errno(err, "fstat");
    if (st.st_size == 0)
        return td_err_set(err, TD_EPLUGIN, "is empty");
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return td_err_errno(err, "mmap");
    int rc = elf_check(bytes, (size_t)st.st_size, err);
    munmap(bytes, (size_t)st.st_size);
    return rc;
}

/*
 * The dynamic linker's sentence without our own path in it:
 * "/proc/self/fd/7: undefined symbol: x" is about the file, which the caller names.
 */
static const char *
linker_reason(const char *path)
{
    const char *text = dlerror();
    size_t len = strlen(path);

    if (text == NULL)
        return "the dynamic linker gives no reason";
    if (strncmp(text, path, len) == 0 && strncmp(text + len, ": ", 2) == 0)
        text += len + 2;
    return text;
}

/* What dlopen is to find at path is open as fd, too. */
static int
load(td_arena *arena, const char *file, int fd, const char *path, const td_plugin **out,
     td_err *err)
{
    if (check_bytes(fd, err) < 0)
        return td_err_prefix(err, "%s", file);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL)
        return td_err_set(err, TD_EPLUGIN, "%s: %s", file, linker_reason(path));
    const td_plugin *plugin = dlsym(object, "tornado_plugin");
    if (plugin == NULL)
        return td_err_set(err, TD_EPLUGIN,
                          "%s: has no symbol tornado_plugin: it is not a handler (see TD_PLUGIN)",
                          file);
    return td_plugin_translate(arena, file, plugin, out, err);
}

int
plugin_load(td_arena *arena, const char *file, int fd, const td_plugin **out, td_err *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return load(arena, file, fd, path, out, err);
}

int
plugin_load_path(td_arena *arena, const char *path, const td_plugin **out, td_err *err)
{
    char resolved[PATH_MAX];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || realpath(path, resolved) == NULL) {
        td_err_errno(err, "%s", path);
        if (fd >= 0)
            close(fd);
        return err->code;
    }
    int rc = load(arena, path, fd, resolved, out, err);
    close(fd);
    return rc;
}
