/* regex.c - regular expressions over PCRE2, with limits on time, depth and memory that a hostile pattern cannot pass. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "match_priv.h"

enum {
    PATTERN_MAX = 16384,
    MATCH_LIMIT = 1000000,
    DEPTH_LIMIT = 10000,
    HEAP_LIMIT_KIB = 16 * 1024
};

struct match__regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    struct slice pattern, flags; /* flags in alphabetical order */
};

static void free_regex(void *arg)
{
    struct match__regex *r = arg;

    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->limits);
    pcre2_code_free(r->code);
}

static RC parse_flags(struct qctx *q, struct slice flags, uint32_t *options, struct slice *sorted,
                      struct err *e)
{
    static const char known[] = "imsux";
    bool seen[sizeof(known)] = { false };
    char text[sizeof(known)];
    size_t n = 0;

    *options = PCRE2_UTF; /* \d, \w and \b speak of ASCII unless the pattern starts with (*UCP) */
    for (size_t i = 0; i < flags.len; i++) {
        const char *at = flags.p[i] ? strchr(known, flags.p[i]) : NULL;

        if (!at)
            FAIL(e, ERR_LOC(51108), "invalid flag in regex options");
        seen[at - known] = true;
    }
    for (size_t i = 0; known[i]; i++) {
        if (seen[i])
            text[n++] = known[i];
    }
    *options |= (seen[0] ? PCRE2_CASELESS : 0) | (seen[1] ? PCRE2_MULTILINE : 0) |
                (seen[2] ? PCRE2_DOTALL : 0) | (seen[4] ? PCRE2_EXTENDED : 0);
    *sorted = SLICE(arena_strndup(q->arena, text, n), n);
    return RC_OK;
}

RC match__regex_parse(struct qctx *q, struct slice pattern, struct slice flags,
                      struct match__regex **out, struct err *e)
{
    struct match__regex *r = ARENA_NEW(q->arena, struct match__regex);
    uint32_t options;
    PCRE2_SIZE where;
    int code;
    char text[120];

    *out = NULL;
    TRY(parse_flags(q, flags, &options, &r->flags, e));
    if (pattern.len > PATTERN_MAX)
        FAIL(e, ERR_LOC(51091), "regular expression is invalid: longer than %d bytes", PATTERN_MAX);
    r->pattern = pattern;
    r->code = pcre2_compile(pattern.p, pattern.len, options, &code, &where, NULL);
    if (!r->code) {
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
        FAIL(e, ERR_LOC(51091), "regular expression is invalid: %s at offset %zu", text,
             (size_t)where);
    }
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it the interpreter does */
    r->data = pcre2_match_data_create(1, NULL);
    r->limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(r->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(r->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(r->limits, HEAP_LIMIT_KIB);
    arena_defer(q->arena, free_regex, r);
    *out = r;
    return RC_OK;
}

bool match__regex_run(struct match__eval *ev, const struct match__regex *r, struct slice text)
{
    const uint8_t *p = text.p ? text.p : (const uint8_t *)"";
    /* Documents were validated when they came in, so the text is UTF-8. */
    int rc = pcre2_match(r->code, p, text.len, 0, PCRE2_NO_UTF_CHECK, r->data, r->limits);

    /* the interpreter keeps its stack on the heap, within the limit */
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(r->code, p, text.len, 0, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->data,
                         r->limits);
    if (rc >= 0)
        return true;
    if (rc != PCRE2_ERROR_NOMATCH && !ev->failed) {
        ev->failed = err_set(ev->e, ERR_LOC(51156), __FILE__, __LINE__,
                             "regular expression exceeded its limits (PCRE2 error %d)", rc)
                         .failed;
    }
    return false;
}

bool match__regex_test(struct match__eval *ev, const struct match__regex *r, struct bval v)
{
    struct slice pattern, flags;

    if (v.type == BT_STRING || v.type == BT_SYMBOL)
        return match__regex_run(ev, r, bval_str(v));
    if (v.type != BT_REGEX)
        return false;
    bval_regex(v, &pattern, &flags);
    return slice_eq(pattern, r->pattern) && slice_eq(flags, r->flags);
}

void match__regex_source(const struct match__regex *r, struct slice *pattern, struct slice *flags)
{
    *pattern = r->pattern;
    *flags = r->flags;
}
