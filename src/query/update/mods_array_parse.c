/* mods_array_parse.c - the operands of $push, $addToSet, $pop, $pull and $pullAll. */
#include "update_priv.h"

static void list_of(struct qctx *q, struct bval array, const struct bval **out, int *n)
{
    struct bval *v = ARENA_ARRAY(q->arena, struct bval, bdoc_count(bval_doc(array)) + 1);
    struct biter it;

    *n = 0;
    biter_init(&it, bval_doc(array));
    while (biter_next(&it))
        v[(*n)++] = it.val;
    *out = v;
}

static void one(struct qctx *q, struct update__mod *m)
{
    m->each = arena_dup(q->arena, &m->operand, sizeof(m->operand));
    m->n_each = 1;
}

static RC whole_number(struct bval v, const char *what, int64_t *out, struct err *e)
{
    *out = 0;
    if (!bval_is_number(v))
        FAIL(e, ERR_BAD_VALUE, "the value for %s must be an integer value but was given type: %s",
             what, btype_name(v.type));
    if (!bval_to_i64(v, out))
        FAIL(e, ERR_BAD_VALUE, "the value for %s must be an integer value", what);
    return RC_OK;
}

static RC direction(struct bval v, bool *descending, struct err *e)
{
    int64_t dir = 0;

    if (!bval_is_number(v) || !bval_to_i64(v, &dir) || (dir != 1 && dir != -1))
        FAIL(e, ERR_BAD_VALUE, "the $sort element value must be either 1 or -1");
    *descending = dir < 0;
    return RC_OK;
}

static RC sort_keys(struct qctx *q, struct update__mod *m, struct bdoc spec, struct err *e)
{
    struct update__sort_key *keys;
    struct biter it;

    if (bdoc_is_empty(spec))
        FAIL(e, ERR_BAD_VALUE, "the $sort pattern is empty when it should be a set of fields");
    keys = ARENA_ARRAY(q->arena, struct update__sort_key, bdoc_count(spec));
    m->sort = keys;
    biter_init(&it, spec);
    while (biter_next(&it)) {
        struct update__sort_key *k = &keys[m->n_sort++];
        struct err why = { 0 };

        TRY(direction(it.val, &k->descending, e));
        if (update__path_parse(q->arena, it.name, &k->path, &why).failed)
            FAIL(e, ERR_BAD_VALUE, "the $sort field is not a valid path: '%.*s'", (int)it.name.len,
                 it.name.p);
    }
    return RC_OK;
}

static RC sort_clause(struct qctx *q, struct update__mod *m, struct bval v, struct err *e)
{
    m->has_sort = true;
    if (v.type == BT_DOCUMENT)
        return sort_keys(q, m, bval_doc(v), e);
    if (!bval_is_number(v))
        FAIL(
            e, ERR_BAD_VALUE,
            "the $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields");
    m->sort_whole = true;
    return direction(v, &m->sort_descending, e);
}

RC update__push_parse(struct qctx *q, struct update__mod *m, struct err *e)
{
    struct biter it;

    if (m->operand.type != BT_DOCUMENT ||
        bval_is_missing(bdoc_get(bval_doc(m->operand), "$each"))) {
        one(q, m);
        return RC_OK;
    }
    biter_init(&it, bval_doc(m->operand));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "$each")) {
            if (it.val.type != BT_ARRAY)
                FAIL(e, ERR_BAD_VALUE,
                     "the argument to $each in $push must be an array but it was of type: %s",
                     btype_name(it.val.type));
            list_of(q, it.val, &m->each, &m->n_each);
        } else if (slice_eq_str(it.name, "$slice")) {
            TRY(whole_number(it.val, "$slice", &m->slice, e));
            m->has_slice = true;
        } else if (slice_eq_str(it.name, "$position")) {
            TRY(whole_number(it.val, "$position", &m->position, e));
            m->has_position = true;
        } else if (slice_eq_str(it.name, "$sort")) {
            TRY(sort_clause(q, m, it.val, e));
        } else {
            FAIL(e, ERR_BAD_VALUE, "unrecognized clause in $push: %.*s", (int)it.name.len,
                 it.name.p);
        }
    }
    return RC_OK;
}

RC update__add_to_set_parse(struct qctx *q, struct update__mod *m, struct err *e)
{
    struct biter it;

    if (m->operand.type != BT_DOCUMENT) {
        one(q, m);
        return RC_OK;
    }
    biter_init(&it, bval_doc(m->operand));
    if (!biter_next(&it) || !slice_eq_str(it.name, "$each")) {
        one(q, m);
        return RC_OK;
    }
    if (it.val.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH,
             "the argument to $each in $addToSet must be an array but it was of type %s",
             btype_name(it.val.type));
    list_of(q, it.val, &m->each, &m->n_each);
    if (biter_next(&it))
        FAIL(e, ERR_BAD_VALUE, "found unexpected fields after $each in $addToSet: %.*s",
             (int)it.name.len, it.name.p);
    return RC_OK;
}

RC update__pop_parse(struct update__mod *m, struct err *e)
{
    int64_t which = 0;

    if (!bval_is_number(m->operand) || !bval_to_i64(m->operand, &which) ||
        (which != 1 && which != -1))
        FAIL(e, ERR_FAILED_TO_PARSE, "$pop expects 1 or -1");
    m->pop_first = which < 0;
    return RC_OK;
}

/* is_condition(): {$gt: 1} is about the element itself; {x: 1} and {$or: [...]} are queries on elements that are documents. */
static bool is_condition(struct bval v)
{
    static const char *const logical[] = { "$and",        "$or",    "$nor",  "$expr", "$comment",
                                           "$jsonSchema", "$where", "$text", "$each" };
    struct biter it;

    biter_init(&it, bval_doc(v));
    if (!biter_next(&it) || it.name.len == 0 || it.name.p[0] != '$')
        return false;
    for (size_t i = 0; i < sizeof(logical) / sizeof(logical[0]); i++) {
        if (slice_eq_str(it.name, logical[i]))
            return false;
    }
    return true;
}

RC update__pull_parse(struct qctx *q, struct update__mod *m, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    m->pull = PULL_EQUAL;
    if (m->operand.type == BT_DOCUMENT && !is_condition(m->operand)) {
        m->pull = PULL_DOC;
        return match_parse(q, bval_doc(m->operand), MATCH_NO_EXPR, &m->match, e);
    }
    if (m->operand.type != BT_DOCUMENT && m->operand.type != BT_REGEX)
        return RC_OK;
    bw_init(&w, &b); /* the element stands for the path "" */
    bw_val(&w, "", m->operand);
    m->pull = PULL_VALUE;
    return match_parse(q, bw_done_arena(&w, q->arena), MATCH_NO_EXPR, &m->match, e);
}

RC update__pull_all_parse(struct qctx *q, struct update__mod *m, struct err *e)
{
    if (m->operand.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "$pullAll requires an array argument but was given a %s",
             btype_name(m->operand.type));
    list_of(q, m->operand, &m->each, &m->n_each);
    return RC_OK;
}
