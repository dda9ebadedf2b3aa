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
};

/* qctx_check(): what *interrupt says, ERR_MAX_TIME_MS_EXPIRED or ERR_EXCEEDED_MEMORY_LIMIT. Cheap: call it in every loop that input can lengthen. */
RC qctx_check(const struct qctx *q, struct err *e);

#endif
