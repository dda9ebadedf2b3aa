/* op_string2.c - $trim and its halves, $replaceOne and $replaceAll. */
#include "text_priv.h"

#include "base/mem.h"

/* ---- $trim, $ltrim, $rtrim: input, chars ---- */

/* White space of Unicode, and NUL, as MongoDB trims by default. */
static bool is_default_trim(struct slice cp)
{
    static const char *const set[] = {
        "\t",           "\n",           "\v",
        "\f",           "\r",           " ",
        "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80",
        "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
        "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
        "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89",
        "\xe2\x80\x8a",
    };

    if (cp.len == 1 && cp.p[0] == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(set); i++)
        if (slice_eq_str(cp, set[i]))
            return true;
    return false;
}

static bool in_trim_set(struct slice cp, bool by_default, struct slice chars)
{
    if (by_default)
        return is_default_trim(cp);
    for (size_t at = 0; at < chars.len;) {
        size_t next = text_next(chars, at);
        if (slice_eq(cp, SLICE(chars.p + at, next - at)))
            return true;
        at = next;
    }
    return false;
}

EXPR_EVAL(expr__eval_trim)
{
    struct bval v, cv;
    struct slice chars = SLICE_EMPTY;
    bool given;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_STRING)
        FAIL(e, ERR_LOC(50699), "$%s requires its input to be a string, got %s", x->op->name,
             btype_name(v.type));
    TRY(expr__opt(x, 1, env, &given, &cv, e));
    if (given && bval_is_nullish(cv)) {
        *out = val_null();
        return RC_OK;
    }
    if (given && cv.type != BT_STRING)
        FAIL(e, ERR_LOC(50700), "$%s requires 'chars' to be a string, got %s", x->op->name,
             btype_name(cv.type));
    if (given)
        chars = bval_str(cv);
    struct slice s = bval_str(v);
    size_t from = 0, to = s.len;
    while ((x->op->aux & TRIM_LEFT) && from < to) {
        size_t next = text_next(s, from);
        if (!in_trim_set(SLICE(s.p + from, next - from), !given, chars))
            break;
        from = next;
    }
    while ((x->op->aux & TRIM_RIGHT) && to > from) {
        size_t prev = to - 1;
        while (prev > from && (s.p[prev] & 0xc0) == 0x80)
            prev--;
        if (!in_trim_set(SLICE(s.p + prev, to - prev), !given, chars))
            break;
        to = prev;
    }
    return val__new_str(env_arena(env), SLICE(s.p + from, to - from), out, e);
}

/* ---- $replaceOne, $replaceAll: input, find, replacement ---- */

static RC replace_all(struct qctx *q, struct slice s, struct slice find, struct slice with,
                      bool all, struct bval *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    size_t at = 0;

    for (uint32_t n = 0; at <= s.len; n++) {
        size_t hit = n > 0 && !all ? SIZE_MAX : text_find(s, find, at);
        size_t end = hit == SIZE_MAX ? s.len : hit;
        /* an empty needle matches before each byte sequence */
        if (find.len == 0 && hit != SIZE_MAX && n > 0) {
            end = hit = text_next(s, at);
            if (at >= s.len)
                break;
        }
        buf_push(&b, s.p + at, end - at);
        if (b.len >= STRING_BYTES_MAX)
            break;
        if (hit == SIZE_MAX)
            break;
        buf_push(&b, with.p, with.len);
        at = hit + find.len;
        if ((n & 0xfff) == 0xfff)
            TRY(qctx_check(q, e));
    }
    return val__new_str(q->scratch, buf_view(&b), out, e);
}

EXPR_EVAL(expr__eval_replace)
{
    static const int codes[3] = { 10503904, 10503901, 10503902 };
    struct bval v[3];
    bool is_null = false;

    for (int i = 0; i < 3; i++)
        TRY(expr__arg(x, i, env, &v[i], e));
    for (int i = 0; i < 3; i++) {
        if (bval_is_nullish(v[i]))
            is_null = true;
        else if (v[i].type != BT_STRING)
            FAIL(e, ERR_LOC(codes[i]), "$%s requires that '%s' be a string, found: %s", x->op->name,
                 x->op->named->params[i].name, btype_name(v[i].type));
    }
    if (is_null) {
        *out = val_null();
        return RC_OK;
    }
    return replace_all(env->q, bval_str(v[0]), bval_str(v[1]), bval_str(v[2]), x->op->aux, out, e);
}
