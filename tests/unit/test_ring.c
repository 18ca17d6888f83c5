/* Goal: what one writes the other reads, in order and contiguous, also from beyond the grave. */
#include "base/ring.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "unit.h"

#define SIZE 4096

static td_ring *ring;

static void
setup(void)
{
    ck_assert_int_eq(td_ring_create(SIZE, &ring, NULL), 0);
}

static void
teardown(void)
{
    td_ring_destroy(&ring);
    td_ring_destroy(&ring);
    ck_assert_ptr_null(ring);
}

static void
add(char byte, size_t size)
{
    char *at = td_ring_reserve(ring, size);

    ck_assert_ptr_nonnull(at);
    memset(at, byte, size);
    td_ring_commit(ring, size);
}

START_TEST(bytes_are_contiguous_wherever_they_begin)
{
    for (int i = 0; i < 5000; i++) {
        const char byte = (char)i;
        const size_t size = 1 + (size_t)i * 7 % SIZE;

        add(byte, size);
        const td_str got = td_ring_peek(ring);
        ck_assert_uint_eq(got.len, size);
        ck_assert(got.ptr[0] == byte && memcmp(got.ptr, got.ptr + 1, size - 1) == 0);
        td_ring_consume(ring, size);
        ck_assert_uint_eq(td_ring_used(ring), 0);
    }
}
END_TEST

START_TEST(there_is_room_for_its_size_and_no_more)
{
    ck_assert_ptr_null(td_ring_reserve(ring, SIZE + 1));
    add('a', SIZE - 1);
    ck_assert_ptr_null(td_ring_reserve(ring, 2));
    add('b', 1);
    ck_assert_ptr_null(td_ring_reserve(ring, 1));
    ck_assert_uint_eq(td_ring_used(ring), SIZE);
    td_ring_consume(ring, 1);
    add('c', 1);
    ck_assert_int_eq(td_ring_peek(ring).ptr[SIZE - 1], 'c');
}
END_TEST

START_TEST(a_size_is_rounded_up)
{
    static const struct {
        size_t asked, got;
    } sizes[] = {{0, 4096}, {1, 4096}, {4097, 8192}, {100000, 131072}};
    td_ring *other;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        ck_assert_int_eq(td_ring_create(sizes[i].asked, &other, NULL), 0);
        ck_assert_uint_eq(other->size, sizes[i].got);
        td_ring_destroy(&other);
    }
}
END_TEST

START_TEST(what_a_dead_child_wrote_is_there)
{
    const pid_t pid = fork();

    if (pid == 0) {
        add('x', 100);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_uint_eq(td_ring_peek(ring).len, 100);
}
END_TEST

START_TEST(a_hidden_ring_is_not_in_later_children)
{
    int status;

    td_ring_hide_from_children(ring);
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would explain it at length */
        ring->bytes[0] = 'x';
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    add('y', 1);
}
END_TEST

START_TEST(counters_that_cannot_be_are_nothing)
{
    ring->shared->written = SIZE + 1;
    ck_assert_uint_eq(td_ring_peek(ring).len, 0);
    ring->shared->written = 1;
    ring->shared->read = 2;
    ck_assert_uint_eq(td_ring_peek(ring).len, 0);
}
END_TEST

START_TEST(it_can_be_opened_elsewhere)
{
    td_ring *other = NULL;
    const int fd = dup(ring->fd), none = dup(STDIN_FILENO);

    add('a', 100);
    ck_assert_int_eq(td_ring_open(fd, &other, NULL), 0);
    ck_assert_uint_eq(other->size, ring->size);
    ck_assert_uint_eq(td_ring_peek(other).len, 100);
    ck_assert_int_lt(ftruncate(other->fd, 0), 0); /* nobody can cut it off below those who read it */
    td_ring_destroy(&other);
    ck_assert_int_eq(td_ring_open(none, &other, NULL), TD_EBADMSG);
    ck_assert_int_eq(close(none), 0);
    ck_assert_ptr_null(other);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, bytes_are_contiguous_wherever_they_begin);
    tcase_add_test(tcase, there_is_room_for_its_size_and_no_more);
    tcase_add_test(tcase, a_size_is_rounded_up);
    tcase_add_test(tcase, what_a_dead_child_wrote_is_there);
    tcase_add_test(tcase, it_can_be_opened_elsewhere);
    tcase_add_test(tcase, a_hidden_ring_is_not_in_later_children);
    tcase_add_test(tcase, counters_that_cannot_be_are_nothing);
}

int
main(void)
{
    return unit_run("ring", fill);
}
