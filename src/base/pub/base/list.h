/* list.h - an intrusive doubly linked list. A head is a struct list that points at itself when empty. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_insert_before(struct list *at, struct list *e)
{
    e->prev = at->prev;
    e->next = at;
    at->prev->next = e;
    at->prev = e;
}
static inline void list_push_back(struct list *head, struct list *e)
{
    list_insert_before(head, e);
}
static inline void list_push_front(struct list *head, struct list *e)
{
    list_insert_before(head->next, e);
}
static inline void list_remove(struct list *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    list_init(e);
}
/* NOLINTBEGIN(bugprone-macro-parentheses): these names are declared here, not used */
#define LIST_FOR(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOR_SAFE(it, nx, head)                                                                \
    for (struct list *it = (head)->next, *nx = it->next; it != (head); it = nx, nx = it->next)
/* NOLINTEND(bugprone-macro-parentheses) */

#endif
