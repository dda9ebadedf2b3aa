/* fuzz: links bsonx query_expr */
/* Two documents, one behind the other: {e: expression} and what it is evaluated on. Parsing refuses, or evaluation ends within its budget; the value
 * is BSON, and evaluating once more gives it again. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "bsonx/bw.h"
#include "fuzz_docs.h"
#include "query/expr.h"
#include "query/vals.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 64 << 20 };

static void note(struct slice path, void *arg)
{
    (void)path;
    ++*(int *)arg;
}

/* as_doc(): the value in a document, which must be one; a result that is too large for one is not looked at. */
static bool as_doc(struct arena *a, struct bval v, struct bdoc *out)
{
    struct slice name = SLICE_LIT("v");
    struct err e = { 0 };
    struct bval o;

    if (vals_object(a, &name, &v, 1, &o, &e).failed)
        return false;
    *out = bval_doc(o);
    if (bdoc_deeper_than(*out, 400)) /* a stage refuses it; the validator recurses */
        return false;
    struct bdoc check;
    if (bdoc_validate(out->p, out->len, 500, &check, &e).failed)
        abort();
    return true;
}

static void evaluate(struct qctx *q, struct bdoc spec, struct bdoc doc)
{
    struct bval root = bval_of_doc(doc, BT_DOCUMENT), v, again;
    struct expr_env env = { .q = q, .root = root, .current = root };
    struct bdoc a, b;
    struct err e = { 0 };
    struct expr *x;
    bool whole = false;
    int n = 0;

    if (expr_parse(q, bdoc_get(spec, "e"), &x, &e).failed)
        return;
    expr_deps(x, note, &n, &whole);
    if (expr_eval(x, &env, &v, &e).failed) {
        if (e.code == ERR_NONE)
            abort();
        return;
    }
    if (expr_is_const(x, &again) && !bval_eq(v, again))
        abort();
    if (!as_doc(q->scratch, v, &a))
        return;
    if (expr_eval(x, &env, &again, &e).failed || !as_doc(q->scratch, again, &b))
        return; /* the budget is for both */
    if (!slice_eq(SLICE(a.p, a.len), SLICE(b.p, b.len)) &&
        !memmem(spec.p, spec.len, "$rand", 5)) /* and $$-variables do not change within a request */
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qctx q = { .arena = arena_new(BUDGET),
                      .scratch = arena_new(BUDGET),
                      .let = BDOC_EMPTY,
                      .now_ms = 1500000000000 };
    struct bdoc d[2];

    if (fuzz_docs(q.arena, data, size, d, 2) == 2)
        evaluate(&q, d[0], d[1]);
    arena_free(q.arena);
    arena_free(q.scratch);
    return 0;
}
