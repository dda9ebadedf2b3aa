/* predicate.c - the operands of $geoWithin and $geoIntersects, and the test of a stored value. */
#include "base/mem.h"
#include "geo_priv.h"

static RC check_relation(const struct geo_shape *s, enum geo_relation relation, struct err *e)
{
    if (relation == GEO_WITHIN) {
        bool holds = s->kind == GEO__SPHERE ? s->n_polygons > 0 : s->kind != GEO__PAIR;

        if (!holds)
            FAIL(e, ERR_BAD_VALUE, "$within not supported with provided geometry");
        return RC_OK;
    }
    if (s->kind != GEO__SPHERE && !(s->kind == GEO__PAIR && s->points[0].on_sphere))
        FAIL(e, ERR_BAD_VALUE, "$geoIntersects not supported with provided geometry");
    return RC_OK;
}

RC geo_parse_predicate(struct qctx *q, enum geo_relation relation, struct bval operand,
                       struct geo_shape **out, struct err *e)
{
    struct geo_shape *s = ARENA_NEW(q->arena, struct geo_shape);
    struct biter it;
    bool found = false;

    *out = NULL;
    if (operand.type != BT_DOCUMENT && operand.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "geometry must be an object");
    biter_init(&it, bval_doc(operand));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "$uniqueDocs"))
            continue;
        if (found)
            FAIL(e, ERR_BAD_VALUE, "geo predicates do not accept multiple shapes");
        found = true;
        if (slice_eq_str(it.name, "$geometry"))
            TRY(geo__parse(q, q->arena, it.val, true, s, e));
        else
            TRY(geo__parse_legacy_shape(q, it.name, it.val, s, e));
    }
    if (!found)
        FAIL(e, ERR_BAD_VALUE, "a geo predicate needs a shape");
    TRY(check_relation(s, relation, e));
    *out = s;
    return RC_OK;
}

static RC test(struct qctx *q, const struct geo_shape *shape, enum geo_relation relation,
               const struct geo_shape *s, bool *out, struct err *e)
{
    if (s->n_polygons == 1 && s->polygons[0].strict)
        return RC_OK; /* only a query may be larger than half of the sphere */
    return relation == GEO_WITHIN ? geo__within(q, shape, s, out, e)
                                  : geo__intersects(q, shape, s, out, e);
}

RC geo_test(struct qctx *q, const struct geo_shape *shape, enum geo_relation relation,
            struct bval v, bool *out, struct err *e)
{
    struct arena *a = q->scratch ? q->scratch : q->arena;
    struct arena_mark mark = arena_mark(a);
    struct geo_shape s;
    bool is_shape;

    *out = false;
    rc_t rc = geo__parse_stored(q, a, v, &s, &is_shape, e);
    if (is_shape)
        rc = test(q, shape, relation, &s, out, e);
    arena_rewind(a, mark);
    return rc;
}
