/* analyse.c - what can be said of a filter without a document: equalities for upserts, implication for partial indexes, its text for explain. */
#include "base/map.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "match_priv.h"

/* ---- equalities ---- */

struct seeds {
    struct map *full;     /* paths bound to a value */
    struct map *prefixes; /* proper prefixes of them */
    RC (*fn)(struct slice path, struct bval v, void *arg, struct err *e);
    void *arg;
};

static RC twice(struct slice a, struct slice b, struct err *e)
{
    if (slice_eq(a, b))
        FAIL(e, ERR_NOT_SINGLE_VALUE_FIELD,
             "cannot infer query fields to set, path '%.*s' is matched twice", (int)a.len, a.p);
    FAIL(e, ERR_NOT_SINGLE_VALUE_FIELD,
         "cannot infer query fields to set, both paths '%.*s' and '%.*s' are matched", (int)a.len,
         a.p, (int)b.len, b.p);
}

static RC add_seed(struct seeds *s, const struct match_node *n, struct err *e)
{
    static char mark;

    if (map_get(s->full, n->path))
        return twice(n->path, n->path, e);
    if (map_get(s->prefixes, n->path))
        return twice(n->path, n->path, e);
    for (size_t i = 0; i < n->path.len; i++) {
        struct slice prefix = SLICE(n->path.p, i);

        if (n->path.p[i] != '.')
            continue;
        if (map_get(s->full, prefix))
            return twice(prefix, n->path, e);
        map_put(s->prefixes, prefix, &mark);
    }
    map_put(s->full, n->path, &mark);
    return s->fn(n->path, n->operand, s->arg, e);
}

static RC collect(struct seeds *s, const struct match_node *n, struct err *e)
{
    if (n->op == MATCH_EQ)
        return add_seed(s, n, e);
    if (n->op != MATCH_AND)
        return RC_OK;
    for (int i = 0; i < n->n_children; i++)
        TRY(collect(s, n->children[i], e));
    return RC_OK;
}

RC match_equalities(const struct match *m,
                    RC (*fn)(struct slice path, struct bval v, void *arg, struct err *e), void *arg,
                    struct err *e)
{
    struct seeds s = { .full = map_new(), .prefixes = map_new(), .fn = fn, .arg = arg };
    rc_t rc = collect(&s, m->root, e);

    map_free(s.full);
    map_free(s.prefixes);
    return rc;
}

/* ---- implication ---- */

bool match__node_equal(const struct match_node *a, const struct match_node *b)
{
    if (a->op != b->op || !slice_eq(a->path, b->path) || a->n_children != b->n_children ||
        a->n_operands != b->n_operands || !bval_identical(a->operand, b->operand))
        return false;
    if (a->op == MATCH_REGEX) {
        struct slice ap, af, bp, bf;

        match__regex_source(a->impl, &ap, &af);
        match__regex_source(b->impl, &bp, &bf);
        return slice_eq(ap, bp) && slice_eq(af, bf);
    }
    if (a->op == MATCH_BITS &&
        ((const struct match__bits *)a->impl)->kind != ((const struct match__bits *)b->impl)->kind)
        return false;
    for (int i = 0; i < a->n_operands; i++) {
        if (!bval_identical(a->operands[i], b->operands[i]))
            return false;
    }
    for (int i = 0; i < a->n_children; i++) {
        if (!match__node_equal(a->children[i], b->children[i]))
            return false;
    }
    return true;
}

static bool is_range(enum match_op op)
{
    return op == MATCH_GT || op == MATCH_GTE || op == MATCH_LT || op == MATCH_LTE;
}

/* types_of(): every type that a value equal to, or in the class of, v may have. */
static struct match__types types_of(struct bval v)
{
    struct match__types t = { .min_key = v.type == BT_MIN_KEY, .max_key = v.type == BT_MAX_KEY };

    for (int type = BT_DOUBLE; type <= BT_DECIMAL128; type++) {
        if (bval_canonical((enum btype)type) == bval_canonical(v.type))
            t.bits |= 1u << type;
    }
    return t;
}

static bool types_within(struct match__types a, const struct match__types *b)
{
    return (a.bits & ~b->bits) == 0 && (!a.min_key || b->min_key) && (!a.max_key || b->max_key);
}

/* excludes_missing(): a value that satisfies n is there. */
static bool excludes_missing(const struct match_node *n)
{
    switch (n->op) {
    case MATCH_EQ:
    case MATCH_GTE:
    case MATCH_LTE:
        return n->operand.type != BT_NULL && n->operand.type != BT_MIN_KEY &&
               n->operand.type != BT_MAX_KEY;
    case MATCH_GT:
    case MATCH_LT: return n->operand.type != BT_MIN_KEY && n->operand.type != BT_MAX_KEY;
    case MATCH_IN:
        for (int i = 0; i < n->n_operands; i++) {
            if (n->operands[i].type == BT_NULL)
                return false;
        }
        return true;
    case MATCH_EXISTS:
    case MATCH_TYPE:
    case MATCH_REGEX:
    case MATCH_SIZE:
    case MATCH_MOD:
    case MATCH_BITS:
    case MATCH_GEO_WITHIN:
    case MATCH_GEO_INTERSECTS:
    case MATCH_GEO_NEAR:
    case MATCH_ELEM_MATCH_OBJECT:
    case MATCH_ELEM_MATCH_VALUE: return true;
    default: return false;
    }
}

static bool test_plain(struct qctx *q, const struct match_node *b, struct bval v)
{
    struct match__eval ev = { .q = q };

    return match__test(&ev, b, v) && !ev.failed;
}

/* range_within(): every value in range a lies in range b, both of one class of types. */
static bool range_within(struct qctx *q, const struct match_node *a, const struct match_node *b)
{
    bool a_low = a->op == MATCH_GT || a->op == MATCH_GTE,
         b_low = b->op == MATCH_GT || b->op == MATCH_GTE;
    int c;

    if (a_low != b_low || bval_canonical(a->operand.type) != bval_canonical(b->operand.type))
        return false;
    if (a->operand.type == BT_MIN_KEY || a->operand.type == BT_MAX_KEY ||
        a->operand.type == BT_NULL)
        return false;
    struct match_node self = *b;

    self.op = b_low ? MATCH_GTE : MATCH_LTE;
    if (!test_plain(q, &self, a->operand)) /* NaN and what lies outside */
        return false;
    c = bval_cmp_in(q->collator, a->operand, b->operand);
    if (c != 0)
        return true;
    bool a_closed = a->op == MATCH_GTE || a->op == MATCH_LTE,
         b_closed = b->op == MATCH_GTE || b->op == MATCH_LTE;
    return b_closed || !a_closed;
}

/* leaf_implies(): the value that satisfies a satisfies b too, on the same path. */
static bool leaf_implies(struct qctx *q, const struct match_node *a, const struct match_node *b)
{
    bool plain_b = b->op == MATCH_EQ || is_range(b->op) || b->op == MATCH_IN;

    if (match__node_equal(a, b))
        return true;
    if (!slice_eq(a->path, b->path))
        return false;
    if (b->op == MATCH_EXISTS)
        return excludes_missing(a);
    if (b->op == MATCH_IN && b->n_children > 0)
        return false;
    if (a->op == MATCH_EQ) {
        if (plain_b && (a->operand.type != BT_NULL || b->op == MATCH_EQ || b->op == MATCH_IN))
            return test_plain(q, b, a->operand);
        return b->op == MATCH_TYPE && a->operand.type != BT_NULL &&
               types_within(types_of(a->operand), b->impl);
    }
    if (a->op == MATCH_IN) {
        if (a->n_children > 0 || !(plain_b || b->op == MATCH_TYPE))
            return false;
        for (int i = 0; i < a->n_operands; i++) {
            struct match_node one = *a;

            one.op = MATCH_EQ;
            one.operand = a->operands[i];
            one.n_operands = one.n_children = 0;
            if (!leaf_implies(q, &one, b))
                return false;
        }
        return true;
    }
    if (is_range(a->op) && is_range(b->op))
        return range_within(q, a, b);
    if (b->op == MATCH_TYPE && a->op == MATCH_TYPE)
        return types_within(*(const struct match__types *)a->impl, b->impl);
    if (b->op == MATCH_TYPE && is_range(a->op) && excludes_missing(a))
        return types_within(types_of(a->operand), b->impl);
    return false;
}

static bool implies(struct qctx *q, const struct match_node *a, const struct match_node *b)
{
    if (a->op == MATCH_FALSE || b->op == MATCH_TRUE)
        return true;
    if (b->op == MATCH_AND) {
        for (int i = 0; i < b->n_children; i++) {
            if (!implies(q, a, b->children[i]))
                return false;
        }
        return true;
    }
    if (a->op == MATCH_OR) {
        for (int i = 0; i < a->n_children; i++) {
            if (!implies(q, a->children[i], b))
                return false;
        }
        return true;
    }
    if (a->op == MATCH_AND) {
        for (int i = 0; i < a->n_children; i++) {
            if (implies(q, a->children[i], b))
                return true;
        }
    }
    if (b->op == MATCH_OR) {
        for (int i = 0; i < b->n_children; i++) {
            if (implies(q, a, b->children[i]))
                return true;
        }
        return false;
    }
    if (a->n_parts == 0 || b->n_parts == 0)
        return match__node_equal(a, b) && a->op != MATCH_EXPR && a->op != MATCH_AND;
    return leaf_implies(q, a, b);
}

bool match_implies(struct qctx *q, const struct match *a, const struct match *b)
{
    return implies(q, a->root, b->root);
}

/* ---- text ---- */

static void write_node(const struct match_node *n, struct bw *w);

static void write_list(const struct match_node *n, const char *name, struct bw *w)
{
    bw_array_begin(w, name);
    for (int i = 0; i < n->n_children; i++) {
        bw_doc_begin(w, NULL);
        write_node(n->children[i], w);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

static void write_regex(const struct match_node *n, struct bw *w)
{
    struct slice pattern, flags;

    match__regex_source(n->impl, &pattern, &flags);
    bw_str_slice(w, "$regex", pattern);
    if (flags.len)
        bw_str_slice(w, "$options", flags);
}

static void write_in(const struct match_node *n, struct bw *w)
{
    bw_array_begin(w, "$in");
    for (int i = 0; i < n->n_operands; i++)
        bw_val(w, NULL, n->operands[i]);
    for (int i = 0; i < n->n_children; i++)
        bw_val(w, NULL, n->children[i]->operand);
    bw_array_end(w);
}

/* write_predicate(): the operator and its operand, inside the path's document. */
static void write_predicate(const struct match_node *n, struct bw *w)
{
    static const char *const names[MATCH_OP_NR] = {
        [MATCH_EQ] = "$eq",
        [MATCH_GT] = "$gt",
        [MATCH_GTE] = "$gte",
        [MATCH_LT] = "$lt",
        [MATCH_LTE] = "$lte",
        [MATCH_TYPE] = "$type",
        [MATCH_SIZE] = "$size",
        [MATCH_MOD] = "$mod",
        [MATCH_GEO_WITHIN] = "$geoWithin",
        [MATCH_GEO_INTERSECTS] = "$geoIntersects",
    };
    static const char *const bits[] = { "$bitsAllSet", "$bitsAllClear", "$bitsAnySet",
                                        "$bitsAnyClear" };

    switch (n->op) {
    case MATCH_EXISTS: bw_bool(w, "$exists", true); break;
    case MATCH_REGEX: write_regex(n, w); break;
    case MATCH_IN: write_in(n, w); break;
    case MATCH_GEO_NEAR: bw_fields(w, bval_doc(n->operand)); break;
    case MATCH_BITS:
        bw_val(w, bits[((const struct match__bits *)n->impl)->kind], n->operand);
        break;
    case MATCH_ELEM_MATCH_OBJECT:
    case MATCH_ELEM_MATCH_VALUE:
        bw_doc_begin(w, "$elemMatch");
        for (int i = 0; i < n->n_children; i++)
            write_node(n->children[i], w);
        bw_doc_end(w);
        break;
    default: bw_val(w, names[n->op], n->operand); break;
    }
}

static void write_not(const struct match_node *child, struct bw *w)
{
    if (child->n_parts > 0) {
        bw_doc_begin_slice(w, child->path);
        bw_doc_begin(w, "$not");
        write_predicate(child, w);
        bw_doc_end(w);
        bw_doc_end(w);
        return;
    }
    bw_array_begin(w, "$nor");
    bw_doc_begin(w, NULL);
    write_node(child, w);
    bw_doc_end(w);
    bw_array_end(w);
}

static void write_node(const struct match_node *n, struct bw *w)
{
    switch (n->op) {
    case MATCH_AND:
        if (n->n_children > 0)
            write_list(n, "$and", w);
        return;
    case MATCH_OR: write_list(n, "$or", w); return;
    case MATCH_NOR: write_list(n, "$nor", w); return;
    case MATCH_NOT: write_not(n->children[0], w); return;
    case MATCH_EXPR: bw_val(w, "$expr", n->operand); return;
    case MATCH_JSON_SCHEMA: bw_val(w, "$jsonSchema", n->operand); return;
    case MATCH_TRUE: bw_i32(w, "$alwaysTrue", 1); return;
    case MATCH_FALSE: bw_i32(w, "$alwaysFalse", 1); return;
    default: break;
    }
    if (n->n_parts == 0) {
        write_predicate(n, w);
        return;
    }
    bw_doc_begin_slice(w, n->path);
    write_predicate(n, w);
    bw_doc_end(w);
}

struct bdoc match_to_bson(const struct match *m, struct arena *a)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    if (m->root->n_children == 1)
        write_node(m->root->children[0], &w);
    else
        write_node(m->root, &w);
    return bw_done_arena(&w, a);
}
