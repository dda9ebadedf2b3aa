/* cmd_stmt.c - running one statement (compatibility 10 and 11).
 *
 * The plan reads a snapshot; each document it gives is then locked, read again and, when it is not what the snapshot showed, matched again, so that a
 * change made meanwhile is neither lost nor overlooked. A write conflict undoes the present document only: what was done before is committed and the
 * document is tried again on a new transaction. When documents that matched were all taken by others, the whole statement runs again.
 */
#include "cmd_stmt.h"

#include "query/agg.h"

enum { STMT_BATCH_DOCS = 1000, STMT_BATCH_BYTES = 4 << 20 };

RC stmt_init(struct stmt *s, struct cmd_req *r, const struct cmd_ns *ns, struct bdoc filter,
             struct bdoc let, struct err *e)
{
    s->r = r;
    s->ns = ns;
    s->sort = BDOC_EMPTY;
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(r, ns);
    cmd_qctx(r, r->arena, r->scratch, &s->q);
    TRY(cmd_collate_on(&s->q, s->collation, x, e));
    s->q.let = let;
    return match_parse(&s->q, filter, 0, &s->match, e);
}

struct run {
    struct stmt *s;
    struct coll_txn *w;
    int in_txn;
    bool lost; /* a document that matched was taken by another transaction */
};

static RC commit(struct run *x, bool last, struct err *e)
{
    if (!x->w)
        return RC_OK;
    enum store_durability d = last && x->s->sync ? cmd_durability(x->s->r) : STORE_NOSYNC;
    bool wrote = x->in_txn > 0;
    x->in_txn = 0;
    if (!wrote) {
        coll_abort(&x->w);
        return RC_OK;
    }
    if (d == STORE_NOSYNC)
        x->s->unsynced = true;
    return coll_commit(&x->w, d, e);
}

/* One try at one document on the open transaction; *matched: it was there and matched. */
static RC try_document(struct run *x, const struct exec_row *row, bool *matched, bool *wrote,
                       struct err *e)
{
    struct stmt *s = x->s;
    struct match_hit hit = { 0 };
    struct bdoc now;
    struct err why = { 0 };

    *matched = *wrote = false;
    if (coll_lock(x->w, row->rid, &now, &why).failed) {
        if (why.code != ERR_NOT_FOUND)
            return err_take(e, &why);
        x->lost = true;
        return RC_OK;
    }
    struct bdoc old = { .p = arena_dup(s->q.scratch, now.p, now.len), .len = now.len };
    bool same = old.len == row->doc.len && memcmp(old.p, row->doc.p, old.len) == 0;
    *matched = true;
    if (!same || s->match->uses_positional)
        TRY(match_eval(s->match, &s->q, old, &hit, matched, e));
    if (!*matched) {
        x->lost = true;
        return RC_OK;
    }
    return s->apply(s, x->w, row->rid, old, &hit, wrote, e);
}

static RC one_document(struct run *x, const struct exec_row *row, bool *matched, struct err *e)
{
    struct stmt *s = x->s;

    for (int attempt = 1;; attempt++) {
        struct err why = { 0 };
        bool wrote;
        TRY(cmd_check(s->r, e));
        if (!x->w) {
            TRY(coll_begin(s->coll, &x->w, e));
            coll_set_bypass(x->w, s->bypass);
            coll_set_run(x->w, &s->q);
        }
        coll_savepoint(x->w);
        struct arena_mark m = arena_mark(s->q.scratch);
        rc_t rc = try_document(x, row, matched, &wrote, &why);
        arena_rewind(s->q.scratch, m);
        if (!rc.failed) {
            coll_keep(x->w);
            x->in_txn += wrote;
            s->n_changed += wrote;
            return RC_OK;
        }
        struct err undo = { 0 };
        if (coll_rollback(x->w, &undo).failed) {
            coll_abort(&x->w);
            *e = why;
            err_reset(&undo);
            return RC_FAILED;
        }
        rc = commit(x, why.code != ERR_WRITE_CONFLICT, e);
        if (rc.failed)
            return rc;
        if (why.code != ERR_WRITE_CONFLICT)
            return err_take(e, &why);
        err_reset(&why);
        coll_backoff(attempt);
    }
}

static RC run_once(struct run *x, struct exec *ex, struct err *e)
{
    struct stmt *s = x->s;

    for (;;) {
        struct exec_row row;
        bool valid, matched;
        TRY(exec_next(ex, &row, &valid, e));
        if (!valid)
            return RC_OK;
        TRY(one_document(x, &row, &matched, e));
        s->n_matched += matched;
        if (matched && !s->multi)
            return RC_OK;
        if (x->w && (x->in_txn >= STMT_BATCH_DOCS || coll_txn_bytes(x->w) >= STMT_BATCH_BYTES))
            TRY(commit(x, false, e));
    }
}

RC stmt_run(struct stmt *s, struct err *e)
{
    struct exec_spec spec = {
        .catalog = s->r->node->catalog,
        .coll = s->coll,
        .q = &s->q,
        .match = s->match,
        .sort = s->sort,
        .hint = s->hint,
        .min = BDOC_EMPTY,
        .max = BDOC_EMPTY,
        .project_doc = BDOC_EMPTY,
        .want_rid = true,
        .env = exec_env(s->r->node->catalog, &s->q, s->ns->db, true,
                        (size_t)s->r->node->limits.query_memory_bytes),
    };

    for (int attempt = 1;; attempt++) {
        struct run x = { .s = s };
        struct exec *ex;
        struct err why = { 0 };
        rc_t rc = exec_open(&spec, &ex, &why);
        if (!rc.failed) {
            rc = run_once(&x, ex, &why);
            exec_close(ex);
        }
        if (!rc.failed)
            rc = commit(&x, true, &why);
        coll_abort(&x.w);
        if (rc.failed &&
            (why.code == ERR_NAMESPACE_NOT_FOUND || why.code == ERR_QUERY_PLAN_KILLED) &&
            s->n_matched == 0) {
            err_reset(&why); /* dropped under us: there is nothing to change */
            s->coll = NULL;
            return RC_OK;
        }
        if (rc.failed)
            return err_take(e, &why);
        if (s->n_matched || !x.lost)
            return RC_OK;
        TRY(cmd_check(s->r, e));
        coll_backoff(attempt);
    }
}

RC stmt_insert(struct stmt *s, struct bdoc doc, struct err *e)
{
    for (int attempt = 1;; attempt++) {
        AUTO(catalog_coll_unrefp) struct catalog_coll *coll = NULL;
        struct coll_txn *w = NULL;
        struct err why = { 0 };
        TRY(cmd_check(s->r, e));
        TRY(cmd_coll_made(s->r, s->ns, &coll, e));
        TRY(cmd_not_view(coll, e));
        rc_t rc = coll_begin(coll, &w, &why);
        if (!rc.failed) {
            coll_set_bypass(w, s->bypass);
            coll_set_run(w, &s->q);
            struct arena_mark m = arena_mark(s->q.scratch);
            rc = coll_insert(w, doc, s->q.scratch, &why);
            arena_rewind(s->q.scratch, m);
        }
        enum store_durability d = s->sync ? cmd_durability(s->r) : STORE_NOSYNC;
        s->unsynced |= d == STORE_NOSYNC;
        if (!rc.failed)
            rc = coll_commit(&w, d, &why);
        coll_abort(&w);
        if (!rc.failed)
            return RC_OK;
        if (why.code != ERR_WRITE_CONFLICT && why.code != ERR_NAMESPACE_NOT_FOUND)
            return err_take(e, &why);
        err_reset(&why);
        coll_backoff(attempt);
    }
}

void stmt_update_spec(struct update_spec *spec)
{
    spec->pipeline_parse = pipeline_update_parse;
    spec->pipeline_apply = pipeline_update_apply;
}
