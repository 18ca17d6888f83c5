/*
 * td_arena: memory that is given back all at once.
 *
 * Allocation bumps a pointer; there is no free.  What td_arena_alloc returns is zeroed and aligned
 * to 16 bytes.  Memory gone aborts the process, so nothing returns NULL: compare every size that a
 * peer controls with its limit first.
 *
 * Chunks come from the chunk pool of the process (see td_chunk_get), larger ones from malloc.  An
 * arena is used by one thread.
 */
#ifndef TORNADO_BASE_ARENA_H
#define TORNADO_BASE_ARENA_H

#include <stdarg.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/str.h>
#include "base/assert.h"

#define TD_CHUNK_SIZE 4096 /* bytes of a pooled chunk, its header included */

typedef struct td_arena_chunk {
    struct td_arena_chunk *older;
    size_t size; /* bytes, this header included */
} td_arena_chunk;

typedef struct td_arena {
    char *next, *end;       /* what is left of the newest chunk */
    td_arena_chunk *newest; /* NULL: nothing was allocated yet */
    size_t total;           /* bytes of all chunks */
} td_arena;

typedef struct td_arena_mark {
    td_arena_chunk *chunk;
    char *next;
} td_arena_mark;

TD_PRIVATE void td_arena_init(td_arena *arena); /* no memory is taken before the first allocation */
TD_PRIVATE void td_arena_fini(td_arena *arena); /* gives all chunks back */

/* Forget what was allocated since the mark; chunks taken since are given back. */
TD_PRIVATE void td_arena_rewind(td_arena *arena, td_arena_mark mark);

TD_PRIVATE void *td_arena_alloc_slow(td_arena *arena, size_t size); /* uninitialised; a new chunk */

/* True when all that was allocated before the mark still is. */
TD_PRIVATE bool td_arena_has_mark(const td_arena *arena, td_arena_mark mark);

static inline td_arena_mark
td_arena_mark_now(const td_arena *arena)
{
    td_arena_mark mark = {arena->newest, arena->next};
    return mark;
}

/* Uninitialised bytes: only where all of them are written at once. */
static inline void *
td_arena_alloc_raw(td_arena *arena, size_t size)
{
    size_t rounded = (size + 15) & ~(size_t)15;

    /* rounded is 0 for a size of 0 and for one that overflows. */
    if (__builtin_expect((size_t)(arena->end - arena->next) < rounded || rounded == 0, 0))
        return td_arena_alloc_slow(arena, size);
    void *p = arena->next;
    arena->next += rounded;
    return p;
}

static inline void *
td_arena_alloc(td_arena *arena, size_t size)
{
    return memset(td_arena_alloc_raw(arena, size), 0, size);
}

#define TD_ARENA_NEW(arena, type) ((type *)td_arena_alloc((arena), sizeof(type)))
#define TD_ARENA_ARRAY(arena, type, n) ((type *)td_arena_alloc_array((arena), sizeof(type), (n)))

TD_PRIVATE void *td_arena_alloc_array(td_arena *arena, size_t size, size_t n); /* aborts on overflow */

/* Copies, with a NUL (not counted) behind the last byte. */
TD_PRIVATE td_str td_str_dup(td_arena *arena, td_str s);
TD_PRIVATE char *td_arena_strdup(td_arena *arena, const char *text);
TD_PRIVATE td_str td_arena_sprintf(td_arena *arena, const char *format, ...) TD_PRINTF(2, 3);
TD_PRIVATE td_str td_arena_vsprintf(td_arena *arena, const char *format, va_list args)
    TD_PRINTF(2, 0);

/*
 * The pool of chunks of TD_CHUNK_SIZE bytes, last in first out, one a process; used from the loop's
 * thread only.  td_chunk_trim gives the memory of all but `keep` of the idle ones back.
 */
TD_PRIVATE void *td_chunk_get(void);
TD_PRIVATE void td_chunk_put(void *chunk);
TD_PRIVATE void td_chunk_trim(size_t keep);
TD_PRIVATE size_t td_chunks_in_use(void);

/*
 * Called, if set, when a chunk is put to more idle ones than the pool likes to keep.  td_chunk_cool
 * gives the memory of some back, 50 us of work; false: those that are left are not too many.  Not
 * set: their memory goes at once.
 */
typedef void td_chunks_fn(void);
TD_PRIVATE extern td_chunks_fn *td_chunks_idle;
TD_PRIVATE bool td_chunk_cool(void);

/*
 * malloc and friends that abort with a log line when there is no memory; before that they try so
 * often again, each 10 ms: 0, but in a master, which waits rather than dies.
 */
TD_PRIVATE extern unsigned td_memory_tries_max;
TD_PRIVATE void *td_xmalloc(size_t size);
TD_PRIVATE void *td_xcalloc(size_t n, size_t size);
TD_PRIVATE void *td_xrealloc(void *p, size_t size);
TD_PRIVATE char *td_xstrdup(const char *text);

/*
 * Called, if set, when at least TD_LARGE bytes were asked for or are given back, in any thread;
 * those who free say so with td_note_large.
 */
#define TD_LARGE (128 * 1024)
typedef void td_large_fn(void);
TD_PRIVATE extern td_large_fn *td_large_used;

static inline void
td_note_large(size_t size)
{
    if (TD_UNLIKELY(size >= TD_LARGE) && td_large_used != NULL)
        td_large_used();
}

#endif
