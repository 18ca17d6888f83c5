/*
 * URLs of static files that change when the file does.  The version is kept with what the worker
 * knows of the file, so it is as fresh as what is served.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>
#include <tornado/coroutine.h>
#include "base/escape.h"
#include "http/request.h"
#include "web/filecache.h"
#include "web/handler.h"
#include "web/static.h"

#define READ_BYTES 16384
#define READS_A_TURN 16 /* then others are served */

/* ---- versions */

static void
keep_version(td_cached_file *file, XXH128_hash_t hash)
{
    snprintf(file->version, sizeof(file->version), "%016" PRIx64 "%016" PRIx64,
             (uint64_t)hash.high64, (uint64_t)hash.low64);
}

static void
free_state(XXH3_state_t **state)
{
    XXH3_freeState(*state);
}

/* Of one that has become shorter meanwhile there is no version. */
static void
hash_large(td_cached_file *file)
{
    XXH3_state_t *state __attribute__((cleanup(free_state))) = XXH3_createState();
    char bytes[READ_BYTES];
    uint64_t at = 0;

    XXH3_128bits_reset(state);
    for (int reads = 1; at < file->size; reads++) {
        const uint64_t left = file->size - at;
        const ssize_t n =
            pread(file->file->fd, bytes, left < READ_BYTES ? left : READ_BYTES, (off_t)at);

        if (n <= 0)
            return;
        XXH3_128bits_update(state, bytes, (size_t)n);
        at += (uint64_t)n;
        if (reads % READS_A_TURN == 0)
            td_sleep(0);
        if (file->version[0] != '\0') /* somebody else has been faster */
            return;
    }
    keep_version(file, XXH3_128bits_digest(state));
}

struct used {
    td_filecache *cache;
    td_cached_file *file; /* NULL: none */
};

static void
used_fini(struct used *used)
{
    if (used->file != NULL)
        td_filecache_done(used->cache, used->file);
}

/* The null string: there is no such file. */
static td_str
version_of(td_handler *h, td_str path)
{
    const td_application_settings *settings = h->app->settings;
    struct used used __attribute__((cleanup(used_fini))) = {.cache = h->app->files};

    if (!td_static_is_normal(path) ||
        td_filecache_open(used.cache, settings->static_path, (td_symlinks)settings->static_symlinks,
                          path, &used.file) < 0 ||
        used.file->is_directory)
        return td_str_make(NULL, 0);
    if (used.file->version[0] == '\0' && used.file->file == NULL)
        keep_version(used.file, XXH3_128bits(used.file->bytes, used.file->size));
    else if (used.file->version[0] == '\0')
        hash_large(used.file);
    return td_str_dup(&h->request->arena, td_str_of(used.file->version));
}

/* ---- URLs */

static td_str
make_url(td_handler *h, const char *function, const char *path_, td_str origin)
{
    td_arena *arena = &h->request->arena;
    const td_str path = td_str_of(path_);
    td_str version;

    if (h->app->settings->static_path == NULL) {
        td_handler_misuse(h, function, "there is no static_path");
        return td_str_make(NULL, 0);
    }
    version = version_of(h, path);
    return td_arena_sprintf(
        arena, "%.*s%s%s%s%.*s", TD_STR_FMT(origin), h->app->settings->static_url_prefix,
        td_url_escape(arena, path, "/").ptr, version.len > 0 ? "?v=" : "", TD_STR_FMT(version));
}

td_str
td_static_url(td_handler *h, const char *path)
{
    if (!td_handler_has(h, "td_static_url", path))
        return td_str_make(NULL, 0);
    return make_url(h, "td_static_url", path, TD_STR(""));
}

td_str
td_static_full_url(td_handler *h, const char *path)
{
    if (!td_handler_has(h, "td_static_full_url", path))
        return td_str_make(NULL, 0);
    return make_url(h, "td_static_full_url", path,
                    td_arena_sprintf(&h->request->arena, "%s://%.*s",
                                     td_request_protocol(h->request),
                                     TD_STR_FMT(h->request->head.host)));
}
