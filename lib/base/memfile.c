#include "base/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Beyond it ftruncate does not only fail, it kills. */
static bool
may_be_that_large(uint64_t size)
{
    struct rlimit limit;

    return size <= INT64_MAX && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= size;
}

int
td_memfile_create(const char *name, uint64_t size, int *fd_out, td_err *err)
{
    if (!may_be_that_large(size)) {
        errno = EFBIG;
        return td_err_errno(err, "memory %s", name);
    }
    const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return td_err_errno(err, "memory %s", name);
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
        const int rc = td_err_errno(err, "memory %s", name);
        close(fd);
        return rc;
    }
    *fd_out = fd;
    return 0;
}

bool
td_memfile_is(int fd, uint64_t *size_out)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0)
        return false;
    *size_out = (uint64_t)st.st_size;
    return true;
}
