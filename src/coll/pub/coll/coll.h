/* coll.h - a collection's documents and their index entries, always changed together.
 *
 * Model    A document lives under ident(8) || record id(8) in STORE_RECORDS; each index entry under ident(8) || key [|| record id] in
 *          STORE_INDEXES (docs/formats/keys.md). A struct coll_txn is one store transaction on one collection: document, entries, counts and
 *          multikey bits are in it or not at all.
 * Counts   are exact and durable without being contended: a transaction owns one of several count rows for its life and writes the
 *          row's new absolute value; the fast count is the sum of the rows.
 * Conflict ERR_WRITE_CONFLICT means that another transaction was first: abort and run the statement again (coll_retry()).
 * Locks    coll_begin() holds the collection's lock shared until commit or abort, so definitions do not change under a write. Readers
 *          hold references (coll_indexes) instead of locks.
 * Threads  A collection is shared [any]; a coll_txn belongs to one thread at a time.
 */
#ifndef COLL_COLL_H
#define COLL_COLL_H

#include "catalog/catalog.h"
#include "index/index.h"

struct coll_txn;

/* What indexes a collection has: immutable, shared. */
struct coll_indexes {
    atomic_int refs;
    int n;
    struct index_def *v[]; /* v[0] is _id_ */
};
void coll_indexes_unref(struct coll_indexes *l);

/* Definition. coll_create(): options as checked by the command. */
RC coll_create(struct catalog *c, struct slice ns, struct bdoc options, struct catalog_coll **out,
               struct err *e);
/* coll_open(): the collection of that name; created when absent and `create`. *out is NULL when absent and not created. */
RC coll_open(struct catalog *c, struct slice ns, bool create, struct catalog_coll **out,
             struct err *e);
RC coll_drop(struct catalog_coll *x, struct err *e);
RC coll_rename(struct catalog_coll *x, struct slice ns, struct catalog_coll *target, struct err *e);
/* coll_set_options(): replace the options (collMod): the validator is compiled anew. */
RC coll_set_options(struct catalog_coll *x, struct bdoc options, struct err *e);

/* coll_ref_indexes(): the list of those that queries may use; coll_ref_kept_indexes(): then of those that are being built, too. coll_view(): and a snapshot that goes with it: each index has the entries of every document that
 * the snapshot shows, and its multikey bits. Release both. */
RC coll_ref_indexes(struct catalog_coll *x, struct coll_indexes **out, struct err *e);
RC coll_ref_kept_indexes(struct catalog_coll *x, struct coll_indexes **out, struct err *e);
RC coll_view(struct catalog_coll *x, struct coll_indexes **out, struct store_snapshot **snap,
             struct err *e);
struct coll_info {
    int64_t n_docs, n_bytes; /* committed */
    uint64_t disk_bytes, index_bytes;
    int n_indexes;
};
RC coll_info(struct catalog_coll *x, struct coll_info *out, struct err *e);
RC coll_count(struct catalog_coll *x, int64_t *out, struct err *e); /* n_docs alone: cheap */

/* Indexes. specs are completed by index_spec_check(); those that exist already are skipped. Readers and writers go on during a build; a second build of the
 * collection waits for the first. From its beginning, writes are refused parallel arrays that a new index could not take; duplicates are not refused, but
 * those that are there at its end fail the build.
 * Errors: ERR_INDEX_OPTIONS_CONFLICT, ERR_INDEX_KEY_SPECS_CONFLICT, ERR_CANNOT_CREATE_INDEX (too many), ERR_DUPLICATE_KEY with info,
 * ERR_INDEX_BUILD_ABORTED (the collection or one of the indexes was dropped meanwhile), what `check` says. */
struct coll_build {
    const struct bdoc *specs;
    int n_specs;
    RC (*check)(void *arg, struct err *e); /* called now and then; may be NULL */
    void *check_arg;
    int n_before, n_after; /* out */
};
RC coll_create_indexes(struct catalog_coll *x, struct coll_build *b, struct err *e);
/* coll_renew_indexes(): builds anew each index whose strings another build of ICU keyed; *n: how many. Before anything else uses the collections. A unique
 * one may have duplicates now: ERR_CONFIG, which says nothing of what is in them. */
RC coll_renew_indexes(struct catalog *c, int *n, struct err *e);
/* coll_drop_indexes(): names given, each once; ERR_INDEX_NOT_FOUND, ERR_INVALID_OPTIONS for _id_. n < 0: all but _id_. Named all and alone, the indexes of a build
 * that goes on: it is given up; named in part: ERR_INDEX_NOT_FOUND. */
RC coll_drop_indexes(struct catalog_coll *x, const struct slice *names, int n, int *n_before,
                     struct err *e);
/* coll_set_index_spec(): collMod of hidden or expireAfterSeconds: the same table under a changed specification. */
RC coll_set_index_spec(struct catalog_coll *x, struct slice name, struct bdoc spec, struct err *e);

/* Writing. */
/* ERR_NAMESPACE_NOT_FOUND when dropped meanwhile */
RC coll_begin(struct catalog_coll *x, struct coll_txn **out, struct err *e);
/* *w is NULL afterwards */
RC coll_commit(struct coll_txn **w, enum store_durability d, struct err *e);
void coll_abort(struct coll_txn **w); /* NULL is fine */
void coll_savepoint(struct coll_txn *w);
/* to the newest savepoint, which is gone then */
RC coll_rollback(struct coll_txn *w, struct err *e);
void coll_keep(struct coll_txn *w); /* forget the newest savepoint */
/* coll_set_bypass(): the collection's validator is not asked. */
void coll_set_bypass(struct coll_txn *w, bool bypass);
/* coll_set_run(): who may end what takes long with a document, as qctx_check() says; run outlives w. NULL: nobody. */
void coll_set_run(struct coll_txn *w, const struct qctx *run);
int64_t coll_txn_bytes(const struct coll_txn *w); /* of documents written: to cut batches */

/* coll_insert(): doc has its _id, first. a: scratch, may be rewound afterwards. Errors: ERR_DUPLICATE_KEY with info {keyPattern, keyValue},
 * ERR_INVALID_ID_FIELD, ERR_CANNOT_INDEX_PARALLEL_ARRAYS, ERR_DOCUMENT_VALIDATION_FAILURE with info {errInfo}, ERR_WRITE_CONFLICT. On error the transaction
 * holds part of the statement: roll back or abort. */
RC coll_insert(struct coll_txn *w, struct bdoc doc, struct arena *a, struct err *e);
/* coll_lock(): the present content of a record, locked against others until the end; ERR_NOT_FOUND when it is gone. *doc is valid until the next call with w. */
RC coll_lock(struct coll_txn *w, uint64_t rid, struct bdoc *doc, struct err *e);
RC coll_update(struct coll_txn *w, uint64_t rid, struct bdoc old, struct bdoc doc, struct arena *a,
               struct err *e);
RC coll_delete(struct coll_txn *w, uint64_t rid, struct bdoc old, struct arena *a, struct err *e);
/* coll_trim(): a capped collection's oldest documents beyond its bounds go, at most max of them; *more tells whether some are left. */
RC coll_trim(struct coll_txn *w, int max, struct arena *a, bool *more, struct err *e);

/* coll_backoff(): wait a little before try number n (from 1) after a write conflict. */
void coll_backoff(int n);

/* Keys, for the executor. */
void coll_record_key(uint8_t out[16], uint64_t ident, uint64_t rid);
/* coll_entry_rid(): the record id of an index entry, and the tags beside it. key is the whole store key. ERR_CORRUPT. */
RC coll_entry_rid(const struct index_def *d, struct slice key, struct slice value, uint64_t *rid,
                  struct slice *fields, struct slice *tags, struct err *e);

/* coll_compact(): rewrite the collection's tables without what was deleted; *freed is the estimate of bytes that this gave back. [long]; check as
 * for store_compact_range(). */
RC coll_compact(struct catalog_coll *x, store_check_fn check, void *check_arg, int64_t *freed,
                struct err *e);

/* coll_validate(): every document against every index, both ways, on one snapshot. [long] */
struct coll_validation {
    int64_t n_records, n_invalid_documents;
    int n_indexes;
    /* names live in a */
    struct {
        const char *name;
        int64_t n_keys;
        bool valid;
    } index[INDEXES_MAX + 1];
    struct bdoc errors, warnings; /* arrays of strings, in a */
    bool valid;
};
RC coll_validate(struct catalog_coll *x, struct arena *a, RC (*check)(void *arg, struct err *e),
                 void *check_arg, struct coll_validation *out, struct err *e);

#endif
