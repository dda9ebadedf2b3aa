/* sort.c - sort patterns and the keys they give a document.
 *
 * A key through an array is the lowest of its elements' keys in the pattern's order (so the highest for a descending field). Fields that
 * share an array are taken element by element together; two different arrays cannot be sorted by at once. An empty array is
 * lower than null.
 */
#include "agg_priv.h"

#include "base/mem.h"
#include "bsonx/dec.h"

enum { SORT_KEYS_LIMIT = 32 };

/* parse_meta_key(): scores come best first, distances least first. */
static RC parse_meta_key(const struct qctx *q, struct sort_key_spec *k, struct slice m,
                         struct err *e)
{
    static const char *const known[] = { "textScore", "searchScore", "vectorSearchScore",
                                         "geoNearDistance", "score" };
    bool ok = false;

    k->dir = 1;
    k->random = slice_eq_str(m, "randVal");
    if (k->random)
        return RC_OK;
    for (size_t i = 0; !ok && i < ARRAY_LEN(known); i++)
        ok = slice_eq_str(m, known[i]);
    if (!ok)
        FAIL(e, ERR_LOC(31138), "Illegal $meta sort: unknown metadata");
    TRY(qctx_check_meta(q, m, e));
    k->meta = m;
    if (!slice_eq_str(m, "geoNearDistance"))
        k->dir = -1;
    return RC_OK;
}

static RC parse_direction(const struct qctx *q, struct sort_key_spec *k, struct bval v,
                          struct err *e)
{
    int64_t n;

    if (v.type == BT_DOCUMENT) {
        struct biter it;
        biter_init(&it, bval_doc(v));
        if (!biter_next(&it) || !slice_eq_str(it.name, "$meta") || bdoc_count(bval_doc(v)) != 1)
            FAIL(e, ERR_LOC(17312), "$meta is the only expression supported by $sort right now");
        if (it.val.type != BT_STRING)
            FAIL(e, ERR_LOC(31138), "Illegal $meta sort: the argument must be a string");
        return parse_meta_key(q, k, bval_str(it.val), e);
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(15974), "Illegal key in $sort specification: a direction must be a number");
    double d = bval_to_double(v);
    if (v.type == BT_DECIMAL128) /* a decimal rounds half to even, a double is cut */
        n = dec_to_i64(bval_dec(v), DEC_HALF_EVEN, &n, NULL) && (n == 1 || n == -1) ? n : 0;
    else
        n = d >= 1 && d < 2 ? 1 : d <= -1 && d > -2 ? -1 : 0;
    if (n == 0)
        FAIL(e, ERR_LOC(15975),
             "$sort key ordering must be 1 (for ascending) or -1 (for descending)");
    k->dir = (int)n;
    return RC_OK;
}

RC sort_spec_parse(struct qctx *q, struct bdoc spec, struct sort_spec **out, struct err *e)
{
    uint32_t n = bdoc_count(spec);
    struct sort_spec *s = ARENA_NEW(q->arena, struct sort_spec);
    struct biter it;

    *out = NULL;
    s->spec = spec;
    s->collator = q->collator;
    if (n > SORT_KEYS_LIMIT)
        FAIL(e, ERR_LOC(13103), "too many compound keys");
    s->keys = ARENA_ARRAY(q->arena, struct sort_key_spec, n + 1);
    biter_init(&it, spec);
    while (biter_next(&it)) {
        struct sort_key_spec *k = &s->keys[s->n];
        k->path = it.name;
        TRY(parse_direction(q, k, it.val, e));
        TRY(expr_split_path(q->arena, it.name, &k->parts, &k->n_parts, e));
        for (int i = 0; i < s->n; i++)
            if (slice_eq(s->keys[i].path, it.name))
                FAIL(e, ERR_LOC(7472500),
                     "$sort key must not contain duplicate keys (duplicate: '%.*s')",
                     (int)it.name.len, (const char *)it.name.p);
        s->n++;
    }
    *out = s;
    return RC_OK;
}

/* ---- keys ---- */

int sort_keys_cmp(const struct sort_spec *s, const struct bval *a, const struct bval *b)
{
    for (int i = 0; i < s->n; i++) {
        int c = bval_cmp_in(s->collator, a[i], b[i]);
        if (c)
            return c * s->keys[i].dir;
    }
    return 0;
}

static const struct bval undefined_val = { .type = BT_UNDEFINED };
static const struct bval null_val = { .type = BT_NULL };

/* One field while a document is walked: the value reached, and the rest of its path. */
struct field_state {
    struct bval v;
    const struct slice *parts;
    int n_parts;
    bool done;
};

static bool index_component(struct slice s, uint32_t *out)
{
    uint32_t n = 0;

    if (s.len == 0 || s.len > 9 || (s.p[0] == '0' && s.len > 1))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (uint32_t)(s.p[i] - '0');
    }
    *out = n;
    return true;
}

/* Follows a field's path until it ends, or an array has to be spread. */
static void advance(struct field_state *f)
{
    uint32_t idx;

    while (!f->done && f->n_parts > 0) {
        if (f->v.type == BT_DOCUMENT) {
            f->v = bdoc_get_slice(bval_doc(f->v), f->parts[0]);
        } else if (f->v.type == BT_ARRAY && index_component(f->parts[0], &idx)) {
            struct bval at = bdoc_get_slice(bval_doc(f->v), f->parts[0]);
            if (bval_is_missing(at))
                return; /* not an index of this array: spread it */
            f->v = at;
        } else if (f->v.type == BT_ARRAY) {
            return;
        } else {
            f->v = null_val;
            f->n_parts = 0;
            f->done = true;
            return;
        }
        f->parts++;
        f->n_parts--;
    }
    if (f->v.type != BT_ARRAY || f->done)
        f->done = true;
    if (bval_is_missing(f->v))
        f->v = null_val;
}

struct key_walk {
    const struct sort_spec *s;
    struct arena *tmp;
    struct bval *best;
    bool has_best;
};

static void keep_lowest(struct key_walk *w, const struct field_state *f)
{
    struct bval k[SORT_KEYS_LIMIT];

    for (int i = 0; i < w->s->n; i++)
        k[i] = f[i].v;
    if (!w->has_best || sort_keys_cmp(w->s, k, w->best) < 0)
        memcpy(w->best, k, sizeof(*k) * (size_t)w->s->n);
    w->has_best = true;
}

static RC walk(struct key_walk *w, const struct field_state *from, int depth, struct err *e)
{
    struct field_state f[SORT_KEYS_LIMIT];
    const uint8_t *arr = NULL;
    struct bdoc spread = BDOC_EMPTY;

    if (depth > QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "sort key is nested deeper than %d levels", QUERY_DEPTH_MAX);
    memcpy(f, from, sizeof(*f) * (size_t)w->s->n);
    for (int i = 0; i < w->s->n; i++) {
        advance(&f[i]);
        if (f[i].done)
            continue;
        if (arr && arr != f[i].v.p)
            FAIL(e, ERR_BAD_VALUE, "cannot sort with keys that are parallel arrays");
        arr = f[i].v.p;
        spread = bval_doc(f[i].v);
    }
    if (!arr) {
        keep_lowest(w, f);
        return RC_OK;
    }
    struct field_state *g = arena_alloc(w->tmp, sizeof(*g) * (size_t)w->s->n);
    struct biter it;
    bool any = false;
    biter_init(&it, spread);
    while (biter_next(&it)) {
        any = true;
        for (int i = 0; i < w->s->n; i++) {
            g[i] = f[i];
            if (f[i].done)
                continue;
            g[i].v = it.val;
            g[i].done = g[i].n_parts == 0; /* an element is a value, be it an array */
            /* arrays in arrays are not crossed */
            if (g[i].n_parts > 0 && it.val.type != BT_DOCUMENT) {
                g[i].v = null_val;
                g[i].done = true;
            }
        }
        TRY(walk(w, g, depth + 1, e));
    }
    if (any)
        return RC_OK;
    for (int i = 0; i < w->s->n; i++) {
        if (f[i].done)
            continue;
        f[i].v = f[i].n_parts == 0 ? undefined_val : null_val;
        f[i].done = true;
    }
    keep_lowest(w, f);
    return RC_OK;
}

RC sort_keys(const struct sort_spec *s, struct qctx *q, struct bdoc doc, struct bval *keys,
             struct err *e)
{
    struct arena *tmp = q->scratch;
    struct field_state f[SORT_KEYS_LIMIT];
    struct bval root = bval_of_doc(doc, BT_DOCUMENT);
    bool plain = true;

    for (int i = 0; i < s->n; i++) {
        f[i] = (struct field_state){ .v = root,
                                     .parts = s->keys[i].parts,
                                     .n_parts = s->keys[i].n_parts };
        if (s->keys[i].random || s->keys[i].meta.len) {
            struct bval m = s->keys[i].random ? null_val : qctx_meta(q, s->keys[i].meta);
            f[i].v = bval_is_missing(m) ? null_val : m;
            f[i].done = true;
        }
        advance(&f[i]);
        plain = plain && f[i].done;
        keys[i] = f[i].v;
    }
    if (plain)
        return RC_OK;
    struct arena_mark mark = arena_mark(tmp);
    struct key_walk w = { .s = s, .tmp = tmp, .best = keys };
    rc_t rc = walk(&w, f, 0, e);
    arena_rewind(tmp, mark);
    return rc;
}

bool sort_spec_key(const struct sort_spec *s, int i, struct slice *path, int *dir)
{
    if (i < 0 || i >= s->n)
        return false;
    *path = s->keys[i].path;
    *dir = s->keys[i].dir;
    return true;
}
