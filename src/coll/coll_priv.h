/* coll_priv.h - what is kept in memory for an open collection. */
#ifndef COLL_PRIV_H
#define COLL_PRIV_H

#include "base/clock.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "coll/coll.h"

/* One row of durable counts (META_COUNTS || ident || be16 number): owned by one transaction at a time. */
struct stripe {
    struct stripe *next;
    uint16_t number;
    int64_t n_docs, n_bytes;
};

enum validation_level { VALIDATE_OFF, VALIDATE_STRICT, VALIDATE_MODERATE };

/* An index build under way (coll_build.c). */
struct build {
    struct catalog_coll *x;
    struct rt *rt;
    struct coll_build *req;
    struct index_def *made[INDEXES_MAX]; /* owned */
    int n_made;
    uint64_t next_rid, end_rid; /* documents that are left to do */
    uint64_t reached_rid;       /* by the step under way */
    bool more;                  /* the last step left something */
    bool given_up;              /* by a drop; guarded by x->lock */
    atomic_bool aside;          /* an entry was ever put aside; set before the entry is seen */
};

struct rt {
    struct catalog_coll *x;
    struct coll_indexes *indexes; /* what queries may use; guarded by x->lock */
    /* what writes keep: indexes, then what `build` makes; as above */
    struct coll_indexes *kept;
    struct build *build;    /* the one that was announced, or NULL; as above */
    struct mutex turn_lock; /* a leaf; guards turn_taken: one build at a time */
    struct cond turn_over;
    bool turn_taken;
    struct arena *validator_arena; /* guarded by x->lock, as all of the next four */
    struct match *validator;
    struct bdoc validator_doc;
    enum validation_level level;
    bool warn_only;
    bool capped;                       /* guarded by x->lock, as the next two */
    int64_t capped_bytes, capped_docs; /* 0 = no bound */
    atomic_uint_least64_t next_rid;
    atomic_int_least64_t n_docs, n_bytes;
    /* of a capped collection: no document is below it, and none will be */
    atomic_uint_least64_t oldest_rid;
    struct mutex stripes_lock;
    struct stripe *free_stripes; /* guarded by stripes_lock, as all that follows */
    uint16_t n_stripes;
    /* Which record ids are settled: those of transactions that are over. Transactions belong to the generation in which they began. When none of the
     * one before is left, what was given out before the present one is settled, and the next one begins. */
    unsigned gen; /* 0 or 1 */
    uint32_t n_running[2];
    uint64_t given_before; /* next_rid when gen began */
    uint64_t settled_rid;  /* all below it are settled */
};

struct coll_txn {
    struct catalog_coll *x;
    struct rt *rt;
    struct store_txn *t;
    struct stripe *stripe;
    unsigned gen;
    uint64_t settled_rid; /* when it began */
    uint64_t trimmed_rid; /* no document that it sees is below it; 0: as rt->oldest_rid says */
    struct coll_indexes *indexes; /* those that writes keep; borrowed: the lock is held */
    int64_t d_docs, d_bytes, written;
    int64_t save_docs, save_bytes;
    bool bypass;
    const struct qctx *run; /* who may end it; NULL: nobody */
    struct store_pin pin;
    struct buf key;
    /* bits written by this transaction, by position in indexes */
    uint32_t multikey_put[INDEXES_MAX + 1];
};

/* coll_rt.c; the caller holds x->lock */
RC coll__rt(struct catalog_coll *x, struct rt **out, struct err *e);
struct coll_indexes *coll__indexes_new(int n);
struct coll_indexes *coll__indexes_ref(struct coll_indexes *l);
void coll__load_capped(struct rt *rt);
RC coll__load_validator(struct rt *rt, struct err *e);
void coll__count_key(uint8_t out[18], uint64_t ident, uint16_t number);
RC coll__read_counts(struct store *s, struct store_snapshot *snap, uint64_t ident,
                     void (*fn)(void *arg, uint16_t number, int64_t docs, int64_t bytes), void *arg,
                     struct err *e);
void coll__multikey_key(uint8_t out[16], uint64_t index_ident);
struct index_def *coll__def_owned(struct catalog *c, struct index_def *d);

/* coll__row_of(): as the catalogue keeps d; borrows from it. */
struct catalog_index coll__row_of(const struct index_def *d);

/* coll_build.c. coll__list_with(): old's, with room for more. coll__replace_indexes(): l (rt's now) instead of what queries use; writes keep it and what is being
 * built; the caller holds the lock exclusively. coll__build_all(): the entries of all documents before b->end_rid in the indexes that rt->kept has beyond rt->indexes. */
struct coll_indexes *coll__list_with(const struct coll_indexes *old, int room);
void coll__replace_indexes(struct rt *rt, struct coll_indexes *l);
RC coll__build_all(struct build *b, struct err *e);

/* coll_entries.c */
void coll__entry_key(struct buf *out, const struct index_def *d, struct slice key, uint64_t rid);
void coll__entry_value(struct buf *out, const struct index_def *d, struct slice tags, uint64_t rid);
RC coll__dup_error(const struct catalog_coll *x, const struct index_def *d, struct bdoc doc,
                   struct slice key, struct slice tags, struct err *e);
RC coll__put_keys(struct coll_txn *w, int at, uint64_t rid, const struct index_keys *keys,
                  struct err *e);
RC coll__del_keys(struct coll_txn *w, int at, uint64_t rid, const struct index_keys *keys,
                  struct err *e);
RC coll__diff_keys(struct coll_txn *w, int at, uint64_t rid, const struct index_keys *old,
                   const struct index_keys *new, struct err *e);
RC coll__mark_multikey(struct coll_txn *w, int at, uint32_t bits, struct err *e);

/* coll_aside.c: entries of a unique index that is being built, where another document has the key. */
bool coll__is_building(const struct coll_txn *w, int at);
/* coll__put_aside(): the caller holds the lock of the key's entry. */
RC coll__put_aside(struct coll_txn *w, int at, uint64_t rid, const struct index_key *k,
                   struct err *e);
/* coll__drop_aside(): rid's entry aside, when there may be one. */
RC coll__drop_aside(struct coll_txn *w, int at, uint64_t rid, struct slice key, struct err *e);
/* coll__del_building(): rid's entry, wherever it stands. */
RC coll__del_building(struct coll_txn *w, int at, uint64_t rid, struct slice key, struct err *e);
/* coll__settle_aside(): at most max of the entries aside take their keys' places, which are free now; *more is set when some are left. ERR_DUPLICATE_KEY. */
RC coll__settle_aside(struct coll_txn *w, int at, int max, bool *more, struct err *e);

#endif
