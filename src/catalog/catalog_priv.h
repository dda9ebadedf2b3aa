#ifndef CATALOG_PRIV_H
#define CATALOG_PRIV_H

#include "base/map.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "catalog/catalog.h"

/* options and partial filters may nest as deep as documents, plus our own levels */
enum { CATALOG_DEPTH_MAX = 220 };

struct catalog {
    struct store *store;
    struct mutex ddl;
    pthread_rwlock_t map_lock;
    struct map *by_ns; /* guarded by map_lock: struct catalog_coll *, one reference each */
};

/* catalog_coll.c */
struct catalog_coll *catalog__coll_new(struct catalog *c, struct slice ns, struct bdoc record,
                                       struct err *e);
void catalog__record(const struct catalog_coll *x, struct bdoc options,
                     const struct catalog_index *indexes, int n, struct buf *out);
void catalog__set(struct catalog_coll *x, struct slice ns, struct bdoc options,
                  const struct catalog_index *indexes, int n);
void catalog__meta_key(struct buf *out, enum catalog_meta m, struct slice rest);
void catalog__drop_key(struct buf *out, enum store_space sp, uint64_t ident);

#endif
