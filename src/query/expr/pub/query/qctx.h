/* qctx.h - what a query is parsed and evaluated in: memory, variables, time, limits. One per request; one thread at a time. */
#ifndef QUERY_QCTX_H
#define QUERY_QCTX_H

#include <stdatomic.h>

#include "bsonx/bval.h"

enum { QUERY_DEPTH_MAX = 200 };

struct qctx {
    struct arena *arena;   /* parsed nodes and everything that lives as long as the request */
    struct arena *scratch; /* per document; the executor rewinds it between documents */
    /* variables of the command's `let`, values already evaluated; BDOC_EMPTY if none */
    struct bdoc let;
    const struct collator *collator; /* how strings compare; NULL: by bytes */
    int64_t now_ms;                  /* $$NOW */
    uint64_t deadline_us;            /* monotonic; 0 = none: long evaluations call qctx_check() */
    /* an enum err_code that ends the query, set by other threads (sealing, shutdown); 0: go on. May be NULL. */
    const atomic_int *interrupt;
    /* or who is asked instead, where no request stands behind it; may be NULL */
    RC (*check)(void *arg, struct err *e);
    void *check_arg;
    int depth; /* parser's nesting guard */
    /* What belongs to a document and is no field of it ($meta). While parsing: the enum query_meta bits that the documents have which the
     * parsed stage will see. While running: the names and values of the document that the source gave last, valid as long as that is. */
    unsigned metas;
    struct bdoc meta; /* .p is NULL: none */
};

enum query_meta {
    META_SCORE = 1,         /* score */
    META_SCORE_DETAILS = 2, /* scoreDetails */
    META_SEARCH = 4,        /* scores of searches may be asked for, though no document has one */
    META_GEO = 8,           /* geoNearDistance, geoNearPoint */
};

/* qctx_check_meta(): 40218 when metadata of that name belongs to none of the documents. */
RC qctx_check_meta(const struct qctx *q, struct slice name, struct err *e);
/* qctx_meta(): the present document's; missing when it has none of that name. */
static inline struct bval qctx_meta(const struct qctx *q, struct slice name)
{
    return q->meta.p ? bdoc_get_slice(q->meta, name) : BVAL_MISSING;
}

/* qctx_check(): what *interrupt says, ERR_MAX_TIME_MS_EXPIRED or ERR_EXCEEDED_MEMORY_LIMIT. Cheap: call it in every loop that input can lengthen. */
RC qctx_check(const struct qctx *q, struct err *e);

#endif
