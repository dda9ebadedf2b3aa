/* fuzz: links cmd exec coll index catalog store keys identity crypto query_agg query_update query_project query_match query_expr bsonx query_collate */
/* A valid document as a command's body: generic arguments and the command's own are refused or taken, and what was taken is what the table promises. */
#include <stdlib.h>
#include <string.h>

#include "cmd_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taken {
    struct bval any, doc, array, timestamp;
    struct slice str, uuid;
    bool strict, safe;
    int64_t n, positive, natural;
};

static const struct arg table[] = {
    ARG(struct taken, any, "any", ARG_ANY, 0),
    ARG(struct taken, str, "str", ARG_STR, ARG_REQUIRED),
    ARG(struct taken, doc, "doc", ARG_DOC, ARG_UNSTABLE),
    ARG(struct taken, array, "array", ARG_ARRAY, 0),
    ARG(struct taken, strict, "strict", ARG_BOOL, 0),
    ARG(struct taken, safe, "safe", ARG_SAFE_BOOL, 0),
    ARG(struct taken, n, "n", ARG_I64, 0),
    ARG(struct taken, positive, "positive", ARG_I64, ARG_POSITIVE),
    ARG(struct taken, natural, "natural", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct taken, timestamp, "timestamp", ARG_TIMESTAMP, 0),
    ARG(struct taken, uuid, "uuid", ARG_UUID, 0),
    ARG_SKIP("ignored"),
};

static void inside(struct bdoc d, struct slice s)
{
    if (s.len && (s.p < d.p || s.p + s.len > d.p + d.len))
        abort();
}

static void check(struct bdoc d, const struct taken *t)
{
    if (!t->str.p || t->positive < 1 || t->natural < 0)
        abort();
    inside(d, t->str);
    inside(d, t->uuid);
    if (t->uuid.p && t->uuid.len != 16)
        abort();
    if ((!bval_is_missing(t->doc) && t->doc.type != BT_DOCUMENT) ||
        (!bval_is_missing(t->array) && t->array.type != BT_ARRAY) ||
        (!bval_is_missing(t->timestamp) && t->timestamp.type != BT_TIMESTAMP))
        abort();
    if (!bval_is_missing(t->doc))
        inside(d, SLICE(bval_doc(t->doc).p, bval_doc(t->doc).len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct node node;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err e = { 0 };
    struct bdoc d;

    if (bdoc_validate(data, size, QUERY_DEPTH_MAX - 20, &d, &e).failed || bdoc_is_empty(d)) {
        err_reset(&e);
        return 0;
    }
    struct taken own = { .positive = 1 }, sub = { .positive = 1 };
    struct cmd_req r = { .node = &node,
                         .arena = a,
                         .scratch = a,
                         .body = d,
                         .db = SLICE_LIT("t"),
                         .wire = CMD_OP_MSG,
                         .start_us = 1,
                         .def = cmd_find(SLICE_LIT("insert")) };
    if (!cmd_parse_generic(&r, &e).failed &&
        !cmd_args(&r, table, ARRAY_LEN(table), &own, &e).failed)
        check(d, &own);
    err_reset(&e);
    if (!cmd_fields(d, "what", table, ARRAY_LEN(table), &sub, &e).failed)
        check(d, &sub);
    err_reset(&e);
    return 0;
}
