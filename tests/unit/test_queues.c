/* Goal: items come out once each, in order, whoever waits, gives up or is cancelled meanwhile. */
#include <tornado/queues.h>
#include "waiting_actors.h"

static td_queue *queue;

struct actor {
    char letter; /* which is also its item */
    int64_t timeout_ms;
};

static void
put(void *arg)
{
    struct actor *actor = arg;
    const int rc = td_queue_put(queue, &actor->letter, actor->timeout_ms);

    note_outcome('p', rc);
}

static void
get(void *arg)
{
    const struct actor *actor = arg;
    void *item = NULL;
    const int rc = td_queue_get(queue, &item, actor->timeout_ms);

    if (rc == 0)
        note(*(const char *)item);
    else
        note_outcome('g', rc);
}

static struct actor letters[] = {{'a', 0}, {'b', 0}, {'c', 0}, {'d', 0}, {'e', 0}};
static struct actor hurried = {'h', 1};

START_TEST(items_come_out_in_the_order_in_which_they_went_in)
{
    queue = td_queue_create(2);
    for (size_t i = 0; i < COUNT_OF(letters); i++)
        start_actor(put, &letters[i]); /* three of them wait for room */
    ck_assert_str_eq(notes, "pp");
    ck_assert_uint_eq(td_queue_size(queue), 2);
    for (size_t i = 0; i < COUNT_OF(letters); i++)
        start_actor(get, &letters[i]);
    ck_assert_str_eq(notes, "ppabcde");
    turn();
    ck_assert_str_eq(notes, "ppabcdeppp");
    ck_assert_uint_eq(td_queue_size(queue), 0);
    td_queue_destroy(&queue);
}
END_TEST

START_TEST(who_waits_first_gets_first)
{
    void *item;

    queue = td_queue_create(8);
    start_actor(get, &letters[0]);
    start_actor(get, &letters[1]);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(td_queue_put_nowait(queue, &letters[i].letter), 0);
    /* Two are promised to those two: the one who comes now gets one, and they the next. */
    ck_assert_int_eq(td_queue_get_nowait(queue, &item), 0);
    ck_assert_int_eq(td_queue_get_nowait(queue, &item), TD_EBUSY);
    turn();
    ck_assert_str_eq(notes, "bc");
    td_queue_destroy(&queue);
}
END_TEST

START_TEST(nothing_is_lost_with_a_getter_that_is_cancelled)
{
    td_coroutine *first;
    const bool on_the_way = _i == 1;

    queue = td_queue_create(1);
    first = start_actor(get, &letters[0]);
    if (on_the_way)
        td_queue_put_nowait(queue, &letters[0].letter);
    td_coroutine_cancel(first);
    start_actor(get, &letters[1]);
    if (!on_the_way)
        td_queue_put_nowait(queue, &letters[0].letter);
    turn();
    ck_assert_str_eq(notes, "a");
    td_queue_destroy(&queue);
}
END_TEST

START_TEST(a_putter_that_gives_up_has_put_nothing)
{
    td_coroutine *waits;

    queue = td_queue_create(1);
    start_actor(put, &letters[0]);
    waits = start_actor(put, &letters[1]);
    start_actor(put, &hurried);
    td_coroutine_cancel(waits);
    td_call_later(loop, 4, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "pP");
    start_actor(get, &letters[0]);
    start_actor(get, &hurried);
    td_call_later(loop, 4, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "pPaG");
    td_queue_destroy(&queue);
}
END_TEST

START_TEST(a_closed_queue_gives_what_is_in_it_and_takes_nothing)
{
    void *item;

    queue = td_queue_create(1);
    start_actor(put, &letters[0]);
    start_actor(put, &letters[1]); /* waits */
    td_queue_close(queue);
    turn();
    ck_assert_str_eq(notes, "p#");
    ck_assert_int_eq(td_queue_put_nowait(queue, NULL), TD_ECLOSED);
    ck_assert_int_eq(td_queue_get_nowait(queue, &item), 0);
    ck_assert_ptr_eq(item, &letters[0].letter);
    ck_assert_int_eq(td_queue_get_nowait(queue, &item), TD_ECLOSED);
    start_actor(get, &letters[0]);
    ck_assert_str_eq(notes, "p##");
    td_queue_destroy(&queue);
}
END_TEST

START_TEST(closing_wakes_who_waits_for_an_item)
{
    queue = td_queue_create(1);
    start_actor(get, &letters[0]);
    start_actor(get, &letters[1]);
    td_queue_put_nowait(queue, &letters[4].letter);
    td_queue_close(queue); /* one is on its way already */
    turn();
    ck_assert_str_eq(notes, "e#");
    td_queue_destroy(&queue);
}
END_TEST

START_TEST(destroying_wakes_all)
{
    td_coroutine *cancelled;

    queue = td_queue_create(1);
    start_actor(get, &letters[0]);
    cancelled = start_actor(get, &letters[1]);
    start_actor(get, &letters[2]);
    td_queue_put_nowait(queue, &letters[0].letter);
    td_queue_destroy(&queue);
    td_coroutine_cancel(cancelled);
    turn();
    ck_assert_str_eq(notes, "##");
}
END_TEST

static void
join(void *arg)
{
    const struct actor *actor = arg;

    note_outcome('j', td_queue_join(queue, actor->timeout_ms));
}

START_TEST(join_waits_until_all_that_was_put_is_done)
{
    void *item;

    queue = td_queue_create(4);
    start_actor(join, &letters[0]);
    ck_assert_str_eq(notes, "j");
    td_queue_put_nowait(queue, NULL);
    td_queue_put_nowait(queue, NULL);
    start_actor(join, &letters[0]);
    start_actor(join, &hurried);
    td_queue_get_nowait(queue, &item);
    td_queue_get_nowait(queue, &item);
    ck_assert_int_eq(td_queue_task_done(queue), 0);
    td_call_later(loop, 4, stop_loop, NULL);
    td_ioloop_start(loop);
    ck_assert_str_eq(notes, "jJ");
    ck_assert_int_eq(td_queue_task_done(queue), 0);
    turn();
    ck_assert_str_eq(notes, "jJj");
    ck_assert_int_eq(td_queue_task_done(queue), TD_EINVAL);
    td_queue_destroy(&queue);
}
END_TEST

/* A ring goes round many times; a model that is a counter knows what must come out. */
static void
produce(void *arg)
{
    const uintptr_t count = *(const uintptr_t *)arg;

    for (uintptr_t i = 1; i <= count; i++) {
        ck_assert_int_eq(td_queue_put(queue, (void *)i, 0), 0);
        if (i % 7 == 0)
            td_sleep(0);
    }
}

static void
consume(void *arg)
{
    const uintptr_t count = *(const uintptr_t *)arg;
    void *item;

    for (uintptr_t i = 1; i <= count; i++) {
        ck_assert_int_eq(td_queue_get(queue, &item, 0), 0);
        ck_assert_uint_eq((uintptr_t)item, i);
        if (i % 5 == 0)
            td_sleep(0);
    }
    td_ioloop_stop(loop);
}

START_TEST(ten_thousand_items_go_through_a_ring_of_three)
{
    uintptr_t count = 10000;

    queue = td_queue_create(3);
    start_actor(produce, &count);
    start_actor(consume, &count);
    td_ioloop_start(loop);
    ck_assert_uint_eq(td_queue_size(queue), 0);
    td_queue_destroy(&queue);
}
END_TEST

static void
misuse(void *arg)
{
    void *item;

    (void)arg;
    queue = td_queue_create(1);
    ck_assert_ptr_null(td_queue_create(0));
    ck_assert_ptr_null(td_queue_create(1000001));
    ck_assert_int_eq(td_queue_put(NULL, NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_queue_put(queue, NULL, -1), TD_EINVAL);
    ck_assert_int_eq(td_queue_put_nowait(NULL, NULL), TD_EINVAL);
    ck_assert_int_eq(td_queue_get(NULL, &item, 0), TD_EINVAL);
    ck_assert_int_eq(td_queue_get(queue, NULL, 0), TD_EINVAL);
    ck_assert_int_eq(td_queue_get_nowait(queue, NULL), TD_EINVAL);
    ck_assert_int_eq(td_queue_close(NULL), TD_EINVAL);
    ck_assert_int_eq(td_queue_task_done(NULL), TD_EINVAL);
    ck_assert_int_eq(td_queue_join(NULL, 0), TD_EINVAL);
    ck_assert_uint_eq(td_queue_size(NULL), 0);
    ck_assert_int_eq(logged("[E "), 12);
    td_queue_destroy(&queue);
}

START_TEST(misuse_is_told)
{
    on_coroutine(misuse, NULL);
}
END_TEST

static void
fill(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    tcase_add_test(tcase, items_come_out_in_the_order_in_which_they_went_in);
    tcase_add_test(tcase, who_waits_first_gets_first);
    tcase_add_loop_test(tcase, nothing_is_lost_with_a_getter_that_is_cancelled, 0, 2);
    tcase_add_test(tcase, a_putter_that_gives_up_has_put_nothing);
    tcase_add_test(tcase, a_closed_queue_gives_what_is_in_it_and_takes_nothing);
    tcase_add_test(tcase, closing_wakes_who_waits_for_an_item);
    tcase_add_test(tcase, destroying_wakes_all);
    tcase_add_test(tcase, join_waits_until_all_that_was_put_is_done);
    tcase_add_test(tcase, ten_thousand_items_go_through_a_ring_of_three);
    tcase_add_test(tcase, misuse_is_told);
}

int
main(void)
{
    return unit_run("queues", fill);
}
