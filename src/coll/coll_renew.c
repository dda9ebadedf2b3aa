/* coll_renew.c - indexes under a collation whose keys another ICU made.
 *
 * A key that ICU makes of a string only compares with those of the same build (collation_build()). After an upgrade of the library such an index would be searched in
 * the wrong places and would keep entries of documents that are gone. So before anything is served it is built anew, as any index is, beside the old one; one
 * transaction puts it in that one's place. Killed in between, the next start begins again.
 */
#include "coll_priv.h"

static bool is_stale(const struct catalog_index *row, const struct index_def *d)
{
    return !slice_eq_str(row->collator, d->collator_version);
}

static RC make_anew(struct build *b, const struct index_def *old, struct err *e)
{
    struct index_def *d;
    uint64_t ident;

    TRY(store_new_ident(catalog_store(b->x->cat), &ident, e));
    TRY(index_def_new(old->spec, ident, &d, e));
    b->made[b->n_made++] = coll__def_owned(b->x->cat, d);
    return catalog_doom(b->x->cat, STORE_INDEXES, ident, e);
}

/* put_in_place(): the new ones where the old ones stood. */
static RC put_in_place(struct build *b, const int at[INDEXES_MAX], struct err *e)
{
    struct coll_indexes *old = b->rt->indexes, *l = coll__indexes_new(old->n);
    uint64_t gone[INDEXES_MAX], made[INDEXES_MAX];
    struct catalog_index rows[INDEXES_MAX + 1];

    for (int i = 0; i < old->n; i++)
        l->v[i] = index_def_ref(old->v[i]);
    for (int i = 0; i < b->n_made; i++) {
        index_def_unref(l->v[at[i]]);
        l->v[at[i]] = index_def_ref(b->made[i]);
        gone[i] = old->v[at[i]]->ident;
        made[i] = b->made[i]->ident;
    }
    for (int i = 0; i < l->n; i++)
        rows[i] = coll__row_of(l->v[i]);
    struct catalog_index_change ch = { .indexes = rows,
                                       .n_indexes = l->n,
                                       .gone = gone,
                                       .n_gone = b->n_made,
                                       .made = made,
                                       .n_made = b->n_made };
    if (catalog_set_indexes(b->x, &ch, e).failed) {
        coll_indexes_unref(l);
        return RC_FAILED;
    }
    for (int i = 0; i < b->n_made; i++)
        atomic_store(&old->v[at[i]]->dropped, true);
    coll__replace_indexes(b->rt, l);
    return RC_OK;
}

/* The error of a duplicate tells what is in the documents, and this one goes to the log of a start. */
static RC without_data(const struct build *b, const struct catalog_index *was, struct err *e)
{
    if (e->code != ERR_DUPLICATE_KEY)
        return RC_FAILED;
    err_reset(e);
    FAIL(
        e, ERR_CONFIG,
        "two keys of a unique index are equal to this node's version of ICU (%s), and were not to the one that made them (%.*s): start a node with that one, "
        "and remove one of them or the index",
        b->made[0]->collator_version, (int)MIN(was->collator.len, 40u), was->collator.p);
}

static RC renew(struct build *b, const int at[INDEXES_MAX], struct err *e)
{
    for (int i = 0; i < b->n_made; i++)
        b->rt->kept->v[b->rt->kept->n++] = index_def_ref(b->made[i]);
    b->rt->build = b;
    b->end_rid = atomic_load(&b->rt->next_rid);
    rc_t rc = coll__build_all(b, e);
    b->rt->build = NULL;
    if (!rc.failed)
        rc = put_in_place(b, at, e);
    return rc;
}

static RC renew_collection(struct catalog_coll *x, int *n, struct err *e)
{
    struct coll_build req = { 0 };
    struct build b = { .x = x, .req = &req };
    int at[INDEXES_MAX];
    rc_t rc = RC_OK;

    TRY(coll__rt(x, &b.rt, e));
    for (int i = 0; !rc.failed && i < b.rt->indexes->n; i++) {
        if (!is_stale(&x->indexes[i], b.rt->indexes->v[i]))
            continue;
        at[b.n_made] = i;
        rc = make_anew(&b, b.rt->indexes->v[i], e);
    }
    if (!rc.failed && b.n_made) {
        coll_indexes_unref(b.rt->kept);
        b.rt->kept = coll__list_with(b.rt->indexes, b.n_made);
        rc = renew(&b, at, e);
    }
    if (rc.failed && b.n_made) {
        coll_indexes_unref(b.rt->kept);
        b.rt->kept = coll__indexes_ref(b.rt->indexes);
    }
    if (rc.failed && b.n_made)
        rc = without_data(&b, &x->indexes[at[0]], e);
    for (int i = 0; i < b.n_made; i++) {
        atomic_store(&b.made[i]->dropped, rc.failed);
        index_def_unref(b.made[i]);
    }
    *n += rc.failed ? 0 : b.n_made;
    return rc;
}

RC coll_renew_indexes(struct catalog *c, int *n, struct err *e)
{
    struct catalog_list l;
    rc_t rc = RC_OK;

    *n = 0;
    catalog_list(c, SLICE_EMPTY, &l);
    for (int i = 0; !rc.failed && i < l.n; i++) {
        bool any = false;
        for (int k = 0; k < l.v[i].x->n_indexes; k++)
            any |= l.v[i].x->indexes[k].collator.len > 0;
        if (any)
            rc = renew_collection(l.v[i].x, n, e);
    }
    catalog_list_free(&l);
    return rc;
}
