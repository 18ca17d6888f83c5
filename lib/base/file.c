/* An open file and how many hold it. */
#include "base/file.h"

#include <stdlib.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/assert.h"

td_file *
td_file_create(int fd)
{
    td_file *file = td_xmalloc(sizeof(*file));

    *file = (td_file){fd, 1};
    return file;
}

void
td_file_unref(td_file *file)
{
    TD_ASSERT(file->references > 0);
    if (--file->references > 0)
        return;
    close(file->fd);
    free(file);
}
