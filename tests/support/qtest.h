/* qtest.h - what the tests of the query modules share: a request's context, documents from JSON, results as JSON. */
#ifndef TEST_QTEST_H
#define TEST_QTEST_H

#include "unit.h"

#include "base/mem.h"
#include "bsonx/bw.h"
#include "query/qctx.h"

struct qtest {
    struct qctx q;
    struct buf text;
};

static inline void qtest_open(struct qtest *t)
{
    *t = (struct qtest){ .q = { .arena = arena_new(0),
                                .scratch = arena_new(0),
                                .let = BDOC_EMPTY,
                                .now_ms = 1700000000123 } };
}

static inline void qtest_close(struct qtest *t)
{
    arena_free(t->q.arena);
    arena_free(t->q.scratch);
    buf_fini(&t->text);
}

static inline struct bdoc qtest_doc(struct qtest *t, const char *json)
{
    struct err e = { 0 };
    struct bdoc d;

    if (bdoc_from_json(t->q.arena, json, &d, &e).failed)
        fail_msg("%s: %s", json, e.msg);
    return d;
}

/* qtest_json(): valid until the next call. */
static inline const char *qtest_json(struct qtest *t, struct bdoc d)
{
    buf_clear(&t->text);
    bval_to_json(bval_of_doc(d, BT_DOCUMENT), &t->text);
    return buf_cstr(&t->text);
}

#endif
