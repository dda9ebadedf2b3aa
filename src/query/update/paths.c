/* paths.c - the dotted paths of an update. */
#include "update_priv.h"

RC update__path_parse(struct arena *a, struct slice text, struct update__path *out, struct err *e)
{
    struct slice *parts;
    size_t start = 0;
    int n = 1, at = 0, positional = 0;

    *out = (struct update__path){ .text = text };
    if (memchr(text.p, 0, text.len))
        FAIL(e, ERR_LOC(9867600), "the update path contains a null byte");
    for (size_t i = 0; i < text.len; i++)
        n += text.p[i] == '.';
    if (n > UPDATE_PATH_PARTS_MAX)
        FAIL(e, ERR_OVERFLOW, "the update path has more than %d components", UPDATE_PATH_PARTS_MAX);
    parts = ARENA_ARRAY(a, struct slice, (size_t)n);
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.p[i] != '.')
            continue;
        if (i == start)
            FAIL(e, ERR_EMPTY_FIELD_NAME,
                 "the update path '%.*s' contains an empty field name, which is not allowed",
                 (int)text.len, text.p);
        parts[at++] = SLICE(text.p + start, i - start);
        start = i + 1;
    }
    for (int i = 0; i < n; i++)
        positional += slice_eq_str(parts[i], "$");
    if (positional > 1)
        FAIL(e, ERR_BAD_VALUE, "too many positional (i.e. '$') elements found in path '%.*s'",
             (int)text.len, text.p);
    if (slice_eq_str(parts[0], "$") || slice_has_prefix(parts[0], SLICE_LIT("$[")))
        FAIL(e, ERR_BAD_VALUE,
             "cannot have a positional element in the first position in path '%.*s'", (int)text.len,
             text.p);
    out->parts = parts;
    out->n = n;
    return RC_OK;
}

bool update__index(struct slice name, uint32_t *out)
{
    uint32_t x = 0;

    *out = 0;
    if (name.len == 0 || name.len > 9 || (name.len > 1 && name.p[0] == '0'))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] < '0' || name.p[i] > '9')
            return false;
        x = x * 10 + (uint32_t)(name.p[i] - '0');
    }
    *out = x;
    return true;
}

int update__name_cmp(struct slice a, struct slice b)
{
    uint32_t x, y;

    if (update__index(a, &x) && update__index(b, &y))
        return (x > y) - (x < y);
    return slice_cmp(a, b);
}

struct bval update__path_get(struct bdoc d, const struct update__path *p, struct bval *blocked)
{
    struct bval v = bval_of_doc(d, BT_DOCUMENT);

    *blocked = BVAL_MISSING;
    for (int i = 0; i < p->n; i++) {
        if (v.type == BT_MISSING)
            return v;
        if (v.type != BT_DOCUMENT) {
            *blocked = v;
            return BVAL_MISSING;
        }
        v = bdoc_get_slice(bval_doc(v), p->parts[i]);
    }
    return v;
}

int update__value_depth(struct bval v)
{
    struct biter it;
    int deepest = 0;

    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        return 0;
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        int depth = update__value_depth(it.val);

        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}
