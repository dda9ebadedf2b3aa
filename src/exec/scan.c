/* scan.c - the leaves: rows from the collection or through an index, on the exec's snapshot. */
#include "exec_priv.h"

struct scan {
    struct exec *x;
    const struct plan *p;
    struct store_cursor *cur;
    int range;     /* present one; -1 before the first */
    bool on_entry; /* the cursor stands on the row given last */
    uint8_t bounds[16];
    struct ridset seen;
    struct store_pin pin;
    struct scan **sub; /* PLAN_OR */
    int at_sub;
    bool done;
};

struct scan *exec__scan_new(struct exec *x, const struct plan *p)
{
    struct scan *s = NEW(struct scan);

    s->x = x;
    s->p = p;
    s->range = -1;
    if (p->kind == PLAN_OR) {
        s->sub = NEW_ARRAY(struct scan *, (size_t)p->n_sub);
        for (int i = 0; i < p->n_sub; i++)
            s->sub[i] = exec__scan_new(x, p->sub[i]);
    }
    return s;
}

void exec__scan_close(struct scan *s)
{
    if (!s)
        return;
    for (int i = 0; s->sub && i < s->p->n_sub; i++)
        exec__scan_close(s->sub[i]);
    mem_free(s->sub);
    store_pin_release(&s->pin);
    store_cursor_close(s->cur);
    ridset_fini(&s->seen);
    mem_free(s);
}

static RC open_cursor(struct scan *s, enum store_space sp, struct slice lower, struct slice upper,
                      struct err *e)
{
    struct store_cursor_opts o = {
        .space = sp, .lower = lower, .upper = upper, .fill_cache = true
    };

    return store_cursor_open(s->x->store, NULL, s->x->snap, &o, &s->cur, e);
}

static RC next_record(struct scan *s, struct exec_row *row, bool *valid, struct err *e)
{
    bool back = s->p->backward;

    if (!s->cur) {
        put_be64(s->bounds, s->x->s.coll->ident);
        put_be64(s->bounds + 8, s->x->s.coll->ident + 1);
        TRY(open_cursor(s, STORE_RECORDS, SLICE(s->bounds, 8), SLICE(s->bounds + 8, 8), e));
        TRY(back ? store_cursor_last(s->cur, valid, e) : store_cursor_first(s->cur, valid, e));
    } else {
        TRY(back ? store_cursor_prev(s->cur, valid, e) : store_cursor_next(s->cur, valid, e));
    }
    if (!*valid)
        return RC_OK;
    struct slice k = store_cursor_key(s->cur), v = store_cursor_value(s->cur);
    if (k.len != 16 || v.len < 5)
        FAIL(e, ERR_CORRUPT, "a record does not parse");
    row->rid = get_be64(k.p + 8);
    row->doc = (struct bdoc){ .p = v.p, .len = (uint32_t)v.len };
    s->x->stats.docs_examined++;
    return RC_OK;
}

/* fetch(): the document of a record id on the snapshot. */
static RC fetch(struct scan *s, uint64_t rid, struct exec_row *row, struct err *e)
{
    uint8_t key[16];
    struct slice v;
    struct err why = { 0 };

    coll_record_key(key, s->x->s.coll->ident, rid);
    if (store_snapshot_get(s->x->store, s->x->snap, STORE_RECORDS, SLICE(key, 16), &s->pin, &v,
                           &why)
            .failed) {
        if (why.code == ERR_NOT_FOUND)
            FAIL(e, ERR_CORRUPT, "an index entry's document is missing");
        return err_take(e, &why);
    }
    if (v.len < 5)
        FAIL(e, ERR_CORRUPT, "a record does not parse");
    s->x->stats.docs_examined++;
    *row = (struct exec_row){ .rid = rid, .doc = { .p = v.p, .len = (uint32_t)v.len } };
    return RC_OK;
}

static RC next_point(struct scan *s, struct exec_row *row, bool *valid, struct err *e)
{
    struct slice key = s->p->ranges[0].lo, v, fields, tags;
    struct err why = { 0 };
    uint64_t rid;

    *valid = false;
    if (s->done)
        return RC_OK;
    s->done = true;
    if (store_snapshot_get(s->x->store, s->x->snap, STORE_INDEXES, key, &s->pin, &v, &why).failed) {
        if (why.code == ERR_NOT_FOUND)
            return RC_OK;
        return err_take(e, &why);
    }
    s->x->stats.keys_examined++;
    TRY(coll_entry_rid(s->p->index, key, v, &rid, &fields, &tags, e));
    TRY(fetch(s, rid, row, e));
    *valid = true;
    return RC_OK;
}

/* Put the cursor on the first entry of the present range, or of the next one that has any. */
static RC enter_range(struct scan *s, bool *valid, struct err *e)
{
    const struct plan *p = s->p;

    *valid = false;
    while (++s->range < p->n_ranges) {
        const struct key_range *r = &p->ranges[p->backward ? p->n_ranges - 1 - s->range : s->range];
        if (p->backward) {
            TRY(store_cursor_seek_for_prev(s->cur, r->hi, valid, e));
            /* hi is not part of the range */
            if (*valid && slice_cmp(store_cursor_key(s->cur), r->hi) >= 0)
                TRY(store_cursor_prev(s->cur, valid, e));
            if (*valid && slice_cmp(store_cursor_key(s->cur), r->lo) >= 0)
                return RC_OK;
        } else {
            TRY(store_cursor_seek(s->cur, r->lo, valid, e));
            if (*valid && slice_cmp(store_cursor_key(s->cur), r->hi) < 0)
                return RC_OK;
        }
        s->x->stats.keys_examined++;
        if (!*valid)
            return RC_OK; /* nothing beyond either */
    }
    *valid = false;
    return RC_OK;
}

static RC advance_entry(struct scan *s, bool *valid, struct err *e)
{
    const struct plan *p = s->p;

    if (!s->cur) {
        if (p->n_ranges == 0) {
            *valid = false;
            return RC_OK;
        }
        TRY(open_cursor(s, STORE_INDEXES, p->ranges[0].lo, p->ranges[p->n_ranges - 1].hi, e));
        return enter_range(s, valid, e);
    }
    TRY(p->backward ? store_cursor_prev(s->cur, valid, e) : store_cursor_next(s->cur, valid, e));
    if (*valid) {
        const struct key_range *r = &p->ranges[p->backward ? p->n_ranges - 1 - s->range : s->range];
        struct slice k = store_cursor_key(s->cur);
        if (p->backward ? slice_cmp(k, r->lo) >= 0 : slice_cmp(k, r->hi) < 0)
            return RC_OK;
        return enter_range(s, valid, e);
    }
    return RC_OK;
}

/* A document made of the key's fields; a covered plan's has _id first. */
static RC document_of_key(struct scan *s, struct slice fields, struct slice tags, struct buf *to,
                          struct bdoc *out, struct err *e)
{
    const struct index_def *d = s->p->index;
    struct bval v[INDEX_FIELDS_MAX];
    struct slice rest;
    struct bw w;

    TRY(index_decode(d, fields, tags, s->x->scratch, v, &rest, e));
    buf_clear(to);
    bw_init(&w, to);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < d->n_fields; i++)
            if (slice_eq_str(d->fields[i].path, "_id") == (pass == 0))
                bw_val_slice(&w, d->fields[i].path, v[i]);
    *out = bw_finish(&w);
    return RC_OK;
}

static RC next_entry(struct scan *s, struct exec_row *row, bool *valid, struct err *e)
{
    for (;;) {
        struct slice fields, tags;
        uint64_t rid;
        TRY(advance_entry(s, valid, e));
        if (!*valid)
            return RC_OK;
        s->x->stats.keys_examined++;
        TRY(coll_entry_rid(s->p->index, store_cursor_key(s->cur), store_cursor_value(s->cur), &rid,
                           &fields, &tags, e));
        if (s->p->multikey && !ridset_add(&s->seen, rid)) {
            TRY(qctx_check(&s->x->q, e));
            continue;
        }
        if (s->x->s.return_key) {
            struct bdoc key;
            TRY(document_of_key(s, fields, tags, &s->x->key_doc, &key, e));
        }
        if (!s->p->covered)
            return fetch(s, rid, row, e);
        row->rid = rid;
        return document_of_key(s, fields, tags, &s->x->row_buf, &row->doc, e);
    }
}

static RC next_branch(struct scan *s, struct exec_row *row, bool *valid, struct err *e)
{
    for (; s->at_sub < s->p->n_sub; s->at_sub++) {
        for (;;) {
            TRY(exec__scan_next(s->sub[s->at_sub], row, valid, e));
            if (!*valid)
                break;
            if (ridset_add(&s->seen, row->rid))
                return RC_OK;
            TRY(qctx_check(&s->x->q, e));
        }
    }
    *valid = false;
    return RC_OK;
}

RC exec__scan_next(struct scan *s, struct exec_row *row, bool *valid, struct err *e)
{
    *valid = false;
    switch (s->p->kind) {
    case PLAN_EOF: return RC_OK;
    case PLAN_COLLSCAN: return next_record(s, row, valid, e);
    case PLAN_IDHACK: return next_point(s, row, valid, e);
    case PLAN_IXSCAN:
        return s->p->point && !s->p->covered && !s->x->s.return_key ? next_point(s, row, valid, e)
                                                                    : next_entry(s, row, valid, e);
    case PLAN_OR: return next_branch(s, row, valid, e);
    }
    base_panic(__FILE__, __LINE__, "a plan without a scan");
}
