/* SPDX-License-Identifier: MIT */
/*
 * An intrusive, circular, doubly linked list: private memory of one process, guarded by whatever
 * guards its head.  An element that is in no list is linked to itself, so removing it twice is
 * fine.
 */
#ifndef MP_LIST_H
#define MP_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

/* The struct that holds this link. */
#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#define LIST_INIT(head)                                                                            \
    {                                                                                              \
        &(head), &(head)                                                                           \
    }

static inline void list_init(struct list *link)
{
    link->next = link;
    link->prev = link;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

static inline void list_insert_after(struct list *place, struct list *link)
{
    link->next = place->next;
    link->prev = place;
    place->next->prev = link;
    place->next = link;
}

static inline void list_append(struct list *head, struct list *link)
{
    list_insert_after(head->prev, link);
}

#endif
