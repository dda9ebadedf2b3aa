/* map.h - a hash map from bytes to a pointer, keyed SipHash so that clients cannot choose collisions.
 *
 * Keys are copied, values are the caller's. Not for several threads at once. Iteration order is unspecified; the map must not
 * change while it is iterated.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/slice.h"

struct map;

struct map *map_new(void);
void map_free(struct map *m);                         /* NULL is fine; values are not touched */
void *map_get(const struct map *m, struct slice key); /* NULL when absent */
/* the value replaced, or NULL; value must not be NULL */
void *map_put(struct map *m, struct slice key, void *value);
void *map_del(struct map *m, struct slice key); /* the value removed, or NULL */
size_t map_count(const struct map *m);
/* map_next(): *it starts at 0; false at the end. key is valid until the entry goes. */
bool map_next(const struct map *m, size_t *it, struct slice *key, void **value);
/* map_del_last(): remove the entry that map_next() gave last; the walk misses none by it (it may give some twice). The value removed. */
void *map_del_last(struct map *m, size_t *it);

/* hash_bytes(): SipHash-2-4 under a random key of the process. */
uint64_t hash_bytes(struct slice in);

#endif
