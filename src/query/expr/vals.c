/* vals.c - lists, sets and the one-pass encoding of arrays and documents. */
#include "query/vals.h"

#include <stdio.h>

#include "base/mem.h"

static void grow(struct arena *a, void **p, uint32_t n, uint32_t *cap, size_t size)
{
    uint32_t more = *cap ? *cap * 2 : 8;
    void *q = arena_alloc(a, (size_t)more * size);

    if (n)
        memcpy(q, *p, (size_t)n * size);
    *p = q;
    *cap = more;
}

void vals_push(struct vals *l, struct bval v)
{
    if (l->n == l->cap)
        grow(l->arena, (void **)&l->v, l->n, &l->cap, sizeof(*l->v));
    l->v[l->n++] = v;
}

void vals_push_all(struct vals *l, struct bdoc d)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it))
        vals_push(l, it.val);
}

static uint32_t digits(uint32_t i)
{
    uint32_t n = 1;

    while (i >= 10) {
        i /= 10;
        n++;
    }
    return n;
}

static uint8_t *put_index(uint8_t *p, uint32_t i)
{
    uint32_t n = digits(i);

    for (uint32_t k = n; k-- > 0; i /= 10)
        p[k] = (uint8_t)('0' + i % 10);
    p[n] = 0;
    return p + n + 1;
}

RC vals_array(struct arena *a, const struct bval *v, uint32_t n, struct bval *out, struct err *e)
{
    size_t size = 5;

    *out = BVAL_MISSING;
    for (uint32_t i = 0; i < n; i++)
        size += 2 + digits(i) + v[i].len;
    if (size > VALS_BYTES_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE, "array of %zu bytes is above the limit of %d", size,
             VALS_BYTES_MAX);
    uint8_t *base = arena_alloc(a, size), *p = base + 4;
    put_le32(base, (uint32_t)size);
    for (uint32_t i = 0; i < n; i++) {
        *p++ = v[i].type == BT_MISSING ? BT_NULL : v[i].type;
        p = put_index(p, i);
        if (v[i].type != BT_MISSING && v[i].len) {
            memcpy(p, v[i].p, v[i].len);
            p += v[i].len;
        }
    }
    *p = 0;
    *out = (struct bval){ .type = BT_ARRAY, .len = (uint32_t)size, .p = base };
    return RC_OK;
}

RC vals_object(struct arena *a, const struct slice *names, const struct bval *v, uint32_t n,
               struct bval *out, struct err *e)
{
    size_t size = 5;

    *out = BVAL_MISSING;
    for (uint32_t i = 0; i < n; i++)
        if (v[i].type != BT_MISSING)
            size += 2 + names[i].len + v[i].len;
    if (size > VALS_BYTES_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE, "document of %zu bytes is above the limit of %d", size,
             VALS_BYTES_MAX);
    uint8_t *base = arena_alloc(a, size), *p = base + 4;
    put_le32(base, (uint32_t)size);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].type == BT_MISSING)
            continue;
        *p++ = v[i].type;
        if (names[i].len)
            memcpy(p, names[i].p, names[i].len);
        p += names[i].len;
        *p++ = 0;
        if (v[i].len)
            memcpy(p, v[i].p, v[i].len);
        p += v[i].len;
    }
    *p = 0;
    *out = (struct bval){ .type = BT_DOCUMENT, .len = (uint32_t)size, .p = base };
    return RC_OK;
}

void fields_push(struct fields *f, struct slice name, struct bval v)
{
    if (f->n == f->cap) {
        uint32_t cap = f->cap;
        grow(f->arena, (void **)&f->names, f->n, &cap, sizeof(*f->names));
        grow(f->arena, (void **)&f->v, f->n, &f->cap, sizeof(*f->v));
    }
    f->names[f->n] = name;
    f->v[f->n++] = v;
}

void fields_push_all(struct fields *f, struct bdoc d)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it))
        fields_push(f, it.name, it.val);
}

void fields_set(struct fields *f, struct slice name, struct bval v)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (slice_eq(f->names[i], name)) {
            f->v[i] = v;
            return;
        }
    }
    fields_push(f, name, v);
}

RC fields_object(const struct fields *f, struct bval *out, struct err *e)
{
    return vals_object(f->arena, f->names, f->v, f->n, out, e);
}

RC val_path(struct arena *a, struct bval v, const struct slice *parts, int n_parts,
            struct bval *out, struct err *e)
{
    for (int i = 0; i < n_parts; i++) {
        if (v.type == BT_DOCUMENT) {
            v = bdoc_get_slice(bval_doc(v), parts[i]);
            continue;
        }
        *out = BVAL_MISSING;
        if (v.type != BT_ARRAY)
            return RC_OK;
        struct vals l = vals_in(a);
        struct biter it;
        biter_init(&it, bval_doc(v));
        while (biter_next(&it)) {
            struct bval sub;
            if (it.val.type != BT_DOCUMENT)
                continue;
            TRY(val_path(a, it.val, parts + i, n_parts - i, &sub, e));
            if (!bval_is_missing(sub))
                vals_push(&l, sub);
        }
        return vals_array(a, l.v, l.n, out, e);
    }
    *out = v;
    return RC_OK;
}

/* Merge sort: stable, no recursion, n log n on any input. */
void val_sort(struct arena *tmp, struct bval *v, uint32_t n, val_cmp_fn cmp, void *arg)
{
    struct bval *from = v, *to = arena_alloc(tmp, sizeof(*v) * (n ? n : 1));

    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t lo = 0; lo < n; lo += 2 * width) {
            uint64_t mid = MIN(lo + width, (uint64_t)n), hi = MIN(lo + 2 * width, (uint64_t)n);
            uint64_t i = lo, j = mid;
            for (uint64_t k = lo; k < hi; k++)
                to[k] = i < mid && (j >= hi || cmp(&from[i], &from[j], arg) <= 0) ? from[i++]
                                                                                  : from[j++];
        }
        struct bval *t = from;
        from = to;
        to = t;
    }
    if (from != v && n)
        memcpy(v, from, sizeof(*v) * n);
}

static void set_grow(struct valset *s)
{
    uint32_t n_slots = s->n_slots ? s->n_slots * 2 : 16;
    uint32_t *slot = arena_calloc(s->arena, n_slots, sizeof(*slot));

    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t h = (uint32_t)bval_hash_in(s->collator, s->v[i]) & (n_slots - 1);
        while (slot[h])
            h = (h + 1) & (n_slots - 1);
        slot[h] = i + 1;
    }
    s->slot = slot;
    s->n_slots = n_slots;
}

int64_t valset_find(const struct valset *s, struct bval v)
{
    if (!s->n_slots)
        return -1;
    uint32_t h = (uint32_t)bval_hash_in(s->collator, v) & (s->n_slots - 1);
    for (; s->slot[h]; h = (h + 1) & (s->n_slots - 1))
        if (bval_cmp_in(s->collator, s->v[s->slot[h] - 1], v) == 0)
            return s->slot[h] - 1;
    return -1;
}

bool valset_add(struct valset *s, struct bval v)
{
    if (s->n * 4 >= s->n_slots * 3)
        set_grow(s);
    uint32_t h = (uint32_t)bval_hash_in(s->collator, v) & (s->n_slots - 1);
    for (; s->slot[h]; h = (h + 1) & (s->n_slots - 1))
        if (bval_cmp_in(s->collator, s->v[s->slot[h] - 1], v) == 0)
            return false;
    if (s->n == s->cap)
        grow(s->arena, (void **)&s->v, s->n, &s->cap, sizeof(*s->v));
    s->v[s->n] = v;
    s->slot[h] = ++s->n;
    return true;
}
