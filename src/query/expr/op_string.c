/* op_string.c - $concat, $substr..., $strLen..., $indexOf..., $split and letter case. Case is ASCII's only, as MongoDB's. */
#include "num_priv.h"
#include "text_priv.h"

#include "base/mem.h"

EXPR_EVAL(expr__eval_concat)
{
    struct arena *a = env_arena(env);
    struct slice *parts = ARENA_ARRAY(a, struct slice, (size_t)x->n_args + 1);
    size_t len = 0, at = 0;

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            *out = val_null();
            return RC_OK;
        }
        if (v.type != BT_STRING)
            FAIL(e, ERR_LOC(16702), "$concat only supports strings, not %s", btype_name(v.type));
        parts[i] = bval_str(v);
        len += parts[i].len;
        if (len >= STRING_BYTES_MAX)
            FAIL(e, ERR_LOC(16493), "$concat makes a string above the limit of %d bytes",
                 STRING_BYTES_MAX);
    }
    uint8_t *p = arena_alloc(a, len + 1);
    for (int i = 0; i < x->n_args; i++) {
        if (parts[i].len)
            memcpy(p + at, parts[i].p, parts[i].len);
        at += parts[i].len;
    }
    return val__new_str(a, SLICE(p, len), out, e);
}

EXPR_EVAL(expr__eval_case)
{
    struct arena *a = env_arena(env);
    struct bval v;
    struct slice s;
    char low = x->op->aux ? 'a' : 'A';

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(val__to_string(a, v, &s, e));
    uint8_t *p = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (uint8_t)(s.p[i] >= low && s.p[i] <= low + 25 ? s.p[i] ^ 0x20 : s.p[i]);
    return val__new_str(a, SLICE(p, s.len), out, e);
}

EXPR_EVAL(expr__eval_strcasecmp)
{
    struct bval v;
    struct slice s[2];
    int c = 0;

    for (int i = 0; i < 2; i++) {
        TRY(expr__arg(x, i, env, &v, e));
        TRY(val__to_string(env_arena(env), v, &s[i], e));
    }
    for (size_t i = 0; c == 0 && i < MIN(s[0].len, s[1].len); i++) {
        int a = s[0].p[i], b = s[1].p[i];
        a = a >= 'a' && a <= 'z' ? a - 32 : a;
        b = b >= 'a' && b <= 'z' ? b - 32 : b;
        c = (a > b) - (a < b);
    }
    if (c == 0)
        c = (s[0].len > s[1].len) - (s[0].len < s[1].len);
    *out = bval_new_i32(env_arena(env), c);
    return RC_OK;
}

EXPR_EVAL(expr__eval_str_len)
{
    bool cp = x->op->aux;
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (v.type != BT_STRING)
        FAIL(e, cp ? ERR_LOC(34471) : ERR_LOC(34473), "$%s requires a string argument, found: %s",
             x->op->name, btype_name(v.type));
    *out = bval_new_i32(env_arena(env), (int32_t)(cp ? text_count(bval_str(v)) : bval_str(v).len));
    return RC_OK;
}

/* ---- $substrBytes ---- */

static RC sub_number(struct bval v, int code, const char *what, int64_t *out, struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(code), "$substrBytes: %s must be a numeric type (is BSON type %s)", what,
             btype_name(v.type));
    return num__to_long(v, out, e);
}

static bool is_continuation(struct slice s, size_t i)
{
    return i < s.len && (s.p[i] & 0xc0) == 0x80;
}

EXPR_EVAL(expr__eval_substr_bytes)
{
    struct bval v, from, count;
    struct slice s;
    int64_t start, len;

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(expr__arg(x, 1, env, &from, e));
    TRY(expr__arg(x, 2, env, &count, e));
    TRY(val__to_string(env_arena(env), v, &s, e));
    TRY(sub_number(from, 16034, "starting index", &start, e));
    TRY(sub_number(count, 16035, "length", &len, e));
    if (start < 0)
        FAIL(e, ERR_LOC(50752), "$substrBytes: starting index must be non-negative (got: %lld)",
             (long long)start);
    if ((uint64_t)start >= s.len)
        return val__new_str(env_arena(env), SLICE_LIT(""), out, e);
    if (is_continuation(s, (size_t)start))
        FAIL(e, ERR_LOC(28656),
             "$substrBytes:  Invalid range, starting index is a UTF-8 continuation byte.");
    size_t n =
        len < 0 || (uint64_t)len > s.len - (size_t)start ? s.len - (size_t)start : (size_t)len;
    if (is_continuation(s, (size_t)start + n))
        FAIL(e, ERR_LOC(28657),
             "$substrBytes:  Invalid range, ending index is in the middle of a UTF-8 character.");
    return val__new_str(env_arena(env), SLICE(s.p + start, n), out, e);
}

/* ---- $substrCP ---- */

static RC cp_number(struct bval v, int not_number, int not_int, const char *what, int32_t *out,
                    struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(not_number), "$substrCP: %s must be a numeric type (is BSON type %s)", what,
             btype_name(v.type));
    if (!num__to_i32(v, out))
        FAIL(e, ERR_LOC(not_int), "$substrCP: %s cannot be represented as a 32-bit integral value",
             what);
    return RC_OK;
}

EXPR_EVAL(expr__eval_substr_cp)
{
    struct bval v, from, count;
    struct slice s;
    int32_t start, len;

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(expr__arg(x, 1, env, &from, e));
    TRY(expr__arg(x, 2, env, &count, e));
    TRY(val__to_string(env_arena(env), v, &s, e));
    TRY(cp_number(from, 34450, 34451, "starting index", &start, e));
    TRY(cp_number(count, 34452, 34453, "length", &len, e));
    if (len < 0)
        FAIL(e, ERR_LOC(34454), "$substrCP: length must be a nonnegative integer.");
    if (start < 0)
        FAIL(e, ERR_LOC(34455), "$substrCP: starting index must be a nonnegative integer.");
    size_t a = text_offset(s, (size_t)start);
    struct slice rest = SLICE(s.p + a, s.len - a);
    return val__new_str(env_arena(env), SLICE(rest.p, text_offset(rest, (size_t)len)), out, e);
}

/* ---- $indexOfBytes, $indexOfCP ---- */

static RC index_bound(const struct expr *x, struct bval v, int64_t *out, struct err *e)
{
    int32_t n;

    if (!num__to_i32(v, &n))
        FAIL(e, ERR_LOC(40096), "$%s requires an integral index, found a value of type: %s",
             x->op->name, btype_name(v.type));
    if (n < 0)
        FAIL(e, ERR_LOC(40097), "$%s requires a nonnegative index, found: %d", x->op->name, n);
    *out = n;
    return RC_OK;
}

EXPR_EVAL(expr__eval_index_of)
{
    bool cp = x->op->aux, given;
    struct bval v, needle, b;
    int64_t from = 0, to = INT64_MAX;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_STRING)
        FAIL(e, cp ? ERR_LOC(40093) : ERR_LOC(40091),
             "$%s requires a string as the first argument, found: %s", x->op->name,
             btype_name(v.type));
    TRY(expr__arg(x, 1, env, &needle, e));
    if (needle.type != BT_STRING)
        FAIL(e, cp ? ERR_LOC(40094) : ERR_LOC(40092),
             "$%s requires a string as the second argument, found: %s", x->op->name,
             btype_name(needle.type));
    TRY(expr__opt(x, 2, env, &given, &b, e));
    if (given)
        TRY(index_bound(x, b, &from, e));
    TRY(expr__opt(x, 3, env, &given, &b, e));
    if (given)
        TRY(index_bound(x, b, &to, e));
    struct slice s = bval_str(v), n = bval_str(needle);
    int64_t len = (int64_t)(cp ? text_count(s) : s.len);
    *out = bval_new_i32(env_arena(env), -1);
    if (from > len || to < from)
        return RC_OK;
    if (cp) { /* a match must start before the end, but may reach past it */
        size_t begin = text_offset(s, (size_t)from);
        size_t hit = text_find(s, n, begin);
        int64_t at = hit == SIZE_MAX ? -1 : (int64_t)text_count(SLICE(s.p, hit));
        if (at >= 0 && (at < MIN(to, len) || (len == 0 && n.len == 0)))
            *out = bval_new_i32(env_arena(env), (int32_t)at);
        return RC_OK;
    }
    size_t at = text_find(SLICE(s.p, to >= len ? s.len : (size_t)to), n, (size_t)from);
    if (at != SIZE_MAX)
        *out = bval_new_i32(env_arena(env), (int32_t)at);
    return RC_OK;
}

/* ---- $split ---- */

EXPR_EVAL(expr__eval_split)
{
    struct vals l = vals_in(env_arena(env));
    struct bval v, sep, part;

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(expr__arg(x, 1, env, &sep, e));
    if (bval_is_nullish(v) || bval_is_nullish(sep)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_STRING)
        FAIL(
            e, ERR_LOC(40085),
            "$split requires an expression that evaluates to a string as a first argument, found: %s",
            btype_name(v.type));
    if (sep.type != BT_STRING)
        FAIL(
            e, ERR_LOC(10503900),
            "$split requires an expression that evaluates to a string as a second argument, found: %s",
            btype_name(sep.type));
    struct slice s = bval_str(v), d = bval_str(sep);
    if (d.len == 0)
        FAIL(e, ERR_LOC(40087), "$split requires a non-empty separator");
    for (size_t at = 0;;) {
        size_t hit = text_find(s, d, at);
        size_t end = hit == SIZE_MAX ? s.len : hit;
        TRY(val__new_str(l.arena, SLICE(s.p + at, end - at), &part, e));
        vals_push(&l, part);
        if (hit == SIZE_MAX)
            break;
        at = hit + d.len;
        if ((l.n & 0xfff) == 0)
            TRY(qctx_check(env->q, e));
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}
