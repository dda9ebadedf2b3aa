/* catalog.h - which collections there are: names, uuids, idents, options, index specifications.
 *
 * Model    The catalogue is loaded whole at open and kept in memory; each change is one durable transaction on STORE_META and then the
 *          memory. A struct catalog_coll is one incarnation of a collection, shared by reference; dropping it marks it `dropped`, and
 *          its tables go when the last reference does, so cursors never read a table under their feet.
 * Crash    A table to be removed (a drop, an index build that did not end) is named in a durable list before anything else happens;
 *          catalog_open() finishes the list.
 * Locks    ddl mutex (one change of the catalogue at a time), then a collection's lock, then the map's lock.
 *          A collection's lock: shared while one of its documents is written or while its index list is read; exclusive while its
 *          definition changes: for a moment, since all who want to read the list of indexes wait.
 * Threads  [any]
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/thread.h"
#include "bsonx/bval.h"
#include "store/store.h"

struct catalog;

enum { CATALOG_UUID_LEN = 16, CATALOG_NS_MAX = 255, CATALOG_DB_MAX = 63 };

/* Reserved idents of STORE_META, the 8 bytes at the head of each of its keys (docs/formats/keys.md). Tables made with
 * store_new_ident() live in STORE_RECORDS and STORE_INDEXES. */
enum catalog_meta {
    META_CATALOG = 16,
    META_COUNTS = 17,
    META_MULTIKEY = 18,
    META_DROPS = 19,
    META_USERS = 20,
    META_KEPT = 21 /* documents about the node itself */
};

struct catalog_index {
    uint64_t ident;   /* its table in STORE_INDEXES */
    struct bdoc spec; /* {v, key, name, ...} as listIndexes shows it */
    /* what made the keys of strings under its collation, which only compare with their like; empty without one */
    struct slice collator;
};

/* What was done with a collection since it was opened, for $collStats and $indexStats. [any] */
enum catalog_use { USE_READ, USE_WRITE, USE_COMMAND, USE_NR };
enum { CATALOG_HISTOGRAM = 32 };
/* And for top, which tells commands apart. */
enum catalog_top {
    TOP_QUERIES,
    TOP_GETMORE,
    TOP_INSERT,
    TOP_UPDATE,
    TOP_REMOVE,
    TOP_COMMANDS,
    CATALOG_TOP_NR
};
struct catalog_usage {
    atomic_int_least64_t n_scans, n_tailable_scans; /* of the whole collection */
    struct {
        atomic_int_least64_t n, us;
        /* by the logarithm of the microseconds */
        atomic_int_least64_t histogram[CATALOG_HISTOGRAM];
    } latency[USE_NR];
    struct {
        atomic_int_least64_t n, us;
    } top[CATALOG_TOP_NR];
};

struct catalog_coll {
    struct catalog *cat;
    uint64_t ident; /* its table in STORE_RECORDS */
    uint8_t uuid[CATALOG_UUID_LEN];
    pthread_rwlock_t lock;
    /* Guarded by lock. */
    char *ns;              /* "db.name" */
    struct slice db, name; /* views into ns */
    struct bdoc options;   /* of create: capped, size, validator, viewOn, ... */
    bool is_view;
    struct catalog_index *indexes;
    int n_indexes;
    struct arena *arena; /* of the guarded fields; replaced as a whole */

    struct catalog_usage usage;
    atomic_bool dropped;
    atomic_int refs;
    struct mutex rt_lock; /* guards rt and filters; a leaf but for what opening rt takes */
    void *rt;             /* what the layer above keeps for this collection */
    void (*rt_free)(void *rt);
    /* what plans may use (exec/filters.c); guarded by rt_lock */
    void *filters;
    void (*filters_free)(void *filters);
    atomic_bool has_filters; /* whether it is worth looking */
};

RC catalog_open(struct store *s, struct catalog **out, struct err *e);
void catalog_close(struct catalog *c); /* every collection has been released */
struct store *catalog_store(const struct catalog *c);

/* catalog_find(): NULL when there is none. */
struct catalog_coll *catalog_find(struct catalog *c, struct slice ns);
struct catalog_coll *catalog_find_uuid(struct catalog *c, const uint8_t uuid[CATALOG_UUID_LEN]);
struct catalog_coll *catalog_coll_ref(struct catalog_coll *x);
/* NULL is fine; the last one of a dropped collection removes its table */
void catalog_coll_unref(struct catalog_coll *x);
void catalog_coll_unrefp(struct catalog_coll **x);
/* catalog_options(): a copy in a of the present ones, under x's lock. catalog_is_capped(): whether they say so. */
struct bdoc catalog_options(struct catalog_coll *x, struct arena *a);
bool catalog_is_capped(struct catalog_coll *x);

/* catalog_list(): references to the collections of a database (db empty: of all), sorted by name, each under the name that it had then: its own may
 * change. Free with catalog_list_free(). */
struct catalog_named {
    struct catalog_coll *x;
    char *ns;              /* "db.name" */
    struct slice db, name; /* views into ns */
};
struct catalog_list {
    struct catalog_named *v;
    int n;
};
void catalog_list(struct catalog *c, struct slice db, struct catalog_list *out);
void catalog_list_free(struct catalog_list *l);

/* Changes: between catalog_ddl_begin() and catalog_ddl_end(), which serialise them. */
void catalog_ddl_begin(struct catalog *c);
void catalog_ddl_end(struct catalog *c);

/* catalog_ns_check(): ERR_INVALID_NAMESPACE for names that no collection may have. */
RC catalog_db_check(struct slice db, struct err *e);
RC catalog_ns_check(struct slice db, struct slice coll, struct err *e);

/* catalog_create(): *out is a reference. indexes: with idents already taken; n 0 for a view.
 * Errors: ERR_NAMESPACE_EXISTS, ERR_DATABASE_DIFFERS_IN_CASE, ERR_INVALID_NAMESPACE. */
struct catalog_new {
    struct slice ns;
    struct bdoc options;
    const struct catalog_index *indexes;
    int n_indexes;
    bool is_view;
};
RC catalog_create(struct catalog *c, const struct catalog_new *n, struct catalog_coll **out,
                  struct err *e);
/* catalog_drop(): takes x's lock; x stays a valid reference, marked dropped. ERR_NAMESPACE_NOT_FOUND when it was dropped meanwhile. */
RC catalog_drop(struct catalog_coll *x, struct err *e);
/* catalog_rename(): target, when not NULL, is dropped in the same transaction. ERR_NAMESPACE_EXISTS when another than target has the name by now,
 * ERR_NAMESPACE_NOT_FOUND when x or target is gone. */
RC catalog_rename(struct catalog_coll *x, struct slice ns, struct catalog_coll *target,
                  struct err *e);
/* catalog_set_indexes(): replace the list; x's lock is held exclusively. Tables of `gone` are listed as to be removed, those of `made` struck off
 * the list, in the same transaction. */
struct catalog_index_change {
    const struct catalog_index *indexes;
    int n_indexes;
    const uint64_t *gone, *made;
    int n_gone, n_made;
};
RC catalog_set_indexes(struct catalog_coll *x, const struct catalog_index_change *ch,
                       struct err *e);
/* catalog_set_options(): replace the options; x's lock is held exclusively. */
RC catalog_set_options(struct catalog_coll *x, struct bdoc options, struct err *e);

/* Tables to be removed. catalog_doom(): put one on the durable list. catalog_reap(): remove its contents now and strike it off;
 * on failure it stays listed for the next start. */
RC catalog_doom(struct catalog *c, enum store_space sp, uint64_t ident, struct err *e);
RC catalog_reap(struct catalog *c, enum store_space sp, uint64_t ident, struct err *e);

#endif
