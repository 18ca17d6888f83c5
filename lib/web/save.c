/*
 * What a client has sent, into a file that the author names.
 *
 * One slice an iteration of the loop.  Where the body lies in a temporary file, the kernel copies
 * from there (and shares the blocks where the file system can); else, and where it cannot, the
 * bytes are written.  Taking the place of a large file frees that, which takes the kernel
 * milliseconds; so where what takes it is large, a thread of the executor does it.
 */
#include <errno.h>
#include <sys/types.h>
#include <unistd.h>
#include <tornado/coroutine.h>
#include <tornado/executor.h>
#include <tornado/forms.h>
#include "base/tempfile.h"
#include "http/spill.h"
#include "web/handler.h"

#define SLICE (256 * 1024) /* bytes in one go; others are served before the next */
#define LARGE (4 * 1024 * 1024)

struct source {
    td_str rest;
    int fd;          /* that has the same bytes, -1: none */
    uint64_t offset; /* in fd */
};

static struct source
source_of(const td_handler *h, td_str bytes)
{
    const td_spill *spill = h->request->spill;
    struct source source = {bytes, -1, 0};

    if (spill != NULL && bytes.len > 0 && bytes.ptr >= spill->map &&
        bytes.ptr < spill->map + spill->size) {
        source.fd = spill->fd;
        source.offset = (uint64_t)(bytes.ptr - spill->map);
    }
    return source;
}

/* Bytes, or -errno. */
static ssize_t
write_some(int fd, td_str bytes)
{
    ssize_t n;

    do
        n = write(fd, bytes.ptr, bytes.len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int
copy_slice(struct source *source, int fd)
{
    const size_t size = source->rest.len < SLICE ? source->rest.len : SLICE;
    off_t offset = (off_t)source->offset;
    ssize_t n = -1;

    if (source->fd >= 0)
        n = copy_file_range(source->fd, &offset, fd, NULL, size, 0);
    if (n <= 0) { /* between some file systems the kernel cannot; what else is wrong, write tells */
        source->fd = -1;
        n = write_some(fd, td_str_make(source->rest.ptr, size));
    }
    if (n < 0)
        return (int)n;
    source->rest = td_str_make(source->rest.ptr + n, source->rest.len - (size_t)n);
    source->offset += (uint64_t)n;
    return 0;
}

static void *
commit_on_thread(void *file)
{
    return (void *)(intptr_t)td_newfile_commit(file);
}

static int
commit(td_newfile *file, size_t size)
{
    void *result = NULL;
    const int rc = size > LARGE ? td_executor_run(NULL, commit_on_thread, file, &result) : TD_EBUSY;

    return rc == TD_EBUSY ? td_newfile_commit(file) : rc == 0 ? (int)(intptr_t)result : rc;
}

static int
save(td_handler *h, const char *function, td_str bytes, const char *path)
{
    if (td_coroutine_current() == NULL)
        return td_handler_misuse(h, function, "waiting is not possible here");

    struct source source = source_of(h, bytes);
    td_newfile file __attribute__((cleanup(td_newfile_close))) = {.path = NULL};
    int rc = td_newfile_open(&file, path);

    while (rc == 0 && source.rest.len > 0) {
        rc = copy_slice(&source, file.fd);
        if (rc == 0 && source.rest.len > 0)
            rc = td_sleep(0);
    }
    return rc == 0 ? commit(&file, bytes.len) : rc;
}

int
td_save_file(td_handler *h, const td_http_file *file, const char *path)
{
    if (!td_handler_has(h, "td_save_file", file) || !td_handler_has(h, "td_save_file", path))
        return TD_EINVAL;
    return save(h, "td_save_file", file->body, path);
}

int
td_save_body(td_handler *h, const char *path)
{
    if (!td_handler_has(h, "td_save_body", path))
        return TD_EINVAL;
    return save(h, "td_save_body", h->request->body, path);
}
