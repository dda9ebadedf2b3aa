/* sortby.c - sort patterns over values. */
#include "query/sortby.h"

#include "expr_priv.h"

static RC parse_dir(struct bval v, int code, int *dir, struct err *e)
{
    int64_t n;

    if (!bval_is_number(v) || !bval_to_i64(v, &n) || (n != 1 && n != -1))
        FAIL(e, ERR_LOC(code), "sort direction must be 1 or -1");
    *dir = (int)n;
    return RC_OK;
}

RC sort_by_parse(struct arena *a, struct bval spec, struct sort_by *out, struct err *e)
{
    struct biter it;
    int i = 0;

    *out = (struct sort_by){ 0 };
    if (bval_is_number(spec)) {
        out->keys = ARENA_ARRAY(a, struct sort_by_key, 1);
        TRY(parse_dir(spec, 2942506, &out->keys[0].dir, e));
        out->n = 1;
        return RC_OK;
    }
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(2942507), "sortBy must be an object or a sort direction, found %s",
             btype_name(spec.type));
    if (bdoc_is_empty(bval_doc(spec)) || bdoc_count(bval_doc(spec)) > SORT_KEYS_MAX)
        FAIL(e, ERR_LOC(2942505), "sortBy must have between 1 and %d keys", SORT_KEYS_MAX);
    out->keys = ARENA_ARRAY(a, struct sort_by_key, bdoc_count(bval_doc(spec)));
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        TRY(expr__split_key(a, it.name, &out->keys[i].parts, &out->keys[i].n_parts, e));
        TRY(parse_dir(it.val, 2942505, &out->keys[i].dir, e));
        out->n = ++i;
    }
    return RC_OK;
}

int sort_by_cmp(const struct sort_by *s, struct bval x, struct bval y)
{
    for (int i = 0; i < s->n; i++) {
        const struct sort_by_key *k = &s->keys[i];
        struct bval kx = x, ky = y;
        /* A key too large to build counts as missing: order is then by the other keys. */
        if (k->n_parts && val_path(s->scratch, x, k->parts, k->n_parts, &kx, NULL).failed)
            kx = BVAL_MISSING;
        if (k->n_parts && val_path(s->scratch, y, k->parts, k->n_parts, &ky, NULL).failed)
            ky = BVAL_MISSING;
        if (k->n_parts && bval_is_missing(kx))
            kx = bval_new_null();
        if (k->n_parts && bval_is_missing(ky))
            ky = bval_new_null();
        int c = val__cmp(s->collator, kx, ky);
        if (c)
            return c * k->dir;
    }
    return 0;
}
