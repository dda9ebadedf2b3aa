/* loop.c - closed loops of great-circle arcs: which points they hold, and what two of them are to each other.
 *
 * A point is inside when the arc to it from a fixed origin, whose side is known, crosses the loop an odd number of times. Two loops are compared by
 * their crossings and, where they share a corner, by the order of their edges around it.
 */
#include <math.h>

#include "geo_priv.h"

static struct geo__vec at(const struct geo__loop *l, int i)
{
    return l->v[i % l->n];
}

bool geo__loop_vertex(const struct geo__loop *l, struct geo__vec p)
{
    for (int i = 0; i < l->n; i++) {
        if (geo__vec_eq(l->v[i], p))
            return true;
    }
    return false;
}

static bool has(const struct geo__loop *l, struct geo__vec p)
{
    struct geo__vec origin = geo__origin();
    bool inside = l->origin_inside;

    for (int i = 0; i < l->n; i++)
        inside ^= geo__crosses(origin, p, l->v[i], at(l, i + 1));
    return inside;
}

bool geo__loop_has(const struct geo__loop *l, struct geo__vec p)
{
    struct geo__vec c = l->centre;

    return c.x * p.x + c.y * p.y + c.z * p.z >= l->reach && has(l, p);
}

/* find_reach(): a cap around the corners holds the edges too when it is less than half of the sphere, and the inside when it lacks what is opposite. */
static void find_reach(struct geo__loop *l)
{
    struct geo__vec sum = { 0, 0, 0 };
    double least = 1;

    l->reach = -2;
    for (int i = 0; i < l->n; i++)
        sum = (struct geo__vec){ sum.x + l->v[i].x, sum.y + l->v[i].y, sum.z + l->v[i].z };
    double len = sqrt(sum.x * sum.x + sum.y * sum.y + sum.z * sum.z);
    if (!(len > 0.01 * l->n))
        return;
    l->centre = (struct geo__vec){ sum.x / len, sum.y / len, sum.z / len };
    for (int i = 0; i < l->n; i++) {
        double cosine = l->centre.x * l->v[i].x + l->centre.y * l->v[i].y + l->centre.z * l->v[i].z;
        least = cosine < least ? cosine : least;
    }
    if (least > 0.01 && !has(l, geo__opposite(l->centre)))
        l->reach = least - 1e-9;
}

void geo__loop_init(struct geo__loop *l)
{
    l->origin_inside = false;
    struct geo__vec corner = at(l, 1);
    bool inside = geo__ordered(geo__ortho(corner), at(l, 0), at(l, 2), corner);

    l->origin_inside = inside != has(l, corner);
    find_reach(l);
}

void geo__loop_normalize(struct geo__loop *l)
{
    double turns = 0;

    for (int i = 0; i < l->n; i++)
        turns += geo__turn(at(l, i), at(l, i + 1), at(l, i + 2));
    if (turns >= -1e-14)
        return;
    for (int i = 0, k = l->n - 1; i < k; i++, k--) {
        struct geo__vec v = l->v[i];
        l->v[i] = l->v[k];
        l->v[k] = v;
    }
    geo__loop_init(l);
}

/* ---- validity ---- */

static RC look(struct qctx *q, uint64_t *steps, struct err *e)
{
    return ++*steps % GEO__STEPS == 0 ? qctx_check(q, e) : RC_OK;
}

RC geo__loop_check(struct qctx *q, const struct geo__loop *l, struct err *e)
{
    uint64_t steps = 0;

    if (l->n < 3)
        FAIL(e, ERR_BAD_VALUE,
             "Loop must have at least 3 different vertices, %d unique vertices were provided",
             l->n);
    for (int i = 0; i < l->n; i++) {
        for (int k = i + 1; k < l->n; k++) {
            TRY(look(q, &steps, e));
            if (geo__vec_eq(l->v[i], l->v[k]))
                FAIL(e, ERR_BAD_VALUE, "Loop is not valid: duplicate vertices: %d and %d", i, k);
            if (k > i + 1 && geo__crossing(l->v[i], l->v[i + 1], l->v[k], at(l, k + 1)) > 0)
                FAIL(e, ERR_BAD_VALUE, "Loop is not valid: edges %d and %d cross", i, k);
        }
    }
    return RC_OK;
}

/* ---- two loops ---- */

struct compare {
    bool crossing;      /* edges cross at inner points */
    bool not_contained; /* at a shared corner, a leaves some of b out */
    bool meeting;       /* at a shared corner, the insides overlap */
};

/* at_corner(): a and b share the corner a[i], b[k]; the insides are to the left of both. */
static void at_corner(const struct geo__loop *a, int i, const struct geo__loop *b, int k,
                      struct compare *c)
{
    struct geo__vec o = at(a, i), a0 = at(a, i + a->n - 1), a2 = at(a, i + 1),
                    b0 = at(b, k + b->n - 1), b2 = at(b, k + 1);

    if (!geo__ordered(a2, b2, b0, o) || !geo__ordered(b0, a0, a2, o))
        c->not_contained = true;
    if (!geo__ordered(a0, b2, b0, o) || !geo__ordered(b0, a2, a0, o))
        c->meeting = true;
}

static RC compare(struct qctx *q, const struct geo__loop *a, const struct geo__loop *b,
                  struct compare *c, struct err *e)
{
    uint64_t steps = 0;

    *c = (struct compare){ 0 };
    for (int i = 0; i < a->n && !c->crossing; i++) {
        for (int k = 0; k < b->n && !c->crossing; k++) {
            TRY(look(q, &steps, e));
            int x = geo__crossing(a->v[i], at(a, i + 1), b->v[k], at(b, k + 1));

            c->crossing = x > 0;
            if (x == 0 && geo__vec_eq(at(a, i + 1), at(b, k + 1)))
                at_corner(a, i + 1, b, k + 1, c);
        }
    }
    return RC_OK;
}

/* holds_free_corner(): a holds the first corner of b, and it is none of a's own. */
static bool holds_free_corner(const struct geo__loop *a, const struct geo__loop *b)
{
    return geo__loop_has(a, b->v[0]) && !geo__loop_vertex(a, b->v[0]);
}

RC geo__loop_contains(struct qctx *q, const struct geo__loop *a, const struct geo__loop *b,
                      bool *out, struct err *e)
{
    struct compare c;

    *out = false;
    if (!geo__loop_has(a, b->v[0]) && !geo__loop_vertex(a, b->v[0]))
        return RC_OK;
    TRY(compare(q, a, b, &c, e));
    *out = !c.crossing && !c.not_contained && !holds_free_corner(b, a);
    return RC_OK;
}

RC geo__loop_intersects(struct qctx *q, const struct geo__loop *a, const struct geo__loop *b,
                        bool *out, struct err *e)
{
    struct compare c;

    *out = holds_free_corner(a, b) || holds_free_corner(b, a);
    if (*out)
        return RC_OK;
    TRY(compare(q, a, b, &c, e));
    *out = c.crossing || c.meeting;
    return RC_OK;
}
