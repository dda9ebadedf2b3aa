/* kept.h - documents about the node itself, by name: what clients set once and a restart must not forget.
 *
 * Model    META_KEPT || name → BSON. All of them are few and small, and are held in memory too.
 * Threads  [any]; a change is durable when the call returns, and seen by nobody before.
 */
#ifndef CMD_KEPT_H
#define CMD_KEPT_H

#include "base/arena.h"
#include "bsonx/bval.h"
#include "store/store.h"

struct kept;

/* kept_open(): reads what is there. ERR_CORRUPT. */
RC kept_open(struct store *s, struct kept **out, struct err *e);
void kept_free(struct kept *k);
/* kept_get(): a copy in a; empty when it was never set. */
struct bdoc kept_get(struct kept *k, const char *name, struct arena *a);
/* kept_change(): fn makes the new document, in a, from the old one; one change at a time. */
typedef RC (*kept_fn)(void *arg, struct bdoc old, struct arena *a, struct bdoc *out, struct err *e);
RC kept_change(struct kept *k, const char *name, kept_fn fn, void *arg, struct err *e);

#endif
