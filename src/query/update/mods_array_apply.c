/* mods_array_apply.c - $push, $addToSet, $pop, $pull, $pullAll on one array. */
#include <stdlib.h>

#include "update_priv.h"

struct elements {
    struct bval *v;
    int64_t n;
};

/* elements_of(): the array's elements, with room for more. */
static struct elements elements_of(struct arena *s, struct bval array, int64_t room)
{
    uint32_t count = array.type == BT_ARRAY ? bdoc_count(bval_doc(array)) : 0;
    struct elements el = { .v = ARENA_ARRAY(s, struct bval, (size_t)(count + room + 1)) };
    struct biter it;

    if (count == 0)
        return el;
    biter_init(&it, bval_doc(array));
    while (biter_next(&it))
        el.v[el.n++] = it.val;
    return el;
}

static struct bval to_array(struct arena *s, const struct bval *v, int64_t n)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_array_begin(&w, "");
    for (int64_t i = 0; i < n; i++)
        bw_val(&w, NULL, v[i]);
    bw_array_end(&w);
    return bval_dup(s, bdoc_get(bw_finish(&w), ""));
}

/* ---- $push ---- */

struct sort_item {
    struct bval val;
    const struct update__mod *m;
    struct bval *keys; /* one for each field of the pattern */
    int64_t at;
};

static int by_pattern(const void *a, const void *b)
{
    const struct sort_item *x = a, *y = b;

    if (x->m->sort_whole) {
        int c = bval_cmp_in(x->m->collator, x->val, y->val);

        if (c)
            return x->m->sort_descending ? -c : c;
    }
    for (int i = 0; i < x->m->n_sort; i++) {
        int c = bval_cmp_in(x->m->collator, x->keys[i], y->keys[i]);

        if (c)
            return x->m->sort[i].descending ? -c : c;
    }
    return (x->at > y->at) - (x->at < y->at); /* equal elements keep their order */
}

static struct bval key_of(struct bval v, const struct update__path *p)
{
    for (int i = 0; i < p->n && v.type != BT_MISSING; i++)
        v = v.type == BT_DOCUMENT || v.type == BT_ARRAY ? bdoc_get_slice(bval_doc(v), p->parts[i])
                                                        : BVAL_MISSING;
    return v.type == BT_MISSING ? bval_new_null() : v;
}

static void sort_elements(struct arena *s, const struct update__mod *m, struct elements *el)
{
    struct sort_item *items = ARENA_ARRAY(s, struct sort_item, (size_t)el->n + 1);

    for (int64_t i = 0; i < el->n; i++) {
        items[i] = (struct sort_item){ .val = el->v[i], .m = m, .at = i };
        if (m->n_sort == 0)
            continue;
        items[i].keys = ARENA_ARRAY(s, struct bval, (size_t)m->n_sort);
        for (int k = 0; k < m->n_sort; k++)
            items[i].keys[k] = key_of(el->v[i], &m->sort[k].path);
    }
    qsort(items, (size_t)el->n, sizeof(*items), by_pattern);
    for (int64_t i = 0; i < el->n; i++)
        el->v[i] = items[i].val;
}

static RC push(struct update__apply *a, const struct update__mod *m, struct bval old,
               struct bval *out, struct err *e)
{
    struct arena *s = a->q->scratch;

    if (old.type != BT_MISSING && old.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "the field '%.*s' must be an array but is of type %s",
             (int)m->path.text.len, m->path.text.p, btype_name(old.type));
    struct elements el = elements_of(s, old, m->n_each);
    int64_t at = el.n;

    if (m->has_position && m->position >= 0)
        at = m->position < el.n ? m->position : el.n;
    else if (m->has_position)
        at = -m->position < el.n ? el.n + m->position : 0;
    memmove(el.v + at + m->n_each, el.v + at, (size_t)(el.n - at) * sizeof(*el.v));
    if (m->n_each > 0)
        memcpy(el.v + at, m->each, (size_t)m->n_each * sizeof(*el.v));
    el.n += m->n_each;
    if (m->has_sort && el.n > 1)
        sort_elements(s, m, &el);
    if (m->has_slice) {
        int64_t want = m->slice < 0 ? (m->slice == INT64_MIN ? INT64_MAX : -m->slice) : m->slice;
        int64_t kept = want < el.n ? want : el.n;

        if (m->slice < 0)
            el.v += el.n - kept;
        el.n = kept;
    }
    *out = to_array(s, el.v, el.n);
    return RC_OK;
}

/* ---- $addToSet and $pullAll: membership by value ---- */

struct value_set {
    const struct collator *collator;
    struct bval *slots; /* missing: free */
    size_t mask;
};

static struct value_set set_new(const struct qctx *q, size_t n)
{
    size_t size = 16;

    while (size < 2 * n)
        size *= 2;
    return (struct value_set){ .collator = q->collator,
                               .slots = ARENA_ARRAY(q->scratch, struct bval, size),
                               .mask = size - 1 };
}

/* set_add(): false when an equal value is there already. */
static bool set_add(struct value_set *set, struct bval v, bool only_look)
{
    for (size_t i = bval_hash_in(set->collator, v) & set->mask;; i = (i + 1) & set->mask) {
        if (set->slots[i].type == BT_MISSING) {
            if (!only_look)
                set->slots[i] = v;
            return true;
        }
        if (bval_cmp_in(set->collator, set->slots[i], v) == 0)
            return false;
    }
}

static RC add_to_set(struct update__apply *a, const struct update__mod *m, struct bval old,
                     struct bval *out, bool *keep, struct err *e)
{
    struct arena *s = a->q->scratch;

    if (old.type != BT_MISSING && old.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE,
             "cannot apply $addToSet to non-array field. Field named '%.*s' has non-array type %s",
             (int)m->path.text.len, m->path.text.p, btype_name(old.type));
    struct elements el = elements_of(s, old, m->n_each);
    struct value_set set = set_new(a->q, (size_t)(el.n + m->n_each));
    int64_t before = el.n;

    for (int64_t i = 0; i < before; i++)
        set_add(&set, el.v[i], false);
    for (int i = 0; i < m->n_each; i++) {
        if (set_add(&set, m->each[i], false))
            el.v[el.n++] = m->each[i];
    }
    *keep = el.n == before && old.type == BT_ARRAY;
    *out = *keep ? old : to_array(s, el.v, el.n);
    return RC_OK;
}

/* ---- removing ---- */

static RC pulled(struct update__apply *a, const struct update__mod *m, struct bval v, bool *out,
                 struct err *e)
{
    *out = false;
    switch (m->pull) {
    case PULL_EQUAL: *out = bval_cmp_in(a->q->collator, v, m->operand) == 0; return RC_OK;
    case PULL_VALUE: return match_eval_value(m->match, a->q, v, out, e);
    case PULL_DOC:
        return v.type == BT_DOCUMENT ? match_eval(m->match, a->q, bval_doc(v), NULL, out, e)
                                     : RC_OK;
    }
    return RC_OK;
}

static RC remove_some(struct update__apply *a, const struct update__mod *m, struct bval old,
                      struct bval *out, bool *keep, struct err *e)
{
    struct arena *s = a->q->scratch;

    if (old.type == BT_MISSING) {
        *keep = true;
        return RC_OK;
    }
    if (old.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "cannot apply %s to a non-array value", update__op_name(m->op));
    struct elements el = elements_of(s, old, 0);
    struct value_set set = set_new(a->q, m->op == MOD_PULL_ALL ? (size_t)m->n_each : 0);
    int64_t kept = 0;

    for (int i = 0; m->op == MOD_PULL_ALL && i < m->n_each; i++)
        set_add(&set, m->each[i], false);
    for (int64_t i = 0; i < el.n; i++) {
        bool gone = false;

        if (m->op == MOD_PULL_ALL)
            gone = !set_add(&set, el.v[i], true);
        else
            TRY(pulled(a, m, el.v[i], &gone, e));
        if (!gone)
            el.v[kept++] = el.v[i];
    }
    *keep = kept == el.n;
    *out = *keep ? old : to_array(s, el.v, kept);
    return RC_OK;
}

static RC pop(struct update__apply *a, const struct update__mod *m, struct bval old,
              struct bval *out, bool *keep, struct err *e)
{
    if (old.type == BT_MISSING) {
        *keep = true;
        return RC_OK;
    }
    if (old.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "path '%.*s' contains an element of non-array type '%s'",
             (int)m->path.text.len, m->path.text.p, btype_name(old.type));
    struct elements el = elements_of(a->q->scratch, old, 0);

    *keep = el.n == 0;
    *out = *keep ? old : to_array(a->q->scratch, el.v + m->pop_first, el.n - 1);
    return RC_OK;
}

RC update__array_apply(struct update__apply *a, const struct update__mod *m, struct bval old,
                       struct bval *out, bool *keep, struct err *e)
{
    TRY(arena_check(a->q->scratch, e));
    switch (m->op) {
    case MOD_PUSH: return push(a, m, old, out, e);
    case MOD_ADD_TO_SET: return add_to_set(a, m, old, out, keep, e);
    case MOD_POP: return pop(a, m, old, out, keep, e);
    default: return remove_some(a, m, old, out, keep, e);
    }
}
