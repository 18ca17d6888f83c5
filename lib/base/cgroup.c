#include "base/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 1024

bool
td_cgroup_read(const char *folder, const char *name, char *out, size_t size)
{
    char path[2 * PATH_SIZE];
    const int n = snprintf(path, sizeof(path), "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= sizeof(path))
        return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static bool
names_controller(const char *list, const char *end, const char *name)
{
    const size_t len = strlen(name);

    for (const char *p = list; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;
        if ((size_t)(stop - p) == len && memcmp(p, name, len) == 0)
            return true;
        p = stop + 1;
    }
    return false;
}

/* mount: where the groups of that version and controller are; group: "/" or "/a/b". */
static void
climb(const char *root, const char *mount, const char *group, int version, td_cgroup_fn *look,
      void *arg)
{
    char folder[2 * PATH_SIZE];
    const int top = snprintf(folder, sizeof(folder), "%s%s", root, mount);

    if (top < 0 || (size_t)top + strlen(group) >= sizeof(folder))
        return;
    strcpy(folder + top, group);
    for (;;) {
        look(arg, version, folder);
        char *slash = strrchr(folder + top, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

void
td_cgroup_each(const char *root, const char *controller, td_cgroup_fn *look, void *arg)
{
    char groups[4 * PATH_SIZE], folder[PATH_SIZE], mount[64], *rest = NULL;

    snprintf(folder, sizeof(folder), "%s/proc/self", root);
    if (!td_cgroup_read(folder, "cgroup", groups, sizeof(groups)))
        return;
    /* Lines of "ID:CONTROLLERS:GROUP"; version 2 has the ID 0 and no controllers. */
    for (char *line = strtok_r(groups, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *controllers = strchr(line, ':');
        const char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

        if (path == NULL)
            continue;
        if (path == controllers + 1) {
            climb(root, "/sys/fs/cgroup", path + 1, 2, look, arg);
        } else if (names_controller(controllers + 1, path, controller)) {
            snprintf(mount, sizeof(mount), "/sys/fs/cgroup/%s", controller);
            climb(root, mount, path + 1, 1, look, arg);
        }
    }
}
