/* plan.c - choosing how to read: by _id, through an index, through one a branch of $or, or the whole collection.
 *
 * Rules    An index with a bound on its first field beats a scan of the collection; among such, the smallest estimate wins. An index without bounds is
 *          used only to give the wanted order. A sparse index is used only when the filter proves that one of its fields exists, a partial one only
 *          when the filter implies its own; a hint overrides the former and the estimates.
 */
#include "exec_priv.h"

#include <math.h>

static bool has_predicate_on_null(const struct field_bounds *b)
{
    uint8_t null_lo = 0x14, null_hi = 0x15; /* the class of null and missing */

    for (int i = 0; i < b->n; i++)
        if (slice_cmp(b->v[i].lo, SLICE(&null_hi, 1)) < 0 &&
            slice_cmp(b->v[i].hi, SLICE(&null_lo, 1)) > 0)
            return true;
    return false;
}

/* Some field surely exists in every document that matches, so a sparse index holds them all. */
static bool proves_presence(const struct match_node *n, struct slice path)
{
    if (n->op == MATCH_AND) {
        for (int i = 0; i < n->n_children; i++)
            if (proves_presence(n->children[i], path))
                return true;
        return false;
    }
    return n->op == MATCH_EXISTS && slice_eq(n->path, path);
}

static bool sparse_is_safe(const struct planner *p, const struct index_def *d,
                           const struct field_bounds *b)
{
    for (int i = 0; i < d->n_fields; i++) {
        if (!b[i].full && b[i].n_predicates && !has_predicate_on_null(&b[i]))
            return true;
        if (p->s->match && proves_presence(p->s->match->root, d->fields[i].path))
            return true;
    }
    return false;
}

static bool sort_from_index(const struct index_def *d, const struct field_bounds *b,
                            struct bdoc sort, bool *backward)
{
    uint32_t multikey = atomic_load(&d->multikey);
    struct biter it;
    int at = 0, dir = 0;

    if (d->geo) /* cells have no order that counts */
        return false;

    biter_init(&it, sort);
    while (biter_next(&it)) {
        if (!bval_is_number(it.val))
            return false;
        while (at < d->n_fields && !slice_eq(d->fields[at].path, it.name) &&
               exec__is_point(&b[at]) && !(multikey & (1u << at)))
            at++;
        if (at == d->n_fields || !slice_eq(d->fields[at].path, it.name)) {
            bool fixed = false;
            for (int i = 0; i < d->n_fields; i++)
                fixed |= slice_eq(d->fields[i].path, it.name) && exec__is_point(&b[i]) &&
                         !(multikey & (1u << i));
            if (!fixed)
                return false;
            continue;
        }
        if ((multikey & (1u << at)) && !b[at].full)
            return false;
        bool desc = bval_to_double(it.val) < 0;
        int want = desc != d->fields[at].desc ? -1 : 1;
        if (dir && want != dir)
            return false;
        dir = want;
        at++;
    }
    *backward = dir < 0;
    return true;
}

/* Two fields below one array cannot both be bounded: different elements may meet their predicates. */
static void unbound_shared_arrays(struct arena *a, const struct index_def *d,
                                  struct field_bounds *b)
{
    uint32_t multikey = atomic_load(&d->multikey);

    for (int i = 1; i < d->n_fields; i++)
        for (int j = 0; j < i; j++)
            if ((multikey & (1u << i)) && (multikey & (1u << j)) && !b[j].full &&
                slice_eq(d->fields[i].parts[0], d->fields[j].parts[0]))
                b[i] = exec__full(a);
}

static double selectivity(const struct field_bounds *b)
{
    double s = 0;

    if (b->full)
        return 1;
    if (b->share > 0)
        return fmin(b->share, 0.9);
    for (int i = 0; i < b->n; i++) {
        bool lo = b->v[i].v_lo.type != BT_MISSING, hi = b->v[i].v_hi.type != BT_MISSING;
        s += b->v[i].point ? 0.01 : lo && hi ? 0.1 : lo || hi ? 0.33 : 0.7;
    }
    return fmin(s, 0.9);
}

struct deps {
    const struct index_def *d;
    bool ok;
};

static bool is_plain_field(const struct index_def *d, struct slice path)
{
    for (int i = 0; i < d->n_fields; i++)
        if (d->fields[i].n_parts == 1 && slice_eq(d->fields[i].path, path))
            return true;
    return false;
}

static void need_path(struct slice path, void *arg)
{
    struct deps *x = arg;

    x->ok &= is_plain_field(x->d, path);
}

static bool filter_is_covered(const struct index_def *d, const struct match_node *n)
{
    switch (n->op) {
    case MATCH_AND:
    case MATCH_OR:
    case MATCH_NOR:
    case MATCH_NOT:
        for (int i = 0; i < n->n_children; i++)
            if (!filter_is_covered(d, n->children[i]))
                return false;
        return true;
    case MATCH_TRUE:
    case MATCH_FALSE:
    case MATCH_COMMENT: return true;
    case MATCH_EXPR:
    case MATCH_JSON_SCHEMA: return false;
    default: return is_plain_field(d, n->path);
    }
}

static bool covers(const struct planner *p, const struct index_def *d)
{
    const struct exec_spec *s = p->s;
    struct deps x = { .d = d, .ok = true };
    struct biter it;
    bool whole = false;

    if (!s->project || s->return_key || d->geo || d->collator || atomic_load(&d->multikey))
        return false;
    project_deps(s->project, need_path, &x, &whole);
    if (whole || !x.ok || (s->match && !filter_is_covered(d, s->match->root)))
        return false;
    biter_init(&it, p->sort);
    while (biter_next(&it))
        if (!is_plain_field(d, it.name))
            return false;
    return true;
}

/* The index orders strings as the query does. In another order it bounds what has no strings in it, and sorts nothing. */
static bool same_order(const struct planner *p, const struct index_def *d)
{
    return collation_same(p->s->q->collator, d->collator);
}

/* holds_all(): the partial index has every document that matches. */
static bool holds_all(const struct planner *p, const struct index_def *d, const struct match *m)
{
    return same_order(p, d) && match_implies(p->s->q, m, d->partial);
}

static RC index_plan(struct planner *p, struct index_def *d, const struct match_node *root,
                     struct plan **out, struct err *e)
{
    struct plan *pl = ARENA_NEW(p->a, struct plan);
    double sel = 1;

    (void)e;
    *pl = (struct plan){ .kind = PLAN_IXSCAN, .index = d };
    pl->bounds = ARENA_ARRAY(p->a, struct field_bounds, (size_t)d->n_fields);
    for (int i = 0; i < d->n_fields; i++)
        TRY(exec__field_bounds(p->s->q, p->a, root, d, i, &pl->bounds[i]));
    unbound_shared_arrays(p->a, d, pl->bounds);
    TRY(exec__ranges(p->a, d, pl->bounds, &pl->ranges, &pl->n_ranges, &pl->n_bound_fields));
    bool all_points = true;
    for (int i = 0; i < pl->n_bound_fields; i++) {
        sel *= selectivity(&pl->bounds[i]);
        all_points &= exec__is_point(&pl->bounds[i]);
    }
    pl->multikey = d->geo || atomic_load(&d->multikey) != 0;
    pl->point = d->unique && all_points && pl->n_bound_fields == d->n_fields && pl->n_ranges == 1;
    pl->gives_sort = bdoc_is_empty(p->sort) ||
                     (same_order(p, d) && sort_from_index(d, pl->bounds, p->sort, &pl->backward));
    if (p->natural_dir && bdoc_is_empty(p->sort))
        pl->backward = p->natural_dir < 0;
    pl->covered = covers(p, d);
    pl->cost = (pl->point ? 0.0001 : sel) * (pl->covered ? 0.5 : 1.0) +
               (pl->gives_sort ? 0 : 0.3 * sel) - 1e-6 * pl->n_bound_fields;
    *out = pl;
    return RC_OK;
}

/* asks_for_place(): the query is bounded in a field of places, so the index has every document that matches. */
static bool asks_for_place(const struct index_def *d, const struct field_bounds *b)
{
    for (int i = 0; i < d->n_fields; i++) {
        if (d->fields[i].geo && b[i].n_predicates > 0)
            return true;
    }
    return false;
}

static bool usable(const struct planner *p, const struct plan *pl, const struct match *m)
{
    const struct index_def *d = pl->index;

    if (d->hidden)
        return false;
    if (d->partial && (!m || !holds_all(p, d, m)))
        return false;
    if (d->sparse && !sparse_is_safe(p, d, pl->bounds))
        return false;
    if (d->geo && !asks_for_place(d, pl->bounds))
        return false;
    bool bounded = pl->n_bound_fields > 0 && pl->bounds[0].n_predicates > 0;
    /* a sparse index holds no more than the documents that have the field */
    bounded |= d->sparse && m && proves_presence(m->root, d->fields[0].path);
    bool ordered = !bdoc_is_empty(p->sort) && pl->gives_sort;
    return bounded || ordered;
}

static RC best_index(struct planner *p, const struct match *m, const struct match_node *root,
                     struct plan **out, struct err *e)
{
    *out = NULL;
    for (int i = 0; i < p->indexes->n; i++) {
        struct plan *pl;
        if (p->filtered && !exec__filter_allows(p->allowed, p->indexes->v[i]))
            continue;
        TRY(index_plan(p, p->indexes->v[i], root, &pl, e));
        if (usable(p, pl, m) && (!*out || pl->cost < (*out)->cost))
            *out = pl;
    }
    return RC_OK;
}

static const struct match_node *find_or(const struct match_node *root)
{
    if (root->op == MATCH_OR)
        return root;
    for (int i = 0; root->op == MATCH_AND && i < root->n_children; i++)
        if (root->children[i]->op == MATCH_OR)
            return root->children[i];
    return NULL;
}

static RC or_plan(struct planner *p, struct plan **out, struct err *e)
{
    const struct match_node * or = find_or(p->s->match->root);
    struct bdoc sort = p->sort;

    *out = NULL;
    if (!or)
        return RC_OK;
    struct plan *pl = ARENA_NEW(p->a, struct plan);
    *pl = (struct plan){ .kind = PLAN_OR, .multikey = true, .gives_sort = bdoc_is_empty(sort) };
    pl->sub = ARENA_ARRAY(p->a, struct plan *, (size_t) or->n_children);
    p->sort = BDOC_EMPTY;
    rc_t rc = RC_OK;
    for (int i = 0; !rc.failed && i < or->n_children; i++) {
        struct match_node *wrap = ARENA_NEW(p->a, struct match_node);
        struct match_node **child = ARENA_NEW(p->a, struct match_node *);
        *child = or->children[i];
        *wrap = (struct match_node){ .op = MATCH_AND, .children = child, .n_children = 1 };
        struct match m = { .root = wrap };
        rc = best_index(p, &m, wrap, &pl->sub[i], e);
        if (!rc.failed && !pl->sub[i])
            break;
        pl->sub[i]->covered = false;
        pl->cost += pl->sub[i]->cost;
        pl->n_sub++;
    }
    p->sort = sort;
    if (!rc.failed && pl->n_sub == or->n_children)
        *out = pl;
    return rc;
}

/* An equality on _id decides the query by itself. */
static bool id_plan(struct planner *p, struct plan *pl)
{
    const struct match_node *root = p->s->match ? p->s->match->root : NULL;
    struct index_def *id = p->indexes->n ? p->indexes->v[0] : NULL;

    if (!root || !id || !id->is_id || p->natural || p->s->return_key)
        return false;
    const struct match_node *eq = NULL;
    if (root->op == MATCH_EQ)
        eq = root;
    for (int i = 0; root->op == MATCH_AND && i < root->n_children && !eq; i++)
        if (root->children[i]->op == MATCH_EQ && slice_eq_str(root->children[i]->path, "_id"))
            eq = root->children[i];
    if (!eq || !slice_eq_str(eq->path, "_id"))
        return false;
    enum btype t = eq->operand.type;
    if (t == BT_ARRAY || t == BT_REGEX || t == BT_UNDEFINED || t == BT_MISSING)
        return false;
    if (!same_order(p, id) && index_by_order(eq->operand))
        return false;
    AUTO(buf_fini) struct buf key = BUF_INIT;
    buf_push_be64(&key, id->ident);
    index_encode(id->collator, &key, NULL, eq->operand, id->fields[0].desc);
    *pl = (struct plan){
        .kind = PLAN_IDHACK, .index = id, .point = true, .gives_sort = true, .n_ranges = 1
    };
    pl->ranges = ARENA_NEW(p->a, struct key_range);
    pl->ranges->lo = SLICE(arena_dup(p->a, key.p, key.len), key.len);
    pl->match = root->op == MATCH_EQ || root->n_children == 1 ? NULL : p->s->match;
    return true;
}

/* near_plan(): an index of the places that $near asks for, or none of the query can run. */
static RC near_plan(struct planner *p, struct index_def *hinted, struct plan **out, struct err *e)
{
    const struct match_node *near = p->s->match->near;

    for (int i = 0; i < p->indexes->n; i++) {
        struct index_def *d = p->indexes->v[i];
        int field = -1;

        if (hinted ? hinted != d : d->hidden)
            continue;
        for (int k = 0; k < d->n_fields; k++)
            if ((d->fields[k].geo & geo_near_indexes(near->impl)) &&
                slice_eq(d->fields[k].path, near->path))
                field = k;
        if (field < 0 || (d->partial && !holds_all(p, d, p->s->match)))
            continue;
        struct geo_grid grid;

        index_grid(d, field, &grid);
        if (!geo_near_fits(near->impl, &grid))
            FAIL(e, ERR_LOC(16433), "point not in interval of [ %g, %g ]", grid.min, grid.max);
        TRY(index_plan(p, d, p->s->match->root, out, e));
        (*out)->multikey = true;
        (*out)->gives_sort = false;
        return RC_OK;
    }
    FAIL(
        e, ERR_NO_QUERY_EXECUTION_PLANS,
        "error processing query: planner returned error :: caused by :: unable to find index for $geoNear query");
}

static RC hinted_index(struct planner *p, struct index_def **out, struct err *e)
{
    struct bval h = p->s->hint;

    *out = NULL;
    for (int i = 0; i < p->indexes->n && !*out; i++) {
        struct index_def *d = p->indexes->v[i];
        if (h.type == BT_STRING ? slice_eq_str(bval_str(h), d->name)
                                : bval_eq(h, bval_of_doc(d->pattern, BT_DOCUMENT)))
            *out = d;
    }
    if (!*out || (*out)->hidden)
        FAIL(
            e, ERR_BAD_VALUE,
            "error processing query: planner returned error :: caused by :: hint provided does not correspond to an existing index");
    return RC_OK;
}

static RC key_of(struct planner *p, const struct index_def *d, struct bdoc doc, const char *what,
                 struct slice *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    int i = 0;

    buf_push_be64(&b, d->ident);
    biter_init(&it, doc);
    while (biter_next(&it)) {
        if (i == d->n_fields || !slice_eq(it.name, d->fields[i].path))
            FAIL(e, ERR_LOC(51174), "the index does not have the fields of %s, in their order",
                 what);
        index_encode(d->collator, &b, NULL, it.val, d->fields[i].desc);
        i++;
    }
    if (i != d->n_fields)
        FAIL(e, ERR_LOC(51174), "%s must name every field of the index", what);
    *out = SLICE(arena_dup(p->a, b.p, b.len), b.len);
    return RC_OK;
}

/* min is inclusive, max exclusive, both over whole keys of the hinted index. */
static RC min_max_plan(struct planner *p, struct plan *pl, struct err *e)
{
    struct index_def *d = pl->index;
    uint8_t ident[8];
    struct key_range *r = ARENA_NEW(p->a, struct key_range);

    put_be64(ident, d->ident);
    r->lo = SLICE(arena_dup(p->a, ident, 8), 8);
    put_be64(ident, d->ident + 1);
    r->hi = SLICE(arena_dup(p->a, ident, 8), 8);
    if (!bdoc_is_empty(p->s->min))
        TRY(key_of(p, d, p->s->min, "min", &r->lo, e));
    if (!bdoc_is_empty(p->s->max))
        TRY(key_of(p, d, p->s->max, "max", &r->hi, e));
    pl->ranges = r;
    pl->n_ranges = slice_cmp(r->lo, r->hi) < 0;
    pl->point = false;
    if (!bdoc_is_empty(p->s->min) && !bdoc_is_empty(p->s->max) && pl->n_ranges == 0)
        FAIL(e, ERR_LOC(51175), "max() must be greater than min()");
    for (int i = 0; i < d->n_fields; i++)
        pl->bounds[i] = exec__full(p->a);
    pl->gives_sort = bdoc_is_empty(p->sort) ||
                     (same_order(p, d) && sort_from_index(d, pl->bounds, p->sort, &pl->backward));
    return RC_OK;
}

static RC hinted_plan(struct planner *p, struct plan **out, struct err *e)
{
    struct index_def *d;

    TRY(hinted_index(p, &d, e));
    if (p->s->match && p->s->match->near)
        return near_plan(p, d, out, e);
    TRY(index_plan(p, d, p->s->match ? p->s->match->root : NULL, out, e));
    if (!bdoc_is_empty(p->s->min) || !bdoc_is_empty(p->s->max))
        return min_max_plan(p, *out, e);
    return RC_OK;
}

static bool natural_of(struct bval v, int *dir)
{
    if (v.type != BT_DOCUMENT)
        return false;
    struct bval n = bdoc_get(bval_doc(v), "$natural");
    if (bval_is_missing(n))
        return false;
    *dir = bval_is_number(n) && bval_to_double(n) < 0 ? -1 : 1;
    return true;
}

RC exec__plan(struct planner *p, struct plan **out, struct err *e)
{
    struct plan *scan = ARENA_NEW(p->a, struct plan), *ix = NULL, *or = NULL;
    const struct match *m = p->s->match;
    struct bval hint = p->filtered ? BVAL_MISSING : p->s->hint; /* a filter has precedence */

    p->sort = p->s->sort;
    p->natural = natural_of(hint, &p->natural_dir);
    if (natural_of(bval_of_doc(p->s->sort, BT_DOCUMENT), &p->natural_dir)) {
        p->natural = true;
        p->sort = BDOC_EMPTY;
    }
    *scan = (struct plan){ .kind = PLAN_COLLSCAN,
                           .gives_sort = bdoc_is_empty(p->sort),
                           .backward = p->natural && p->natural_dir < 0,
                           .cost = 1e6 };
    *out = scan;
    if (!p->natural && !bval_is_missing(hint) &&
        !(hint.type == BT_DOCUMENT && bdoc_is_empty(bval_doc(hint))))
        return hinted_plan(p, out, e);
    if (m && m->near)
        return near_plan(p, NULL, out, e);
    if (p->natural)
        return RC_OK;
    p->natural_dir = 0;
    if (id_plan(p, scan))
        return RC_OK;
    TRY(best_index(p, m, m ? m->root : NULL, &ix, e));
    bool bounded = ix && ix->n_bound_fields > 0 && ix->bounds[0].n_predicates > 0;
    if (m && !bounded)
        TRY(or_plan(p, &or, e));
    if (or)
        *out = or ;
    else if (ix)
        *out = ix;
    return RC_OK;
}
