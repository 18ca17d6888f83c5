/* A doubly linked list whose links live in its members.  All operations are O(1). */
#ifndef TORNADO_BASE_LIST_H
#define TORNADO_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct td_list {
    struct td_list *prev, *next; /* a head that points at itself is an empty list */
} td_list;

#define TD_CONTAINER_OF(pointer, type, member)                                                     \
    ((type *)((char *)(pointer) - offsetof(type, member)))

/*
 * Not safe against removal of `link` inside the loop; take the next one first where that happens.
 */
#define TD_LIST_FOREACH(link, head)                                                                \
    for (td_list *link = (head)->next; link != (head); link = link->next)

static inline void
td_list_init(td_list *head)
{
    head->prev = head->next = head;
}

static inline bool
td_list_is_empty(const td_list *head)
{
    return head->next == head;
}

/* A link that is in no list: {NULL, NULL}, as zeroed memory is. */
static inline bool
td_list_is_linked(const td_list *link)
{
    return link->next != NULL;
}

static inline void
td_list_append(td_list *head, td_list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Harmless on a link that is in no list. */
static inline void
td_list_remove(td_list *link)
{
    if (link->next == NULL)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
}

/* `to`, whatever it held, becomes the list that `from` was; `from` is empty after. */
static inline void
td_list_take(td_list *to, td_list *from)
{
    if (td_list_is_empty(from)) {
        td_list_init(to);
        return;
    }
    *to = *from;
    to->next->prev = to->prev->next = to;
    td_list_init(from);
}

#endif
