/* op_misc.c - sizes, timestamps, randomness, metadata, hashes. */
#include <stdlib.h>
#include <sys/random.h>

#include "num_priv.h"

#include "base/mem.h"

EXPR_EVAL(expr__eval_bson_size)
{
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(31393), "$bsonSize requires a document input, found: %s",
             btype_name(v.type));
    *out = bval_new_i32(env_arena(env), (int32_t)v.len);
    return RC_OK;
}

EXPR_EVAL(expr__eval_binary_size)
{
    struct bval v;
    uint8_t sub;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_STRING && v.type != BT_BINARY)
        FAIL(e, ERR_LOC(51276), "$binarySize requires a string or BinData argument, found: %s",
             btype_name(v.type));
    size_t n = v.type == BT_STRING ? bval_str(v).len : bval_bin(v, &sub).len;
    *out = bval_new_i32(env_arena(env), (int32_t)n);
    return RC_OK;
}

/* $tsSecond (aux 1), $tsIncrement (aux 0) */
EXPR_EVAL(expr__eval_ts_part)
{
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_TIMESTAMP)
        FAIL(e, x->op->aux ? ERR_LOC(5687301) : ERR_LOC(5687302),
             "Argument to $%s must be a timestamp, but is %s", x->op->name, btype_name(v.type));
    uint64_t t = bval_timestamp(v);
    *out = bval_new_i64(env_arena(env), (int64_t)(x->op->aux ? t >> 32 : t & 0xffffffffu));
    return RC_OK;
}

/* ---- randomness ---- */

static double random_unit(void)
{
    static _Thread_local uint64_t s[2];

    if (!s[0] && !s[1]) { /* seeded once a thread; $rand promises no secrecy */
        ssize_t got = getrandom(s, sizeof(s), 0);
        if (got != (ssize_t)sizeof(s) || (!s[0] && !s[1]))
            s[0] = (uint64_t)(uintptr_t)s | 1;
    }
    uint64_t a = s[0], b = s[1];
    s[0] = b;
    a ^= a << 23;
    s[1] = a ^ b ^ (a >> 17) ^ (b >> 26); /* xorshift128+ */
    return (double)((s[1] + b) >> 11) * 0x1.0p-53;
}

EXPR_EVAL(expr__eval_rand)
{
    (void)x;
    (void)e;
    *out = bval_new_double(env_arena(env), random_unit());
    return RC_OK;
}

EXPR_PARSE(expr__parse_rand)
{
    if (arg.type != BT_DOCUMENT && arg.type != BT_ARRAY)
        FAIL(e, ERR_LOC(10065), "invalid parameter: expected an object ($rand)");
    if (!bdoc_is_empty(bval_doc(arg)))
        FAIL(e, ERR_LOC(3040501), "$rand does not currently accept arguments");
    *out = expr__new_call(ps, op, 0);
    return RC_OK;
}

EXPR_EVAL(expr__eval_sample_rate)
{
    (void)e;
    *out = bval_new_bool(env_arena(env), random_unit() < bval_to_double(x->val));
    return RC_OK;
}

EXPR_PARSE(expr__parse_sample_rate)
{
    if (!bval_is_number(arg) || !(bval_to_double(arg) >= 0 && bval_to_double(arg) <= 1))
        FAIL(e, ERR_BAD_VALUE, "numeric argument between 0 and 1 is required by $sampleRate");
    struct expr *x = expr__new_call(ps, op, 0);
    x->val = arg;
    *out = x;
    return RC_OK;
}

/* ---- $meta ---- */

EXPR_EVAL(expr__eval_meta)
{
    (void)e;
    *out = qctx_meta(env->q, x->text);
    return RC_OK;
}

EXPR_PARSE(expr__parse_meta)
{
    static const char *const known[] = { "textScore",
                                         "searchScore",
                                         "searchHighlights",
                                         "geoNearDistance",
                                         "geoNearPoint",
                                         "randVal",
                                         "recordId",
                                         "indexKey",
                                         "sortKey",
                                         "searchScoreDetails",
                                         "vectorSearchScore",
                                         "timeseriesBucketMinTime",
                                         "timeseriesBucketMaxTime",
                                         "searchSequenceToken",
                                         "score",
                                         "scoreDetails" };
    bool ok = false;

    if (arg.type != BT_STRING)
        FAIL(e, ERR_LOC(17307), "$meta only supports string arguments");
    for (size_t i = 0; !ok && i < ARRAY_LEN(known); i++)
        ok = slice_eq_str(bval_str(arg), known[i]);
    if (!ok)
        FAIL(e, ERR_LOC(17308), "Unsupported argument to $meta");
    TRY(qctx_check_meta(ps->q, bval_str(arg), e));
    struct expr *x = expr__new_call(ps, op, 0);
    x->text = bval_str(arg);
    *out = x;
    return RC_OK;
}
