/*
 * A list of a directory.
 *
 * The directory is read in pieces, and others are served in between.  When it has more entries than
 * the limit those that came first are listed, and the list says that it is not complete.
 */
#include "web/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <tornado/coroutine.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/jsontext.h"
#include "base/log.h"
#include "http/accept.h"
#include "web/filecache.h"
#include "web/handler.h"

#define ENTRIES_MAX 1000 /* where the options do not say it */
#define READ_BYTES 4096  /* of a directory at once: some 100 entries */
#define ROWS_A_TURN 128  /* entries that are written at once */
#define SORTED_A_TURN 512
#define MERGED_A_TURN 2048 /* a merge of more is one turn still: 10000 take half a millisecond */

struct entry {
    struct entry *next;
    td_str name;
    bool is_directory;
    uint64_t size;
    time_t modified;
};

struct listing {
    td_handler *h;
    const td_static_options *options;
    td_str path;
    td_str url; /* decoded, for people */
    int fd;     /* -1: not open */
    struct entry *newest;
    size_t count, max;
    struct entry **sorted; /* count of them */
    bool is_complete;
};

static void
listing_fini(struct listing *listing)
{
    if (listing->fd >= 0)
        close(listing->fd);
}

/* ---- reading */

/* 0: it is a file or a directory that could be served. */
static int
stat_entry(const struct listing *listing, td_str name, struct stat *st)
{
    const td_static_options *options = listing->options;

    if (fstatat(listing->fd, name.ptr, st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISLNK(st->st_mode)) {
        const td_str path =
            td_arena_sprintf(&listing->h->request->arena, "%.*s%s%.*s", TD_STR_FMT(listing->path),
                             listing->path.len > 0 ? "/" : "", TD_STR_FMT(name));
        const int rc =
            td_filecache_stat(listing->h->app->files, options->root, options->symlinks, path, st);

        if (rc < 0)
            return rc;
    }
    return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) ? 0 : TD_EINVAL;
}

static void
take_entry(struct listing *listing, td_str name)
{
    td_arena *arena = &listing->h->request->arena;
    struct entry *entry;
    struct stat st;

    if (name.ptr[0] == '.' || !td_utf8_is_valid(name) || stat_entry(listing, name, &st) < 0)
        return;
    if (listing->count == listing->max) {
        listing->is_complete = false;
        return;
    }
    entry = TD_ARENA_NEW(arena, struct entry);
    *entry = (struct entry){
        .next = listing->newest,
        .name = td_str_dup(arena, name),
        .is_directory = S_ISDIR(st.st_mode),
        .size = S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size,
        .modified = st.st_mtim.tv_sec,
    };
    listing->newest = entry;
    listing->count++;
}

static void
read_directory(struct listing *listing)
{
    char buffer[READ_BYTES] __attribute__((aligned(8)));
    ssize_t n;

    while ((n = getdents64(listing->fd, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < n && listing->is_complete;) {
            const struct dirent64 *found = (const struct dirent64 *)(const void *)(buffer + at);

            take_entry(listing, td_str_of(found->d_name));
            at += found->d_reclen;
        }
        if (!listing->is_complete)
            return;
        td_sleep(0);
    }
}

static int
compare(const void *a_, const void *b_)
{
    const struct entry *a = *(struct entry *const *)a_, *b = *(struct entry *const *)b_;

    return strcmp(a->name.ptr, b->name.ptr);
}

/* Two neighbours, each sorted and together up to `end`, into one. */
static void
merge(struct entry *const *from, size_t begin, size_t middle, size_t end, struct entry **to)
{
    size_t left = begin, right = middle;

    for (size_t i = begin; i < end; i++) {
        if (right == end || (left < middle && compare(&from[left], &from[right]) <= 0))
            to[i] = from[left++];
        else
            to[i] = from[right++];
    }
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Runs of SORTED_A_TURN, then merged by pairs, with a pause behind about as many each time. */
static void
sort(struct listing *listing)
{
    const size_t count = listing->count;
    td_arena *arena = &listing->h->request->arena;
    struct entry **from = TD_ARENA_ARRAY(arena, struct entry *, count + 1);
    struct entry **to = TD_ARENA_ARRAY(arena, struct entry *, count + 1);
    size_t i = 0, unpaused = 0;

    for (struct entry *entry = listing->newest; entry != NULL; entry = entry->next)
        from[i++] = entry;
    for (size_t at = 0; at < count; at += SORTED_A_TURN) {
        qsort(from + at, smaller(SORTED_A_TURN, count - at), sizeof(*from), compare);
        td_sleep(0);
    }
    for (size_t run = SORTED_A_TURN; run < count; run *= 2) {
        struct entry **const merged = to;

        for (size_t at = 0; at < count; at += 2 * run) {
            const size_t end = smaller(at + 2 * run, count);

            merge(from, at, smaller(at + run, count), end, merged);
            unpaused += end - at;
            if (unpaused >= MERGED_A_TURN) {
                unpaused = 0;
                td_sleep(0);
            }
        }
        to = from;
        from = merged;
    }
    listing->sorted = from;
}

/* ---- writing */

/* Entry number i was written: others are served after some. */
static void
end_turn(size_t i)
{
    if (i % ROWS_A_TURN == ROWS_A_TURN - 1)
        td_sleep(0);
}

static void
write_row(struct listing *listing, const struct entry *entry)
{
    td_arena *arena = &listing->h->request->arena;
    const td_scope scope = td_scope_mark(listing->h);
    const char *slash = entry->is_directory ? "/" : "";
    char date[TD_HTTP_DATE_LEN + 1];

    td_http_date_format(entry->modified, date);
    td_writef(listing->h, "<tr><td><a href=\"%s%s\">%s%s</a></td><td>",
              td_url_escape(arena, entry->name, "").ptr, slash,
              td_html_escape(arena, entry->name).ptr, slash);
    if (!entry->is_directory)
        td_writef(listing->h, "%" PRIu64, entry->size);
    td_writef(listing->h, "</td><td>%s</td></tr>\n", date);
    td_scope_rewind(listing->h, scope);
}

static void
write_page(struct listing *listing)
{
    td_handler *h = listing->h;
    const char *title = td_html_escape(&h->request->arena, listing->url).ptr;

    td_set_header(h, "Content-Type", "text/html; charset=UTF-8");
    td_writef(
        h,
        "<!DOCTYPE html>\n<html><head><meta charset=\"UTF-8\"><title>Index of %s</title></head>\n"
        "<body><h1>Index of %s</h1>\n<table>\n",
        title, title);
    if (listing->path.len > 0)
        td_write_text(h, "<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    for (size_t i = 0; i < listing->count; i++) {
        write_row(listing, listing->sorted[i]);
        end_turn(i);
    }
    td_write_text(h, "</table>\n");
    if (!listing->is_complete)
        td_writef(h, "<p>There are more than %zu entries.</p>\n", listing->max);
    td_write_text(h, "</body></html>\n");
}

static void
write_json(struct listing *listing)
{
    td_handler *h = listing->h;
    td_buf text __attribute__((cleanup(td_buf_release))) = {0};
    td_jsontext json = {.to = &text};

    td_jsontext_open_object(&json, NULL);
    td_jsontext_str(&json, "path", listing->url);
    td_jsontext_open_array(&json, "entries");
    for (size_t i = 0; i < listing->count; i++) {
        const struct entry *entry = listing->sorted[i];

        td_jsontext_open_object(&json, NULL);
        td_jsontext_str(&json, "name", entry->name);
        td_jsontext_bool(&json, "directory", entry->is_directory);
        td_jsontext_number(&json, "size", entry->size);
        td_jsontext_signed(&json, "modified", entry->modified);
        td_jsontext_close(&json);
        end_turn(i);
    }
    td_jsontext_close(&json);
    td_jsontext_bool(&json, "complete", listing->is_complete);
    td_jsontext_close(&json);
    td_set_header(h, "Content-Type", "application/json; charset=UTF-8");
    td_write(h, td_buf_str(&text));
}

static void
tell_of_entries(const struct listing *listing)
{
    static td_log_gate gate;

    td_log_gated(&gate, TD_LOG_INFO, td_handler_route(listing->h)->instance->name,
                 "%.*s has more than static_listing_max (%zu) entries: only these are listed",
                 TD_STR_FMT(listing->h->request->head.path), listing->max);
}

int
td_listing_send(td_handler *h, const td_static_options *options, td_str path)
{
    td_arena *arena = &h->request->arena;
    const td_str accept = td_headers_get(&h->request->head.headers, arena, TD_STR("Accept"));
    struct listing listing __attribute__((cleanup(listing_fini))) = {
        .h = h,
        .options = options,
        .path = path,
        .url = td_url_unescape(arena, h->request->head.path, false),
        .fd = td_filecache_open_directory(h->app->files, options->root, options->symlinks, path),
        .max = options->listing_max > 0 ? options->listing_max : ENTRIES_MAX,
        .is_complete = true,
    };

    if (listing.fd < 0)
        return td_send_error(h, listing.fd == -EACCES ? 403 : 404, NULL);
    read_directory(&listing);
    if (!listing.is_complete)
        tell_of_entries(&listing);
    sort(&listing);
    td_set_header(h, "Vary", "Accept");
    td_set_header(h, "Cache-Control", "no-cache");
    if (td_accept_media(accept, TD_STR("application/json")) >
        td_accept_media(accept, TD_STR("text/html")))
        write_json(&listing);
    else
        write_page(&listing);
    return td_finish(h);
}
