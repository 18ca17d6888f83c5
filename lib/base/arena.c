/*
 * Arenas are lists of chunks, newest first, of which only the newest has room.  A chunk of
 * TD_CHUNK_SIZE comes from the pool and goes back to it; a larger one was made for one allocation,
 * which fills it, so what follows starts another chunk.
 */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include "base/assert.h"
#include "base/budget.h"
#include "base/log.h"

_Static_assert(sizeof(td_arena_chunk) == 16, "the first allocation of a chunk is aligned to 16");

td_large_fn *td_large_used;
td_chunks_fn *td_chunks_idle;

unsigned td_memory_tries_max;

static TD_NORETURN void
out_of_memory(size_t size)
{
    td_log_at(TD_LOG_CRITICAL, "memory", "out of memory: %zu bytes wanted", size);
    abort();
}

/* Returns when the next try may have better luck. */
static void
wait_for_memory(size_t size, unsigned tries)
{
    const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};

    if (tries == td_memory_tries_max)
        out_of_memory(size);
    nanosleep(&moment, NULL);
}

void *
td_xmalloc(size_t size)
{
    void *p;

    for (unsigned tries = 0; TD_UNLIKELY((p = malloc(size > 0 ? size : 1)) == NULL); tries++)
        wait_for_memory(size, tries);
    td_note_large(size);
    return p;
}

void *
td_xcalloc(size_t n, size_t size)
{
    void *p;

    for (unsigned tries = 0; TD_UNLIKELY((p = calloc(n > 0 ? n : 1, size > 0 ? size : 1)) == NULL); tries++)
        wait_for_memory(n * size, tries);
    return p;
}

void *
td_xrealloc(void *p, size_t size)
{
    void *moved;

    for (unsigned tries = 0; TD_UNLIKELY((moved = realloc(p, size > 0 ? size : 1)) == NULL); tries++)
        wait_for_memory(size, tries);
    td_note_large(size);
    return moved;
}

char *
td_xstrdup(const char *text)
{
    const size_t size = strlen(text) + 1;

    return memcpy(td_xmalloc(size), text, size);
}

/* ---- the pool */

/*
 * Chunks are cut from slabs that stay mapped.  A few idle ones stay warm; what is put beside them
 * gives its memory back to the system soon and keeps its addresses, so a worker that was busy is
 * small again.  Not at once: that is a system call a chunk, and the arena of a form of a million
 * fields has thirty thousand.  (Pages larger than a chunk are not given back.)
 */
#define SLAB_CHUNKS 64
#define WARM_CHUNKS 64
#define COOLED_CHUNKS 64 /* in one go */

#ifdef __SANITIZE_ADDRESS__
#define NEW_CHUNKS 1 /* each from malloc, so that the sanitizer sees it come and go */
#else
#define NEW_CHUNKS SLAB_CHUNKS
#endif

struct stack {
    void **chunks;
    size_t count, size; /* in use, room */
};

static struct stack warm, cold;
static size_t chunks_made; /* of slabs */

static void
stack_push(struct stack *stack, void *chunk)
{
    if (stack->count == stack->size) {
        stack->size = stack->size > 0 ? 2 * stack->size : SLAB_CHUNKS;
        stack->chunks = td_xrealloc(stack->chunks, stack->size * sizeof(*stack->chunks));
    }
    stack->chunks[stack->count++] = chunk;
}

static void *
stack_pop(struct stack *stack)
{
    return stack->count > 0 ? stack->chunks[--stack->count] : NULL;
}

/* One to use; the rest of its slab goes to the cold ones. */
static void *
make_chunks(void)
{
    char *slab;

    if (NEW_CHUNKS == 1) {
        chunks_made++;
        return td_xmalloc(TD_CHUNK_SIZE);
    }
    for (unsigned tries = 0; (slab = mmap(NULL, NEW_CHUNKS * TD_CHUNK_SIZE, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == MAP_FAILED;
         tries++)
        wait_for_memory(NEW_CHUNKS * TD_CHUNK_SIZE, tries);
    chunks_made += NEW_CHUNKS;
    for (size_t i = NEW_CHUNKS - 1; i > 0; i--)
        stack_push(&cold, slab + i * TD_CHUNK_SIZE);
    return slab;
}

static void
make_cold(void *chunk)
{
    if (NEW_CHUNKS == 1) {
        chunks_made--;
        free(chunk);
        return;
    }
    madvise(chunk, TD_CHUNK_SIZE, MADV_DONTNEED); /* on failure it just stays in memory */
    stack_push(&cold, chunk);
}

void *
td_chunk_get(void)
{
    void *chunk = stack_pop(&warm);

    if (TD_UNLIKELY(chunk == NULL))
        chunk = stack_pop(&cold);
    return TD_LIKELY(chunk != NULL) ? chunk : make_chunks();
}

void
td_chunk_put(void *chunk)
{
    const bool is_too_many = warm.count >= WARM_CHUNKS;

    if (TD_UNLIKELY(is_too_many && td_chunks_idle == NULL)) {
        make_cold(chunk);
        return;
    }
    stack_push(&warm, chunk);
    if (TD_UNLIKELY(is_too_many))
        td_chunks_idle();
}

bool
td_chunk_cool(void)
{
    for (int i = 0; i < COOLED_CHUNKS && warm.count > WARM_CHUNKS; i++)
        make_cold(stack_pop(&warm));
    return warm.count > WARM_CHUNKS;
}

void
td_chunk_trim(size_t keep)
{
    const size_t surplus = warm.count > keep ? warm.count - keep : 0;

    if (surplus == 0)
        return;
    for (size_t i = 0; i < surplus; i++) /* those put first */
        make_cold(warm.chunks[i]);
    memmove(warm.chunks, warm.chunks + surplus, keep * sizeof(*warm.chunks));
    warm.count = keep;
}

size_t
td_chunks_in_use(void)
{
    return chunks_made - warm.count - cold.count;
}

/* ---- arenas */

/* A chunk that is larger than those of the pool. */
static void *
make_large(size_t size)
{
    td_budget_note(TD_BUDGET_REQUESTS, size);
    return td_xmalloc(size);
}

static void
drop_large(td_arena_chunk *chunk)
{
    td_budget_give(TD_BUDGET_REQUESTS, chunk->size);
    free(chunk);
}

void
td_arena_init(td_arena *arena)
{
    *arena = (td_arena){0};
}

static void
drop_newest(td_arena *arena)
{
    td_arena_chunk *chunk = arena->newest;

    arena->newest = chunk->older;
    arena->total -= chunk->size;
    if (chunk->size == TD_CHUNK_SIZE)
        td_chunk_put(chunk);
    else
        drop_large(chunk);
}

void
td_arena_fini(td_arena *arena)
{
    while (arena->newest != NULL)
        drop_newest(arena);
    arena->next = arena->end = NULL;
}

void
td_arena_rewind(td_arena *arena, td_arena_mark mark)
{
    while (arena->newest != mark.chunk)
        drop_newest(arena);
    arena->next = mark.next;
    arena->end = mark.chunk != NULL ? (char *)mark.chunk + mark.chunk->size : NULL;
}

bool
td_arena_has_mark(const td_arena *arena, td_arena_mark mark)
{
    const td_arena_chunk *chunk = arena->newest;

    if (mark.chunk == NULL)
        return mark.next == NULL;
    while (chunk != NULL && chunk != mark.chunk)
        chunk = chunk->older;
    return chunk != NULL && mark.next > (const char *)chunk &&
           mark.next <= (chunk == arena->newest ? arena->next : (const char *)chunk + chunk->size);
}

void *
td_arena_alloc_slow(td_arena *arena, size_t size)
{
    const size_t header = sizeof(td_arena_chunk);

    if (TD_UNLIKELY(size > PTRDIFF_MAX - header - 16))
        out_of_memory(size);
    if (size == 0) /* an address that nobody else has */
        return td_arena_alloc_raw(arena, 1);

    const size_t rounded = (size + 15) & ~(size_t)15;
    const bool is_pooled = rounded <= TD_CHUNK_SIZE - header;
    const size_t chunk_size = is_pooled ? TD_CHUNK_SIZE : header + rounded;
    td_arena_chunk *chunk = is_pooled ? td_chunk_get() : make_large(chunk_size);

    chunk->older = arena->newest;
    chunk->size = chunk_size;
    arena->newest = chunk;
    arena->total += chunk_size;
    arena->next = (char *)chunk + header + rounded;
    arena->end = (char *)chunk + chunk_size;
    return (char *)chunk + header;
}

void *
td_arena_alloc_array(td_arena *arena, size_t size, size_t n)
{
    size_t bytes;

    if (TD_UNLIKELY(__builtin_mul_overflow(size, n, &bytes)))
        out_of_memory(SIZE_MAX);
    return td_arena_alloc(arena, bytes);
}

td_str
td_str_dup(td_arena *arena, td_str s)
{
    if (s.ptr == NULL)
        return s;

    char *copy = td_arena_alloc_raw(arena, s.len + 1);

    memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return td_str_make(copy, s.len);
}

char *
td_arena_strdup(td_arena *arena, const char *text)
{
    const size_t size = strlen(text) + 1;

    return memcpy(td_arena_alloc_raw(arena, size), text, size);
}

td_str
td_arena_vsprintf(td_arena *arena, const char *format, va_list args)
{
    const size_t room = (size_t)(arena->end - arena->next);
    va_list again;

    va_copy(again, args);
    const int len = vsnprintf(arena->next, room, format, args);

    TD_ASSERT(len >= 0);
    const bool fits = (size_t)len < room;
    char *text = td_arena_alloc_raw(arena, (size_t)len + 1);

    if (!fits)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return td_str_make(text, (size_t)len);
}

td_str
td_arena_sprintf(td_arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const td_str s = td_arena_vsprintf(arena, format, args);
    va_end(args);
    return s;
}
