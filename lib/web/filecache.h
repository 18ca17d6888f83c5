/*
 * td_filecache: what a worker knows of the files below some directories.
 *
 * A file is opened below its root by the kernel (openat2), whatever its path and the links on it
 * are, and described by what was opened, so there is no gap between the check and the use.  What is
 * known is kept: bytes of a small file, a descriptor of a large one, that a directory is one.  It
 * is good for recheck_ms, then the path is opened again; what is still the same file stays, unless
 * it was read so soon after a change that the next one may bear the same time.  Errors are not kept.
 * The files used least recently go when there are too many.
 */
#ifndef TORNADO_WEB_FILECACHE_H
#define TORNADO_WEB_FILECACHE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <tornado/static.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "http/accept.h"
#include "http/request.h"
#include "web/mimetypes.h"

#define TD_FILECACHE_SMALL (128 * 1024) /* bytes of a file that is kept in memory: cheaper than sendfile */

typedef struct td_filecache td_filecache;

typedef struct td_cached_file {
    bool is_directory; /* then the rest is empty */
    td_file *file;     /* NULL: `bytes` are all of it */
    char *bytes;
    uint64_t size;
    time_t modified;
    td_str content_type;
    char etag[34];     /* quoted; of time, size and inode */
    char last_modified[TD_HTTP_DATE_LEN + 1];
    char version[33];     /* of the content, for td_static_url; empty: nobody has asked */
    td_prepared prepared; /* around `bytes`, by and for those who have set prepared_for */
    const void *prepared_for; /* constant while the cache lives */

    /* The cache's own. */
    td_list link;         /* in the order of use; unlinked: the cache does not know it */
    uint32_t users;       /* between open and done */
    uint8_t codings;      /* TD_CODING_BITs of the neighbours, once they were looked for */
    bool codings_known;
    struct td_root *root;
    td_str path;
    dev_t device;
    ino_t inode;
    struct timespec changed, touched; /* its content, as it says itself; whatever, as the system says */
    bool is_settled; /* a change since it was read would show in `touched` */
    int64_t checked_ns;
} td_cached_file;

/*
 * files_max: how many are kept.  memory_max: bytes of small ones; past it they are kept open like
 * large ones.  mime_types: a file, or NULL.
 */
TD_PRIVATE int td_filecache_create(td_filecache **out, size_t files_max, size_t memory_max,
                                   int64_t recheck_ms, const char *mime_types, td_err *err);
TD_PRIVATE void td_filecache_destroy(td_filecache **cache);

/*
 * path: relative, without empty, "." and ".." segments; empty: the root itself; with a NUL behind.
 *
 * 0; -errno as open says it, among them -EXDEV and -ELOOP for a link that is not to be followed; or
 * TD_EINVAL for what is neither a file nor a directory.  What is found stays as it is until
 * td_filecache_done, whatever is opened meanwhile.
 */
TD_PRIVATE int td_filecache_open(td_filecache *cache, const char *root, td_symlinks symlinks,
                                 td_str path, td_cached_file **out);
TD_PRIVATE void td_filecache_done(td_filecache *cache, td_cached_file *file);

/*
 * To come back to a file without its path: td_filecache_again with what td_filecache_era said when
 * the file was open is as good as td_filecache_open when it returns true, but nobody calls done,
 * and the file stays as it is only until the cache is used again.  False: open it, perhaps to find
 * the same.
 */
TD_PRIVATE uint64_t td_filecache_era(const td_filecache *cache);
TD_PRIVATE bool td_filecache_again(td_filecache *cache, td_cached_file *file, uint64_t era);

/*
 * The codings in which the file lies beside it under its own name with ".zst", ".br" or ".gz"
 * behind: TD_CODING_BITs.  Looked for once for each time that the file is.  A neighbour older than
 * the file (in seconds) was made of another version of it and does not count.
 */
TD_PRIVATE unsigned td_filecache_codings(td_cached_file *file);
TD_PRIVATE td_str td_filecache_suffix(td_coding coding);

/*
 * For listings, below the root and by its policy as above: a descriptor, the caller's; 0 and what
 * is there.
 */
TD_PRIVATE int td_filecache_open_directory(td_filecache *cache, const char *root,
                                           td_symlinks symlinks, td_str path);
TD_PRIVATE int td_filecache_stat(td_filecache *cache, const char *root, td_symlinks symlinks,
                                 td_str path, struct stat *out);

TD_PRIVATE size_t td_filecache_count(const td_filecache *cache);

#endif
