/*
 * For the instruction gate: valgrind knows no openat2, so that no file were served below it.
 * Preloaded, this opens with openat instead; all other system calls are as they were, some
 * instructions later.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

long
syscall(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*real)(long, ...);

    if (number == SYS_openat2) {
        const struct open_how *how = (const struct open_how *)(uintptr_t)c;

        return openat((int)a, (const char *)(uintptr_t)b, (int)how->flags);
    }
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, d, e, f);
}
