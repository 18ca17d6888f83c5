/*
 * Opening below a root, and the table of what was found.
 *
 * The root is opened by its name and reopened every recheck_ms, so that one that was replaced (a
 * link to the current release) is noticed.  Everything here may wait for the disk, as short as that
 * mostly is.
 */
#include "web/filecache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#define ATTEMPTS_MAX 16 /* while others rename what is on the way (EAGAIN) */
#define GRAIN_S 2       /* of time stamps, at most: FAT has 2 s, ext4 before Linux 6.13 some ms */

struct td_root {
    struct td_root *next;
    char *name;
    td_symlinks symlinks;
    int fd;            /* -1: not open */
    int64_t opened_ns;
    td_table files;    /* path -> td_cached_file */
};

struct td_filecache {
    struct td_root *roots; /* a few */
    td_list files;         /* the one used least recently first */
    size_t count, files_max;
    size_t memory, memory_max; /* bytes of small files, those that are in use included */
    int64_t recheck_ns;
    uint64_t era; /* how often something that was known has ceased to be so */
    td_arena arena;
    td_mimetypes types;
};

/* ---- files */

static void
let_go(td_filecache *cache, td_cached_file *file)
{
    if (file->file != NULL)
        td_file_unref(file->file);
    if (file->bytes != NULL) {
        cache->era++;
        cache->memory -= TD_PREPARED_ROOM + file->size;
        free(file->bytes - TD_PREPARED_ROOM);
    }
    file->file = NULL;
    file->bytes = NULL;
    file->prepared = (td_prepared){0};
    file->prepared_for = NULL;
}

/* Who is using it goes on doing so. */
static void
forget(td_filecache *cache, td_cached_file *file)
{
    cache->era++;
    if (td_list_is_linked(&file->link)) {
        td_list_remove(&file->link);
        td_table_remove(&file->root->files, file->path);
        cache->count--;
    }
    if (file->users > 0)
        return;
    let_go(cache, file);
    free(file);
}

static void
keep(td_filecache *cache, td_cached_file *file)
{
    while (cache->count >= cache->files_max && cache->count > 0)
        forget(cache, TD_CONTAINER_OF(cache->files.next, td_cached_file, link));
    if (cache->files_max == 0)
        return;
    td_table_set(&file->root->files, file->path, file);
    td_list_append(&cache->files, &file->link);
    cache->count++;
}

/* The path lies behind the struct, with a NUL. */
static td_cached_file *
create_file(struct td_root *root, td_str path)
{
    td_cached_file *file = td_xcalloc(1, sizeof(*file) + path.len + 1);
    char *copy = (char *)(file + 1);

    memcpy(copy, path.ptr, path.len);
    file->root = root;
    file->path = td_str_make(copy, path.len);
    return file;
}

/* ---- what the kernel says */

#define READ (O_RDONLY | O_NONBLOCK | O_NOCTTY) /* a FIFO or a terminal does not make us wait */

static int
open_below(const struct td_root *root, const char *path, int flags)
{
    static const uint64_t resolve[] = {
        [TD_SYMLINKS_INSIDE] = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
        [TD_SYMLINKS_NEVER] = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        [TD_SYMLINKS_ANYWHERE] = RESOLVE_NO_MAGICLINKS,
    };
    const struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC,
                                 .resolve = resolve[root->symlinks]};
    long fd;
    int attempts = 0;

    do
        fd = syscall(SYS_openat2, root->fd, path[0] != '\0' ? path : ".", &how, sizeof(how));
    while (fd < 0 && (errno == EINTR || errno == EAGAIN) && ++attempts < ATTEMPTS_MAX);
    return fd >= 0 ? (int)fd : -errno;
}

static bool
is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Whoever writes a file may set the time of its content back, but not st_ctim. */
static bool
is_same(const td_cached_file *file, const struct stat *st)
{
    return file->inode == st->st_ino && file->device == st->st_dev &&
           file->size == (uint64_t)st->st_size && is_same_time(file->changed, st->st_mtim) &&
           is_same_time(file->touched, st->st_ctim) && file->is_settled && !file->is_directory;
}

/* A small file goes into memory; one that has just become another size stays a descriptor. */
static void
take_bytes(td_filecache *cache, td_cached_file *file, int fd)
{
    const size_t left = cache->memory_max - cache->memory;

    if (file->size <= TD_FILECACHE_SMALL && TD_PREPARED_ROOM + file->size <= left) {
        char *const room = td_xmalloc(TD_PREPARED_ROOM + file->size + 1);
        char *const bytes = room + TD_PREPARED_ROOM;

        if (pread(fd, bytes, file->size + 1, 0) == (ssize_t)file->size) {
            file->bytes = bytes;
            file->prepared.body = td_str_make(bytes, file->size);
            cache->memory += TD_PREPARED_ROOM + file->size;
            close(fd);
            return;
        }
        free(room);
    }
    file->file = td_file_create(fd);
}

static void
describe(td_filecache *cache, td_cached_file *file, const struct stat *st)
{
    const int64_t facts[] = {(int64_t)st->st_mtim.tv_sec * TD_NS_PER_S + st->st_mtim.tv_nsec,
                             st->st_size, (int64_t)st->st_ino};
    const XXH128_hash_t hash = XXH3_128bits(facts, sizeof(facts));
    char text[40];

    file->version[0] = '\0';
    file->is_directory = S_ISDIR(st->st_mode);
    file->size = file->is_directory ? 0 : (uint64_t)st->st_size;
    file->modified = st->st_mtim.tv_sec;
    file->changed = st->st_mtim;
    file->touched = st->st_ctim;
    file->is_settled = st->st_ctim.tv_sec < td_clock_cached_wall - GRAIN_S;
    file->device = st->st_dev;
    file->inode = st->st_ino;
    file->content_type = td_mimetypes_find(&cache->types, file->path);
    snprintf(text, sizeof(text), "\"%016llx%016llx\"", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    memcpy(file->etag, text, sizeof(file->etag));
    td_http_date_format(file->modified, file->last_modified);
}

/* A descriptor of what can be served, and what it is. */
static int
open_and_stat(const struct td_root *root, const char *path, struct stat *st)
{
    const int fd = open_below(root, path, READ);

    if (fd >= 0 && (fstat(fd, st) < 0 || (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)))) {
        close(fd);
        return TD_EINVAL;
    }
    return fd;
}

/* fd is taken over. */
static void
fill_file(td_filecache *cache, td_cached_file *file, int fd, const struct stat *st)
{
    let_go(cache, file);
    describe(cache, file, st);
    if (file->is_directory)
        close(fd);
    else
        take_bytes(cache, file, fd);
}

/*
 * Look at the path anew.  file: what is known of it, or NULL.  What has changed while it is used
 * must stay as it was, so another takes its place.  0; or an error, and the file is as it was.
 */
static int
look(td_filecache *cache, struct td_root *root, td_str path, td_cached_file *file,
     td_cached_file **out)
{
    struct stat st;
    const int fd = open_and_stat(root, path.ptr, &st);
    bool is_new = false;

    if (fd < 0)
        return fd;
    if (file != NULL && is_same(file, &st)) {
        close(fd);
    } else {
        if (file != NULL && file->users > 0) {
            forget(cache, file);
            file = NULL;
        }
        is_new = file == NULL;
        if (is_new)
            file = create_file(root, path);
        fill_file(cache, file, fd, &st);
    }
    if (is_new)
        keep(cache, file);
    file->checked_ns = root->opened_ns; /* what it was found below is no younger */
    cache->era += file->codings_known;
    file->codings_known = false;
    *out = file;
    return 0;
}

/* ---- neighbours */

static const td_str suffixes[] = {
    [TD_CODING_ZSTD] = {".zst", 4},
    [TD_CODING_BR] = {".br", 3},
    [TD_CODING_GZIP] = {".gz", 3},
    [TD_CODING_IDENTITY] = {"", 0},
};

td_str
td_filecache_suffix(td_coding coding)
{
    return suffixes[coding];
}

static bool
has_neighbour(const td_cached_file *file, td_coding coding)
{
    char path[PATH_MAX];
    struct stat st;
    int fd;
    bool has;

    if (file->path.len + suffixes[coding].len >= sizeof(path))
        return false;
    memcpy(path, file->path.ptr, file->path.len);
    memcpy(path + file->path.len, suffixes[coding].ptr, suffixes[coding].len + 1);
    fd = open_below(file->root, path, O_PATH);
    if (fd < 0)
        return false;
    has = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_mtim.tv_sec >= file->modified;
    close(fd);
    return has;
}

unsigned
td_filecache_codings(td_cached_file *file)
{
    if (file->codings_known)
        return file->codings;
    file->codings = 0;
    file->codings_known = true;
    for (int coding = 0; coding < TD_CODING_IDENTITY; coding++)
        if (has_neighbour(file, (td_coding)coding))
            file->codings |= TD_CODING_BIT(coding);
    return file->codings;
}

/* ---- roots */

static struct td_root *
root_of(td_filecache *cache, const char *name, td_symlinks symlinks)
{
    struct td_root *root = cache->roots;

    while (root != NULL && (root->symlinks != symlinks || strcmp(root->name, name) != 0))
        root = root->next;
    if (root != NULL)
        return root;
    root = td_xcalloc(1, sizeof(*root));
    root->name = td_xstrdup(name);
    root->symlinks = symlinks;
    root->fd = -1;
    td_table_init(&root->files);
    root->next = cache->roots;
    return cache->roots = root;
}

static int
open_root(td_filecache *cache, struct td_root *root)
{
    int fd;

    if (root->fd >= 0 && td_now_ns() - root->opened_ns < cache->recheck_ns)
        return 0;
    fd = open(root->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (root->fd >= 0)
        close(root->fd);
    root->fd = fd;
    root->opened_ns = td_now_ns();
    return 0;
}

/* ---- the whole */

static bool
is_fresh(const td_filecache *cache, const td_cached_file *file)
{
    return td_now_ns() - file->checked_ns < cache->recheck_ns;
}

static void
note_use(td_filecache *cache, td_cached_file *file)
{
    td_list_remove(&file->link);
    td_list_append(&cache->files, &file->link);
}

int
td_filecache_open(td_filecache *cache, const char *root_name, td_symlinks symlinks, td_str path,
                  td_cached_file **out)
{
    struct td_root *root = root_of(cache, root_name, symlinks);
    td_cached_file *file = td_table_get(&root->files, path);
    int rc;

    if (file != NULL && is_fresh(cache, file)) {
        note_use(cache, file);
        file->users++;
        *out = file;
        return 0;
    }
    rc = open_root(cache, root);
    if (rc == 0)
        rc = look(cache, root, path, file, out);
    if (rc < 0 && file != NULL)
        forget(cache, file);
    if (rc == 0)
        (*out)->users++;
    return rc;
}

uint64_t
td_filecache_era(const td_filecache *cache)
{
    return cache->era;
}

bool
td_filecache_again(td_filecache *cache, td_cached_file *file, uint64_t era)
{
    if (era != cache->era || !is_fresh(cache, file))
        return false;
    note_use(cache, file);
    return true;
}

void
td_filecache_done(td_filecache *cache, td_cached_file *file)
{
    file->users--;
    if (!td_list_is_linked(&file->link))
        forget(cache, file);
}

static int
open_uncached(td_filecache *cache, const char *root_name, td_symlinks symlinks, td_str path,
              int flags)
{
    struct td_root *root = root_of(cache, root_name, symlinks);
    const int rc = open_root(cache, root);

    return rc < 0 ? rc : open_below(root, path.ptr, flags);
}

int
td_filecache_open_directory(td_filecache *cache, const char *root, td_symlinks symlinks, td_str path)
{
    return open_uncached(cache, root, symlinks, path, O_RDONLY | O_DIRECTORY);
}

int
td_filecache_stat(td_filecache *cache, const char *root, td_symlinks symlinks, td_str path,
                  struct stat *out)
{
    const int fd = open_uncached(cache, root, symlinks, path, O_PATH);
    int rc;

    if (fd < 0)
        return fd;
    rc = fstat(fd, out) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

size_t
td_filecache_count(const td_filecache *cache)
{
    return cache->count;
}

int
td_filecache_create(td_filecache **out, size_t files_max, size_t memory_max, int64_t recheck_ms,
                    const char *mime_types, td_err *err)
{
    td_filecache *cache = td_xcalloc(1, sizeof(*cache));
    int rc;

    td_arena_init(&cache->arena);
    rc = td_mimetypes_init(&cache->types, &cache->arena, mime_types, err);
    if (rc < 0) {
        td_arena_fini(&cache->arena);
        free(cache);
        return rc;
    }
    td_list_init(&cache->files);
    cache->files_max = files_max;
    cache->memory_max = memory_max;
    cache->recheck_ns = recheck_ms * TD_NS_PER_MS;
    *out = cache;
    return 0;
}

void
td_filecache_destroy(td_filecache **cache_)
{
    td_filecache *cache = *cache_;

    if (cache == NULL)
        return;
    while (!td_list_is_empty(&cache->files))
        forget(cache, TD_CONTAINER_OF(cache->files.next, td_cached_file, link));
    while (cache->roots != NULL) {
        struct td_root *root = cache->roots;

        cache->roots = root->next;
        if (root->fd >= 0)
            close(root->fd);
        td_table_fini(&root->files);
        free(root->name);
        free(root);
    }
    td_mimetypes_fini(&cache->types);
    td_arena_fini(&cache->arena);
    free(cache);
    *cache_ = NULL;
}
