/* op_regex.c - $regexMatch, $regexFind, $regexFindAll over PCRE2 (UTF), with match limits.
 *
 * A constant pattern is compiled once, while parsing, and freed with the arena. Positions are counted in code points.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text_priv.h"

#include "base/mem.h"

enum {
    PATTERN_BYTES_MAX = 16384,
    MATCH_LIMIT = 1000000,
    DEPTH_LIMIT = 20000,
    HEAP_LIMIT_KB = 64 * 1024
};

static void free_code(void *p)
{
    pcre2_code_free(p);
}

static RC compile(struct arena *a, struct slice pattern, struct slice flags, pcre2_code **out,
                  struct err *e)
{
    uint32_t opts = PCRE2_UTF;
    PCRE2_SIZE at;
    int rc;

    *out = NULL;
    for (size_t i = 0; i < flags.len; i++) {
        switch (flags.p[i]) {
        case 'i': opts |= PCRE2_CASELESS; break;
        case 'm': opts |= PCRE2_MULTILINE; break;
        case 's': opts |= PCRE2_DOTALL; break;
        case 'x': opts |= PCRE2_EXTENDED; break;
        case 'u': break;
        default: FAIL(e, ERR_LOC(51108), "invalid flag in regex options: %c", flags.p[i]);
        }
    }
    if (pattern.len > PATTERN_BYTES_MAX)
        FAIL(e, ERR_LOC(51111), "Invalid Regex: pattern is longer than %d bytes",
             PATTERN_BYTES_MAX);
    pcre2_code *code = pcre2_compile(pattern.p ? pattern.p : (const uint8_t *)"", pattern.len, opts,
                                     &rc, &at, NULL);
    if (!code)
        FAIL(e, ERR_LOC(51111), "Invalid Regex in the pattern at offset %zu", at);
    arena_defer(a, free_code, code);
    *out = code;
    return RC_OK;
}

/* What the three arguments say: a pattern (null: no match), and its flags. */
static RC pattern_of(const struct expr *x, struct bval rx, bool has_options, struct bval ov,
                     struct slice *pattern, struct slice *flags, bool *is_null, struct err *e)
{
    *is_null = false;
    *pattern = *flags = SLICE_EMPTY;
    if (has_options && !bval_is_nullish(ov) && ov.type != BT_STRING)
        FAIL(e, ERR_LOC(51106), "$%s needs 'options' to be of type string", x->op->name);
    if (bval_is_nullish(rx)) {
        *is_null = true;
    } else if (rx.type == BT_REGEX) {
        bval_regex(rx, pattern, flags);
        if (flags->len && has_options && !bval_is_nullish(ov))
            FAIL(e, ERR_LOC(51107),
                 "$%s found regex option(s) specified in both 'regex' and 'option' fields",
                 x->op->name);
    } else if (rx.type == BT_STRING) {
        *pattern = bval_str(rx);
        if (pattern->len && memchr(pattern->p, 0, pattern->len))
            FAIL(e, ERR_LOC(51109), "$%s: regular expression cannot contain an embedded null byte",
                 x->op->name);
    } else {
        FAIL(e, ERR_LOC(51105), "$%s needs 'regex' to be of type string or regex", x->op->name);
    }
    if (has_options && ov.type == BT_STRING) {
        *flags = bval_str(ov);
        if (flags->len && memchr(flags->p, 0, flags->len))
            FAIL(e, ERR_LOC(51110),
                 "$%s: regular expression options cannot contain an embedded null byte",
                 x->op->name);
    }
    return RC_OK;
}

struct finder {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *ctx;
};

static void finder_fini(struct finder *f)
{
    pcre2_match_data_free(f->data);
    pcre2_match_context_free(f->ctx);
}

static RC find_next(struct finder *f, struct slice s, size_t from, uint32_t opts, bool *hit,
                    struct err *e)
{
    int rc = pcre2_match(f->code, s.p, s.len, from, opts, f->data, f->ctx);

    *hit = rc >= 0;
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        FAIL(e, ERR_LOC(51156),
             "Error occurred while executing the regular expression: result code %d", rc);
    return RC_OK;
}

static RC match_object(struct finder *f, struct arena *a, struct slice s, size_t cp_base,
                       size_t byte_base, struct bval *out, struct err *e)
{
    static const struct slice names[3] = { { (const uint8_t *)"match", 5 },
                                           { (const uint8_t *)"idx", 3 },
                                           { (const uint8_t *)"captures", 8 } };
    PCRE2_SIZE *ov = pcre2_get_ovector_pointer(f->data);
    uint32_t n = pcre2_get_ovector_count(f->data);
    struct vals caps = vals_in(a);
    struct bval v[3];

    TRY(val__new_str(a, SLICE(s.p + ov[0], ov[1] - ov[0]), &v[0], e));
    v[1] =
        bval_new_i32(a, (int32_t)(cp_base + text_count(SLICE(s.p + byte_base, ov[0] - byte_base))));
    for (uint32_t i = 1; i < n; i++) {
        struct bval c = val_null();
        if (ov[2 * i] != PCRE2_UNSET)
            TRY(val__new_str(a, SLICE(s.p + ov[2 * i], ov[2 * i + 1] - ov[2 * i]), &c, e));
        vals_push(&caps, c);
    }
    TRY(vals_array(a, caps.v, caps.n, &v[2], e));
    return vals_object(a, names, v, 3, out, e);
}

static RC find_all(struct finder *f, struct qctx *q, struct slice s, struct bval *out,
                   struct err *e)
{
    struct vals l = vals_in(q->scratch);
    size_t at = 0, cp = 0, cp_at = 0;
    bool hit;

    do { /* once at least, so that an empty text can match; else only before a character */
        struct bval m;
        TRY(qctx_check(q, e));
        TRY(find_next(f, s, at, at ? PCRE2_NO_UTF_CHECK : 0, &hit, e));
        if (!hit)
            break;
        PCRE2_SIZE *ov = pcre2_get_ovector_pointer(f->data);
        TRY(match_object(f, l.arena, s, cp, cp_at, &m, e));
        vals_push(&l, m);
        cp += text_count(SLICE(s.p + cp_at, ov[0] - cp_at));
        cp_at = ov[0];
        at = ov[1] > ov[0] ? ov[1] : ov[1] >= s.len ? s.len : text_next(s, ov[1]);
    } while (at < s.len);
    return vals_array(l.arena, l.v, l.n, out, e);
}

static RC run(const struct expr *x, struct expr_env *env, pcre2_code *code, struct slice s,
              struct bval *out, struct err *e)
{
    AUTO(finder_fini) struct finder f = { .code = code };
    struct slice subject = SLICE(s.p ? s.p : (const uint8_t *)"", s.len);
    bool hit;

    f.data = pcre2_match_data_create_from_pattern(code, NULL);
    f.ctx = pcre2_match_context_create(NULL);
    if (!f.data || !f.ctx)
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT, "could not allocate memory for a regular expression");
    pcre2_set_match_limit(f.ctx, MATCH_LIMIT);
    pcre2_set_depth_limit(f.ctx, DEPTH_LIMIT);
    pcre2_set_heap_limit(f.ctx, HEAP_LIMIT_KB);
    if (x->op->aux == REGEX_FIND_ALL)
        return find_all(&f, env->q, subject, out, e);
    TRY(find_next(&f, subject, 0, 0, &hit, e));
    if (x->op->aux == REGEX_MATCH)
        *out = bval_new_bool(env_arena(env), hit);
    else if (!hit)
        *out = val_null();
    else
        return match_object(&f, env_arena(env), subject, 0, 0, out, e);
    return RC_OK;
}

EXPR_EVAL(expr__eval_regex)
{
    struct bval v, rx, ov;
    struct slice pattern, flags;
    bool given, no_pattern;
    pcre2_code *code = x->impl;

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(expr__arg(x, 1, env, &rx, e));
    TRY(expr__opt(x, 2, env, &given, &ov, e));
    TRY(pattern_of(x, rx, given, ov, &pattern, &flags, &no_pattern, e));
    if (!bval_is_nullish(v) && v.type != BT_STRING)
        FAIL(e, ERR_LOC(51104), "$%s needs 'input' to be of type string", x->op->name);
    if (!no_pattern && !code)
        TRY(compile(env_arena(env), pattern, flags, &code, e));
    if (no_pattern || bval_is_nullish(v)) {
        if (x->op->aux == REGEX_FIND_ALL)
            return vals_array(env_arena(env), NULL, 0, out, e);
        *out = x->op->aux == REGEX_MATCH ? bval_new_bool(env_arena(env), false) : val_null();
        return RC_OK;
    }
    return run(x, env, code, bval_str(v), out, e);
}

EXPR_PARSE(expr__parse_regex)
{
    struct expr *x;
    struct bval rx, ov = BVAL_MISSING;
    struct slice pattern, flags;
    bool no_pattern;

    TRY(expr__parse_named(ps, op, arg, &x, e));
    *out = x;
    if (x->kind == EXPR_CONST || !expr_is_const(x->args[1], &rx) ||
        (x->args[2] && !expr_is_const(x->args[2], &ov)))
        return RC_OK;
    TRY(pattern_of(x, rx, x->args[2] != NULL, ov, &pattern, &flags, &no_pattern, e));
    if (!no_pattern) {
        pcre2_code *code;
        TRY(compile(ps->q->arena, pattern, flags, &code, e));
        x->impl = code;
    }
    return RC_OK;
}
