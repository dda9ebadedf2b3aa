/* index_extract.c - the keys of a document (compatibility 13 "Multikey").
 *
 * Every field of the index walks its path through documents. Where fields meet an array, all of them must meet the same one
 * (else 171), and each element gives keys of its own; below an element, further arrays expand again in the same way. An array
 * directly inside an array is a value, unless a numeric path component picks an element.
 * A field of places does not expand the array that ends its path, which may be a pair; its keys are the cells of the place.
 */
#include "index_priv.h"

#include <stdlib.h>

/* Where one field's walk stands. */
struct walk {
    struct bval at;   /* value reached so far */
    int part;         /* components consumed */
    bool fixed;       /* at is the field's final value for this key */
    bool in_element;  /* at is an array's element, so an array here is not expanded again */
    bool empty_array; /* the value is that of an empty array */
};

struct extract {
    const struct index_def *def;
    const struct qctx *run;
    struct arena *a;
    struct index_keys *out;
    int cap;
    bool any_present, any_place;
    struct buf key, tags;
};

/* within(): a context of this document's own, which ends when run does. */
static struct qctx within(const struct qctx *run, struct arena *a)
{
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };

    if (run) {
        q.deadline_us = run->deadline_us;
        q.interrupt = run->interrupt;
        q.check = run->check;
        q.check_arg = run->check_arg;
    }
    return q;
}

static bool array_index(struct slice name, uint32_t *out)
{
    uint64_t v = 0;

    if (name.len == 0 || name.len > 9 || (name.len > 1 && name.p[0] == '0'))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] < '0' || name.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(name.p[i] - '0');
    }
    *out = (uint32_t)v;
    return true;
}

static bool nth_element(struct bdoc array, uint32_t n, struct bval *out)
{
    struct biter it;

    biter_init(&it, array);
    while (biter_next(&it)) {
        if (n-- == 0) {
            *out = it.val;
            return true;
        }
    }
    return false;
}

/* Advances one field until it is fixed or stands before an array to expand; true in the latter case. */
static bool advance(const struct index_field *f, struct walk *w)
{
    while (!w->fixed) {
        bool ended = w->part == f->n_parts;
        if (w->at.type == BT_ARRAY) {
            uint32_t n;
            struct bval el;
            if (!ended && array_index(f->parts[w->part], &n) &&
                nth_element(bval_doc(w->at), n, &el)) {
                w->at = el;
                w->part++;
                w->in_element = false;
                continue;
            }
            if (!w->in_element && !(ended && f->geo))
                return true;
            w->fixed = true;
            if (!ended)
                w->at = BVAL_MISSING;
        } else if (ended) {
            w->fixed = true;
        } else if (w->at.type == BT_DOCUMENT) {
            w->at = bdoc_get_slice(bval_doc(w->at), f->parts[w->part++]);
            w->in_element = false;
        } else {
            w->at = BVAL_MISSING;
            w->fixed = true;
        }
    }
    return false;
}

static void emit_key(struct extract *x, const struct walk *walks)
{
    const struct index_def *d = x->def;

    buf_clear(&x->key);
    buf_clear(&x->tags);
    bool present = false;
    for (int i = 0; i < d->n_fields; i++) {
        if (walks[i].empty_array)
            index__encode_empty_array(&x->key, &x->tags, d->fields[i].desc);
        else
            index_encode(d->fields[i].geo ? NULL : d->collator, &x->key, &x->tags, walks[i].at,
                         d->fields[i].desc);
        present |= walks[i].empty_array || !bval_is_missing(walks[i].at);
    }
    x->any_present |= present;
    while (x->tags.len && x->tags.p[x->tags.len - 1] == 0)
        x->tags.len--;
    struct index_keys *k = x->out;
    if (k->n == x->cap) {
        x->cap = x->cap ? x->cap * 2 : 1;
        struct index_key *v = ARENA_ARRAY(x->a, struct index_key, (size_t)x->cap);
        if (k->n)
            memcpy(v, k->v, (size_t)k->n * sizeof(*v));
        k->v = v;
    }
    k->v[k->n++] = (struct index_key){
        .key = SLICE(arena_dup(x->a, x->key.p, x->key.len), x->key.len),
        .tags =
            x->tags.len ? SLICE(arena_dup(x->a, x->tags.p, x->tags.len), x->tags.len) : SLICE_EMPTY,
    };
}

/* emit_places(): a key for each combination of the cells of fields from `field` on. */
static RC emit_places(struct extract *x, struct walk *walks, int field, struct err *e)
{
    const struct index_def *d = x->def;

    while (field < d->n_fields && !d->fields[field].geo)
        field++;
    if (field == d->n_fields) {
        emit_key(x, walks);
        return arena_check(x->a, e);
    }
    struct qctx q = within(x->run, x->a);
    struct geo_grid grid;
    struct walk *w = &walks[field], was = *w;
    int64_t *cells;
    int n;

    index_grid(d, field, &grid);
    TRY(geo_cells(&q, &grid, w->at, &cells, &n, e));
    x->any_place |= n > 0;
    if (n > 1)
        x->out->multikey |= 1u << field;
    w->empty_array = false;
    for (int i = 0; i < n; i++) {
        w->at = bval_new_i64(x->a, cells[i]);
        TRY(emit_places(x, walks, field + 1, e));
    }
    if (n == 0) {
        w->at = BVAL_MISSING;
        TRY(emit_places(x, walks, field + 1, e));
    }
    *w = was;
    return RC_OK;
}

static RC expand(struct extract *x, struct walk *walks, int depth, struct err *e)
{
    const struct index_def *d = x->def;
    uint32_t stopped = 0;
    const uint8_t *array = NULL;
    struct bval arr = BVAL_MISSING;

    if (depth > QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "the document nests too deeply to be indexed");
    for (int i = 0; i < d->n_fields; i++) {
        if (!advance(&d->fields[i], &walks[i]))
            continue;
        if (array && array != walks[i].at.p) {
            struct slice a = SLICE_EMPTY;
            for (int j = 0; j < i; j++)
                if (stopped & (1u << j))
                    a = d->fields[j].parts[walks[j].part > 0 ? walks[j].part - 1 : 0];
            struct slice b = d->fields[i].parts[walks[i].part > 0 ? walks[i].part - 1 : 0];
            FAIL(e, ERR_CANNOT_INDEX_PARALLEL_ARRAYS, "cannot index parallel arrays [%.*s] [%.*s]",
                 (int)b.len, b.p, (int)a.len, a.p);
        }
        array = walks[i].at.p;
        arr = walks[i].at;
        stopped |= 1u << i;
    }
    if (!array && d->geo)
        return emit_places(x, walks, 0, e);
    if (!array) {
        emit_key(x, walks);
        return RC_OK;
    }
    x->out->multikey |= stopped;
    struct walk *sub = ARENA_ARRAY(x->a, struct walk, (size_t)d->n_fields);
    if (bdoc_is_empty(bval_doc(arr))) {
        memcpy(sub, walks, (size_t)d->n_fields * sizeof(*sub));
        for (int i = 0; i < d->n_fields; i++) {
            if (!(stopped & (1u << i)))
                continue;
            sub[i].fixed = true;
            sub[i].at = BVAL_MISSING;
            sub[i].empty_array = walks[i].part == d->fields[i].n_parts;
        }
        return expand(x, sub, depth + 1, e);
    }
    struct biter it;
    biter_init(&it, bval_doc(arr));
    while (biter_next(&it)) {
        memcpy(sub, walks, (size_t)d->n_fields * sizeof(*sub));
        for (int i = 0; i < d->n_fields; i++) {
            if (!(stopped & (1u << i)))
                continue;
            sub[i].at = it.val;
            sub[i].in_element = true;
        }
        TRY(expand(x, sub, depth + 1, e));
        TRY(arena_check(x->a, e));
    }
    return RC_OK;
}

static int cmp_keys(const void *a, const void *b)
{
    return slice_cmp(((const struct index_key *)a)->key, ((const struct index_key *)b)->key);
}

RC index_extract(const struct index_def *d, struct bdoc doc, const struct qctx *run,
                 struct arena *a, struct index_keys *out, struct err *e)
{
    struct walk walks[INDEX_FIELDS_MAX];

    *out = (struct index_keys){ 0 };
    if (d->partial) {
        struct qctx q = within(run, a);
        bool matches;
        q.collator = d->collator;
        TRY(match_eval(d->partial, &q, doc, NULL, &matches, e));
        if (!matches)
            return RC_OK;
    }
    for (int i = 0; i < d->n_fields; i++)
        walks[i] = (struct walk){ .at = bval_of_doc(doc, BT_DOCUMENT) };
    struct extract x = { .def = d, .run = run, .a = a, .out = out };
    rc_t rc = expand(&x, walks, 0, e);
    buf_fini(&x.key);
    buf_fini(&x.tags);
    if (rc.failed)
        return rc;
    if ((d->sparse && !x.any_present) || (d->geo && !x.any_place)) {
        out->n = 0;
        return RC_OK;
    }
    if (out->n > 1) {
        qsort(out->v, (size_t)out->n, sizeof(*out->v), cmp_keys);
        int n = 1;
        for (int i = 1; i < out->n; i++)
            if (!slice_eq(out->v[i].key, out->v[n - 1].key))
                out->v[n++] = out->v[i];
        out->n = n;
    }
    return RC_OK;
}

bool index_refuses(enum err_code code)
{
    return code == ERR_CANNOT_INDEX_PARALLEL_ARRAYS || code == ERR_OVERFLOW ||
           code == ERR_LOC(16755) || code == ERR_LOC(13027) || code == ERR_LOC(13068);
}
