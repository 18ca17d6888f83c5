/*
 * Goal: malloc fails once when it is told to.  The file that TD_NO_MEMORY names holds three
 * numbers: after so many calls one fails in the process that has loaded this first, in its
 * children, and how many have failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static volatile int *numbers; /* NULL: not open yet */
static pid_t first;

__attribute__((constructor)) static void
open_numbers(void)
{
    const char *path = getenv("TD_NO_MEMORY");
    const int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = mmap(NULL, 3 * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    first = getpid();
    if (mapped != MAP_FAILED)
        numbers = mapped;
    close(fd);
}

static int
fails(void)
{
    if (numbers == NULL || (numbers[0] <= 0 && numbers[1] <= 0))
        return 0;
    volatile int *left = &numbers[getpid() != first];
    if (*left <= 0 || __sync_sub_and_fetch(left, 1) != 0)
        return 0;
    __sync_add_and_fetch(&numbers[2], 1);
    errno = ENOMEM;
    return 1;
}

void *
malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}
