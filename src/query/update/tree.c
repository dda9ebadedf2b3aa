/* tree.c - the tree of an update's paths, and how it is applied: the new document is written front to back beside the old one.
 *
 * At each level the fields that exist are copied or changed in place; those that do not are appended in the order of the tree. All
 * modifications see the document as it was. On an array several children may speak of one element ($[], $[id], an index): they are merged,
 * and two that end there are a conflict.
 */
#include <stdio.h>

#include "base/mem.h"
#include "update_priv.h"

enum { INDEX_TEXT = 12 };

/* ---- building ---- */

static int find(const struct update__node *n, struct slice name, bool *found)
{
    int lo = 0, hi = n->n;

    *found = false;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = update__name_cmp(name, n->children[mid]->name);

        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static void insert(struct arena *a, struct update__node *n, int at, struct update__node *child)
{
    if (n->n == n->cap) {
        int cap = n->cap ? 2 * n->cap : 4;
        struct update__node **v = ARENA_ARRAY(a, struct update__node *, (size_t)cap);

        if (n->n)
            memcpy(v, n->children, (size_t)n->n * sizeof(*v));
        n->children = v;
        n->cap = cap;
    }
    memmove(n->children + at + 1, n->children + at, (size_t)(n->n - at) * sizeof(*n->children));
    n->children[at] = child;
    n->n++;
}

static RC new_node(struct arena *a, struct slice name, struct update__filter *filters,
                   int n_filters, struct update__node **out, struct err *e)
{
    struct update__node *n = ARENA_NEW(a, struct update__node);

    *out = NULL;
    n->name = name;
    n->numeric = update__index(name, &n->index);
    if (slice_eq_str(name, "$")) {
        n->kind = NODE_POSITIONAL;
    } else if (slice_eq_str(name, "$[]")) {
        n->kind = NODE_ALL;
    } else if (name.len > 3 && slice_has_prefix(name, SLICE_LIT("$[")) &&
               name.p[name.len - 1] == ']') {
        struct slice id = SLICE(name.p + 2, name.len - 3);

        n->kind = NODE_FILTERED;
        for (int i = 0; i < n_filters; i++) {
            if (slice_eq(filters[i].id, id)) {
                filters[i].used = true;
                n->filter = &filters[i];
            }
        }
        if (!n->filter)
            FAIL(e, ERR_BAD_VALUE, "no array filter found for identifier '%.*s'", (int)id.len,
                 id.p);
    }
    *out = n;
    return RC_OK;
}

static RC conflict(struct slice at, struct err *e)
{
    FAIL(e, ERR_CONFLICTING_UPDATE_OPERATORS, "updating the path '%.*s' would create a conflict",
         (int)at.len, at.p);
}

RC update__tree_add(struct arena *a, struct update__node *root, struct update__mod *m,
                    struct update__filter *filters, int n_filters, struct err *e)
{
    struct update__node *n = root;

    for (int i = 0; i < m->path.n; i++) {
        bool found;
        int at = find(n, m->path.parts[i], &found);

        if (!found) {
            struct update__node *child;

            TRY(new_node(a, m->path.parts[i], filters, n_filters, &child, e));
            insert(a, n, at, child);
        }
        n = n->children[at];
        if (n->mod)
            return conflict(m->path.text, e);
    }
    if (n->n > 0)
        return conflict(m->path.text, e);
    n->mod = m;
    return RC_OK;
}

/* merge(): one node that does what both do. */
static RC merge(struct arena *s, const struct update__node *x, const struct update__node *y,
                struct update__node **out, struct err *e)
{
    *out = NULL;
    if (x->mod || y->mod)
        return conflict((x->mod ? x : y)->mod->path.text, e);
    struct update__node *n = ARENA_NEW(s, struct update__node);

    n->name = x->name;
    for (int i = 0; i < x->n; i++)
        insert(s, n, i, x->children[i]);
    for (int i = 0; i < y->n; i++) {
        bool found;
        int at = find(n, y->children[i]->name, &found);

        if (found)
            TRY(merge(s, n->children[at], y->children[i], &n->children[at], e));
        else
            insert(s, n, at, y->children[i]);
    }
    *out = n;
    return RC_OK;
}

/* ---- applying ---- */

static RC apply_doc(struct update__apply *a, const struct update__node *n, struct bdoc d,
                    struct bw *w, struct err *e);
static RC apply_array(struct update__apply *a, const struct update__node *n, struct bdoc d,
                      struct bw *w, struct err *e);

/* creates(): something below n comes into being where nothing was. */
static bool creates(const struct update__apply *a, const struct update__node *n)
{
    if (n->mod)
        return update__mod_creates(a, n->mod);
    for (int i = 0; i < n->n; i++) {
        if (creates(a, n->children[i]))
            return true;
    }
    return false;
}

/* blocked(): a scalar or an array in the way of what is below n is an error. */
static bool blocked(const struct update__apply *a, const struct update__node *n)
{
    if (n->mod)
        return update__mod_creates(a, n->mod) || update__mod_needs_path(n->mod);
    for (int i = 0; i < n->n; i++) {
        if (blocked(a, n->children[i]))
            return true;
    }
    return false;
}

static bool is_array_kind(const struct update__node *n)
{
    return n->kind == NODE_ALL || n->kind == NODE_FILTERED;
}

static RC need_hit(const struct update__apply *a, const struct update__node *n, struct err *e)
{
    if (n->kind == NODE_POSITIONAL && (!a->hit || !a->hit->has_index))
        FAIL(e, ERR_BAD_VALUE,
             "the positional operator did not find the match needed from the query");
    return RC_OK;
}

/* check_children(): what may not stand below a value that is no array. */
static RC check_children(const struct update__apply *a, const struct update__node *n, struct bval v,
                         struct err *e)
{
    for (int i = 0; i < n->n; i++) {
        const struct update__node *c = n->children[i];

        TRY(need_hit(a, c, e));
        if (!is_array_kind(c))
            continue;
        if (v.type == BT_MISSING)
            FAIL(e, ERR_BAD_VALUE,
                 "the path '%.*s' must exist in the document in order to apply array updates",
                 (int)n->name.len, n->name.p);
        FAIL(e, ERR_BAD_VALUE, "cannot apply array updates to non-array element %.*s of type %s",
             (int)n->name.len, n->name.p, btype_name(v.type));
    }
    return RC_OK;
}

/* effective_name(): of a child of a document; `$` stands for the index that the query found. */
static struct slice effective_name(const struct update__apply *a, const struct update__node *n)
{
    if (n->kind != NODE_POSITIONAL)
        return n->name;
    char *text = arena_alloc(a->q->scratch, INDEX_TEXT);
    int len = snprintf(text, INDEX_TEXT, "%u", a->hit->index);

    return SLICE(text, len);
}

/* put(): an element of the result; a value that goes leaves a null in an array. */
static void put(struct bw *w, struct slice name, struct bval v, bool in_array)
{
    if (v.type == BT_MISSING && in_array)
        v = bval_new_null();
    bw_val_slice(w, name, v);
}

/* apply_value(): what n makes of old, written under name. */
static RC apply_value(struct update__apply *a, const struct update__node *n, struct slice name,
                      struct bval old, struct bw *w, bool in_array, struct err *e)
{
    struct bval v;
    bool keep;

    if (bw_size(w) > 2 * UPDATE_DOC_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE, "the resulting document is larger than %d bytes",
             UPDATE_DOC_MAX);
    if (n->mod) {
        TRY(update__mod_apply(a, n->mod, old, &v, &keep, e));
        put(w, name, keep ? old : v, in_array);
        return RC_OK;
    }
    if (old.type == BT_ARRAY) {
        bw_array_begin_slice(w, name);
        TRY(apply_array(a, n, bval_doc(old), w, e));
        bw_array_end(w);
        return RC_OK;
    }
    TRY(check_children(a, n, old, e));
    if (old.type == BT_DOCUMENT) {
        bw_doc_begin_slice(w, name);
        TRY(apply_doc(a, n, bval_doc(old), w, e));
        bw_doc_end(w);
        return RC_OK;
    }
    if (old.type == BT_MISSING ? !creates(a, n) : !blocked(a, n)) {
        put(w, name, old, in_array);
        return RC_OK;
    }
    if (old.type != BT_MISSING)
        FAIL(e, ERR_PATH_NOT_VIABLE, "cannot create field '%.*s' in element {%.*s: %s}",
             (int)n->children[0]->name.len, n->children[0]->name.p, (int)name.len, name.p,
             btype_name(old.type));
    bw_doc_begin_slice(w, name);
    for (int i = 0; i < n->n; i++)
        TRY(apply_value(a, n->children[i], effective_name(a, n->children[i]), BVAL_MISSING, w,
                        false, e));
    bw_doc_end(w);
    return RC_OK;
}

/* child_for(): the child that speaks of a field of a document, -1 if none. */
static int child_for(const struct update__apply *a, const struct update__node *n, struct slice name,
                     bool has_positional)
{
    bool found;
    int at = find(n, name, &found);

    if (found && n->children[at]->kind == NODE_FIELD)
        return at;
    for (int i = 0; has_positional && i < n->n; i++) {
        if (n->children[i]->kind == NODE_POSITIONAL &&
            slice_eq(effective_name(a, n->children[i]), name))
            return i;
    }
    return -1;
}

static RC apply_doc(struct update__apply *a, const struct update__node *n, struct bdoc d,
                    struct bw *w, struct err *e)
{
    bool *seen = ARENA_ARRAY(a->q->scratch, bool, (size_t)n->n + 1);
    bool has_positional = false;
    struct biter it;

    for (int i = 0; i < n->n; i++) {
        has_positional |= n->children[i]->kind == NODE_POSITIONAL;
        if (n == a->u->root && !a->inserting && n->children[i]->name.p[0] == '$' &&
            creates(a, n->children[i]))
            FAIL(e, ERR_DOLLAR_PREFIXED_FIELD_NAME,
                 "the dollar ($) prefixed field '%.*s' is not allowed in the context of an update",
                 (int)n->children[i]->name.len, n->children[i]->name.p);
    }
    biter_init(&it, d);
    while (biter_next(&it)) {
        int at = child_for(a, n, it.name, has_positional);

        if (at < 0 || seen[at]) {
            bw_val_slice(w, it.name, it.val);
            continue;
        }
        seen[at] = true;
        TRY(apply_value(a, n->children[at], it.name, it.val, w, false, e));
    }
    for (int i = 0; i < n->n; i++) {
        if (!seen[i])
            TRY(apply_value(a, n->children[i], effective_name(a, n->children[i]), BVAL_MISSING, w,
                            false, e));
    }
    return RC_OK;
}

/* The children of a node on an array: those with an index, ascending, and those that look at every element. */
struct array_plan {
    const struct update__node **fixed;
    uint32_t *index;
    int n_fixed;
    const struct update__node **every;
    int n_every;
};

static RC plan_array(struct update__apply *a, const struct update__node *n, struct array_plan *p,
                     struct err *e)
{
    struct arena *s = a->q->scratch;

    *p =
        (struct array_plan){ .fixed = ARENA_ARRAY(s, const struct update__node *, (size_t)n->n + 1),
                             .index = ARENA_ARRAY(s, uint32_t, (size_t)n->n + 1),
                             .every =
                                 ARENA_ARRAY(s, const struct update__node *, (size_t)n->n + 1) };
    for (int i = 0; i < n->n; i++) {
        const struct update__node *c = n->children[i];
        int at;

        TRY(need_hit(a, c, e));
        if (is_array_kind(c)) {
            p->every[p->n_every++] = c;
            continue;
        }
        if (c->kind == NODE_FIELD && !c->numeric) {
            if (blocked(a, c))
                FAIL(e, ERR_PATH_NOT_VIABLE, "cannot create field '%.*s' in element {%.*s: array}",
                     (int)c->name.len, c->name.p, (int)n->name.len, n->name.p);
            continue;
        }
        uint32_t index = c->kind == NODE_POSITIONAL ? a->hit->index : c->index;

        for (at = p->n_fixed; at > 0 && p->index[at - 1] > index; at--) {
            p->fixed[at] = p->fixed[at - 1];
            p->index[at] = p->index[at - 1];
        }
        p->fixed[at] = c;
        p->index[at] = index;
        p->n_fixed++;
    }
    return RC_OK;
}

/* join(): c beside what already speaks of the element. */
static RC join(struct update__apply *a, const struct update__node **sum,
               const struct update__node *c, struct err *e)
{
    struct update__node *merged;

    if (!*sum) {
        *sum = c;
        return RC_OK;
    }
    TRY(merge(a->q->scratch, *sum, c, &merged, e));
    *sum = merged;
    return RC_OK;
}

/* pad_and_create(): elements past the end of the array. */
static RC pad_and_create(struct update__apply *a, const struct array_plan *p, int from,
                         uint32_t len, struct bw *w, struct err *e)
{
    for (int i = from; i < p->n_fixed;) {
        const struct update__node *sum = NULL;
        uint32_t index = p->index[i];

        for (; i < p->n_fixed && p->index[i] == index; i++)
            TRY(join(a, &sum, p->fixed[i], e));
        if (!creates(a, sum))
            continue;
        if (index - len > UPDATE_PAD_MAX)
            FAIL(e, ERR_BAD_VALUE, "cannot add %u elements to an array, at most %d", index - len,
                 UPDATE_PAD_MAX);
        for (; len < index; len++)
            bw_null(w, NULL);
        TRY(apply_value(a, sum, sum->name, BVAL_MISSING, w, true, e));
        len++;
    }
    return RC_OK;
}

static RC apply_array(struct update__apply *a, const struct update__node *n, struct bdoc d,
                      struct bw *w, struct err *e)
{
    struct array_plan p;
    struct biter it;
    uint32_t len = 0;
    int next = 0;

    TRY(plan_array(a, n, &p, e));
    biter_init(&it, d);
    for (; biter_next(&it); len++) {
        const struct update__node *sum = NULL;

        for (; next < p.n_fixed && p.index[next] == len; next++)
            TRY(join(a, &sum, p.fixed[next], e));
        for (int i = 0; i < p.n_every; i++) {
            bool matches = true;

            if (p.every[i]->kind == NODE_FILTERED)
                TRY(match_eval_value(p.every[i]->filter->match, a->q, it.val, &matches, e));
            if (matches)
                TRY(join(a, &sum, p.every[i], e));
        }
        if (sum)
            TRY(apply_value(a, sum, it.name, it.val, w, true, e));
        else
            bw_val(w, NULL, it.val);
    }
    return pad_and_create(a, &p, next, len, w, e);
}

RC update__tree_apply(struct update__apply *a, struct bdoc doc, struct bw *w, struct err *e)
{
    return apply_doc(a, a->u->root, doc, w, e);
}
