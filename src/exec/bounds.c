/* bounds.c - from predicates to intervals of an index field, and from those to ranges of keys (compatibility 13).
 *
 * Bounds must be wide enough and may be too wide: documents are checked against the filter afterwards. On a field along which some document has an array,
 * two predicates may be met by different elements, so one of them is used and no intersection is made - but for the predicates inside one $elemMatch.
 */
#include "exec_priv.h"

#include <math.h>
#include <stdlib.h>

enum { RANGES_MAX = 4096 };

/* Where bounds live, and how the index and the query compare strings. */
struct how {
    struct arena *a;
    const struct collator *collator;
    /* the query in another way than the index: no bound by a value with strings in it */
    bool other;
};

static struct slice encode(const struct how *h, struct bval v)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct arena *a = h->a;

    index_encode(h->collator, &b, NULL, v, false);
    return SLICE(arena_dup(a, b.p, b.len), b.len);
}

static struct slice succ(struct arena *a, struct slice s)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_push(&b, s.p, s.len);
    index_succ(&b, 0);
    return SLICE(arena_dup(a, b.p, b.len), b.len);
}

static struct slice byte(struct arena *a, uint8_t v)
{
    return SLICE(arena_dup(a, &v, 1), 1);
}

static const struct bval min_key = { .type = BT_MIN_KEY }, max_key = { .type = BT_MAX_KEY };

struct field_bounds exec__full(struct arena *a)
{
    struct field_bounds b = { .n = 1, .full = true };

    b.v = ARENA_NEW(a, struct interval);
    *b.v = (struct interval){ .lo = byte(a, INDEX_RANK_MIN),
                              .hi = byte(a, INDEX_RANK_END),
                              .v_lo = min_key,
                              .v_hi = max_key,
                              .lo_incl = true,
                              .hi_incl = true };
    return b;
}

static void add(struct arena *a, struct field_bounds *b, struct interval i)
{
    if (slice_cmp(i.lo, i.hi) >= 0)
        return;
    /* short lists; long ones come through reserve() */
    struct interval *v = ARENA_ARRAY(a, struct interval, (size_t)b->n + 1);
    if (b->n)
        memcpy(v, b->v, (size_t)b->n * sizeof(*v));
    v[b->n++] = i;
    b->v = v;
}

static struct interval point(const struct how *h, struct bval v)
{
    struct slice lo = encode(h, v);

    return (struct interval){ .lo = lo,
                              .hi = succ(h->a, lo),
                              .v_lo = v,
                              .v_hi = v,
                              .lo_incl = true,
                              .hi_incl = true,
                              .point = true };
}

static struct interval class_of(struct arena *a, enum btype t)
{
    uint8_t lo, hi;

    index_rank_range(t, &lo, &hi);
    return (struct interval){ .lo = byte(a, lo),
                              .hi = byte(a, hi),
                              .v_lo = { .type = BT_MISSING },
                              .v_hi = { .type = BT_MISSING } };
}

/* The points that {field: v} can be found at. */
static void equal_points(const struct how *h, struct bval v, struct interval out[2], int *n)
{
    *n = 0;
    out[(*n)++] = point(h, v);
    if (v.type != BT_ARRAY)
        return;
    struct biter it;
    biter_init(&it, bval_doc(v));
    /* the array as a whole is found through its first element; an empty one stands as undefined */
    out[(*n)++] =
        biter_next(&it) ? point(h, it.val) : point(h, (struct bval){ .type = BT_UNDEFINED });
}

static int cmp_interval(const void *x, const void *y)
{
    return slice_cmp(((const struct interval *)x)->lo, ((const struct interval *)y)->lo);
}

static void normalise(struct field_bounds *b)
{
    if (b->n < 2)
        return;
    qsort(b->v, (size_t)b->n, sizeof(*b->v), cmp_interval);
    int n = 1;
    for (int i = 1; i < b->n; i++) {
        struct interval *last = &b->v[n - 1];
        if (slice_cmp(b->v[i].lo, last->hi) >= 0) {
            b->v[n++] = b->v[i];
        } else if (slice_cmp(b->v[i].hi, last->hi) > 0) {
            last->hi = b->v[i].hi;
            last->v_hi = b->v[i].v_hi;
            last->hi_incl = b->v[i].hi_incl;
            last->point = false;
        }
    }
    b->n = n;
}

static void intersect(struct arena *a, struct field_bounds *b, const struct field_bounds *with)
{
    struct field_bounds r = { .n_predicates = b->n_predicates + with->n_predicates,
                              .full = b->full && with->full };

    for (int i = 0; i < b->n; i++) {
        for (int j = 0; j < with->n; j++) {
            const struct interval *x = &b->v[i], *y = &with->v[j];
            struct interval t = *x;
            if (slice_cmp(y->lo, x->lo) > 0) {
                t.lo = y->lo;
                t.v_lo = y->v_lo;
                t.lo_incl = y->lo_incl;
            }
            if (slice_cmp(y->hi, x->hi) < 0) {
                t.hi = y->hi;
                t.v_hi = y->v_hi;
                t.hi_incl = y->hi_incl;
            }
            t.point = x->point || y->point;
            add(a, &r, t);
        }
    }
    *b = r;
}

static bool is_nan(struct bval v)
{
    return bval_is_number(v) && isnan(bval_to_double(v));
}

static void compare_bounds(const struct how *h, enum match_op op, struct bval v,
                           struct field_bounds *b)
{
    struct arena *a = h->a;
    bool lower = op == MATCH_GT || op == MATCH_GTE, incl = op == MATCH_GTE || op == MATCH_LTE;

    if (v.type == BT_MIN_KEY || v.type == BT_MAX_KEY || v.type == BT_ARRAY) {
        *b = exec__full(a);
        return;
    }
    if (is_nan(v) || bval_is_nullish(v)) {
        if (incl)
            add(a, b, point(h, v));
        return;
    }
    struct interval i = class_of(a, v.type);
    struct slice at = encode(h, v);
    i.v_lo = i.v_hi = BVAL_MISSING;
    if (lower) {
        i.lo = incl ? at : succ(a, at);
        i.v_lo = v;
        i.lo_incl = incl;
    } else {
        i.hi = incl ? succ(a, at) : at;
        i.v_hi = v;
        i.hi_incl = incl;
    }
    add(a, b, i);
}

static void in_bounds(const struct how *h, const struct match_node *n, struct field_bounds *b)
{
    struct arena *a = h->a;

    b->v = ARENA_ARRAY(a, struct interval, (size_t)n->n_operands * 2 + 2);
    for (int i = 0; i < n->n_operands; i++) {
        int k;
        equal_points(h, n->operands[i], &b->v[b->n], &k);
        b->n += k;
    }
    if (n->n_children) { /* regexes */
        b->v[b->n++] = class_of(a, BT_STRING);
        b->v[b->n++] = class_of(a, BT_REGEX);
    }
    normalise(b);
}

/* bounded_by(): the values of the predicate can bound an index that holds strings as h says. */
static bool bounded_by(const struct how *h, const struct match_node *n)
{
    if (!h->other)
        return true;
    if (n->op == MATCH_IN) {
        for (int i = 0; i < n->n_operands; i++)
            if (index_by_order(n->operands[i]))
                return false;
        return true;
    }
    bool compares = n->op == MATCH_EQ || n->op == MATCH_GT || n->op == MATCH_GTE ||
                    n->op == MATCH_LT || n->op == MATCH_LTE;
    return !compares || !index_by_order(n->operand);
}

/* One predicate's intervals; false when it does not bound the field. */
static bool predicate_bounds(const struct how *h, const struct match_node *n,
                             struct field_bounds *b)
{
    struct arena *a = h->a;
    struct interval two[2];
    int k;

    *b = (struct field_bounds){ .n_predicates = 1 };
    if (!bounded_by(h, n))
        return false;
    switch (n->op) {
    case MATCH_EQ:
        if (n->operand.type == BT_REGEX || n->operand.type == BT_UNDEFINED)
            return false;
        equal_points(h, n->operand, two, &k);
        for (int i = 0; i < k; i++)
            add(a, b, two[i]);
        normalise(b);
        return true;
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE: compare_bounds(h, n->op, n->operand, b); return true;
    case MATCH_IN: in_bounds(h, n, b); return true;
    case MATCH_REGEX:
        add(a, b, class_of(a, BT_STRING));
        add(a, b, class_of(a, BT_REGEX));
        return true;
    case MATCH_EXISTS:
        *b = exec__full(a);
        b->n_predicates = 1;
        return true;
    case MATCH_ELEM_MATCH_VALUE: { /* all of it is met by one element: intersections are right */
        bool any = false;
        for (int i = 0; i < n->n_children; i++) {
            struct field_bounds one;
            const struct match_node *c = n->children[i];
            if (c->op == MATCH_AND) {
                for (int j = 0; j < c->n_children; j++) {
                    if (!predicate_bounds(h, c->children[j], &one))
                        continue;
                    if (any)
                        intersect(a, b, &one);
                    else
                        *b = one;
                    any = true;
                }
                continue;
            }
            if (!predicate_bounds(h, c, &one))
                continue;
            if (any)
                intersect(a, b, &one);
            else
                *b = one;
            any = true;
        }
        return any;
    }
    case MATCH_ALL: /* every part must be met: one of them bounds the scan */
        for (int i = 0; i < n->n_children; i++)
            if (n->children[i]->op != MATCH_ELEM_MATCH_OBJECT &&
                predicate_bounds(h, n->children[i], b))
                return true;
        return false;
    default: return false;
    }
}

static bool path_below(struct slice path, struct slice parent, struct slice *rest)
{
    if (path.len <= parent.len + 1 || memcmp(path.p, parent.p, parent.len) != 0 ||
        path.p[parent.len] != '.')
        return false;
    *rest = SLICE(path.p + parent.len + 1, path.len - parent.len - 1);
    return true;
}

struct collect {
    struct how how;
    bool multikey;
    struct field_bounds best;
    bool any;
};

static double width(const struct field_bounds *b)
{
    double w = 0;

    if (b->full)
        return 1e9;
    for (int i = 0; i < b->n; i++)
        w += b->v[i].point                                                                  ? 1
             : b->v[i].lo_incl || b->v[i].hi_incl || b->v[i].v_lo.type || b->v[i].v_hi.type ? 1e5
                                                                                            : 1e6;
    return w;
}

static void take(struct collect *c, const struct field_bounds *b, bool may_intersect)
{
    if (!c->any) {
        c->best = *b;
        c->any = true;
    } else if (!c->multikey || may_intersect) {
        intersect(c->how.a, &c->best, b);
    } else if (width(b) < width(&c->best)) {
        int n = c->best.n_predicates;
        c->best = *b;
        c->best.n_predicates += n;
    }
}

static void collect(struct collect *c, const struct match_node *n, struct slice path, bool in_elem)
{
    struct field_bounds b;
    struct slice rest;

    switch (n->op) {
    case MATCH_AND:
        for (int i = 0; i < n->n_children; i++)
            collect(c, n->children[i], path, in_elem);
        return;
    case MATCH_ELEM_MATCH_OBJECT: {
        if (!path_below(path, n->path, &rest))
            return;
        struct collect inner = { .how = c->how, .multikey = false };
        for (int i = 0; i < n->n_children; i++)
            collect(&inner, n->children[i], rest, true);
        if (inner.any)
            take(c, &inner.best, false);
        return;
    }
    case MATCH_ALL:
        for (int i = 0; i < n->n_children; i++)
            if (n->children[i]->op == MATCH_ELEM_MATCH_OBJECT)
                collect(c, n->children[i], path, in_elem);
        break;
    default: break;
    }
    if (slice_eq(n->path, path) && predicate_bounds(&c->how, n, &b))
        take(c, &b, false);
}

/* ---- places ---- */

static bool place_ranges(struct qctx *q, const struct match_node *n, const struct geo_grid *g,
                         struct geo_range **r, int *n_ranges)
{
    switch (n->op) {
    case MATCH_GEO_WITHIN:
    case MATCH_GEO_INTERSECTS: return geo_shape_ranges(q, g, n->impl, r, n_ranges);
    case MATCH_GEO_NEAR: return geo_near_ranges(q, g, n->impl, r, n_ranges);
    default: return false;
    }
}

static struct slice encoded(struct arena *a, int64_t cell, bool past)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    index_encode(NULL, &b, NULL, bval_new_i64(a, cell), false);
    if (past)
        index_succ(&b, 0);
    return SLICE(arena_dup(a, b.p, b.len), b.len);
}

/* place_bounds(): the first predicate on the field that says in which cells to look. */
static bool place_bounds(struct qctx *q, struct arena *a, const struct match_node *root,
                         const struct index_def *d, int field, struct field_bounds *out)
{
    struct geo_grid g;
    struct geo_range *r = NULL;
    bool known = false;
    int n = 0;

    index_grid(d, field, &g);
    for (int i = 0; root->op == MATCH_AND && !known && i < root->n_children; i++) {
        if (slice_eq(root->children[i]->path, d->fields[field].path))
            known = place_ranges(q, root->children[i], &g, &r, &n);
    }
    if (!known)
        return false;
    *out = (struct field_bounds){ .n = n, .n_predicates = 1 };
    out->v = ARENA_ARRAY(a, struct interval, (size_t)n + 1);
    out->share = 0.001;
    for (int i = 0; i < n; i++) {
        out->share += (double)(r[i].hi - r[i].lo + 1) / 0x1p61;
        out->v[i] = (struct interval){ .lo = encoded(a, r[i].lo, false),
                                       .hi = encoded(a, r[i].hi, true),
                                       .v_lo = bval_new_i64(a, r[i].lo),
                                       .v_hi = bval_new_i64(a, r[i].hi),
                                       .lo_incl = true,
                                       .hi_incl = true };
    }
    return true;
}

RC exec__field_bounds(struct qctx *q, struct arena *a, const struct match_node *root,
                      const struct index_def *d, int field, struct field_bounds *out)
{
    struct collect c = { .how = { .a = a,
                                  .collator = d->collator,
                                  .other = !collation_same(d->collator, q->collator) },
                         .multikey = atomic_load(&d->multikey) & (1u << field) };

    if (d->fields[field].geo) {
        if (!root || !place_bounds(q, a, root, d, field, out))
            *out = exec__full(a);
        return RC_OK;
    }
    if (root)
        collect(&c, root, d->fields[field].path, false);
    *out = c.any ? c.best : exec__full(a);
    return RC_OK;
}

bool exec__is_point(const struct field_bounds *b)
{
    return b->n == 1 && b->v[0].point;
}

static struct slice joined(struct arena *a, struct slice prefix, struct slice part, bool flip,
                           bool up)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_push(&b, prefix.p, prefix.len);
    for (size_t i = 0; i < part.len; i++)
        buf_push_u8(&b, flip ? (uint8_t)~part.p[i] : part.p[i]);
    if (up)
        index_succ(&b, 8);
    return SLICE(arena_dup(a, b.p, b.len), b.len);
}

static int cmp_range(const void *x, const void *y)
{
    return slice_cmp(((const struct key_range *)x)->lo, ((const struct key_range *)y)->lo);
}

/* Points of leading fields multiply; the first field that is not all points ends the prefix with its intervals. */
RC exec__ranges(struct arena *a, const struct index_def *d, const struct field_bounds *b,
                struct key_range **out, int *n_out, int *n_used)
{
    uint8_t ident[8];
    int n = 1, f = 0;

    put_be64(ident, d->ident);
    struct slice *prefixes = ARENA_NEW(a, struct slice);
    prefixes[0] = SLICE(arena_dup(a, ident, 8), 8);
    *n_used = 0;
    for (; f < d->n_fields; f++) {
        bool all_points = b[f].n > 0;
        for (int i = 0; i < b[f].n; i++)
            all_points &= b[f].v[i].point;
        if (!all_points || (int64_t)n * b[f].n > RANGES_MAX)
            break;
        struct slice *next = ARENA_ARRAY(a, struct slice, (size_t)(n * b[f].n));
        int m = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < b[f].n; j++)
                next[m++] = joined(a, prefixes[i], b[f].v[j].lo, d->fields[f].desc, false);
        prefixes = next;
        n = m;
        ++*n_used;
    }
    int per = 1;
    bool open = f == d->n_fields || b[f].full || (int64_t)n * b[f].n > RANGES_MAX;
    if (!open) {
        per = b[f].n;
        ++*n_used;
    }
    struct key_range *r = ARENA_ARRAY(a, struct key_range, (size_t)(n * per) + 1);
    int m = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < per; j++) {
            if (open) {
                r[m++] = (struct key_range){ .lo = prefixes[i],
                                             .hi = joined(a, prefixes[i], SLICE_EMPTY, false,
                                                          prefixes[i].len > 8) };
                if (prefixes[i].len == 8) { /* the whole index */
                    put_be64(ident, d->ident + 1);
                    r[m - 1].hi = SLICE(arena_dup(a, ident, 8), 8);
                }
                continue;
            }
            const struct interval *v = &b[f].v[j];
            bool desc = d->fields[f].desc;
            r[m++] = desc ? (struct key_range){ .lo = joined(a, prefixes[i], v->hi, true, true),
                                                .hi = joined(a, prefixes[i], v->lo, true, true) }
                          : (struct key_range){ .lo = joined(a, prefixes[i], v->lo, false, false),
                                                .hi = joined(a, prefixes[i], v->hi, false, false) };
        }
    }
    qsort(r, (size_t)m, sizeof(*r), cmp_range);
    *out = r;
    *n_out = m;
    return RC_OK;
}
