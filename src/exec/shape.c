/* shape.c - what of a query decides which plans it has to choose from, as text: the predicates without their operands, the order, the fields that are needed, the collation.
 * Conditions that stand beside each other are sorted, so it does not matter in which order they were written. The text is compared and hashed, never parsed.
 */
#include "exec_priv.h"

#include <stdlib.h>

static const char *const codes[MATCH_OP_NR] = {
    [MATCH_AND] = "an",
    [MATCH_OR] = "or",
    [MATCH_NOR] = "nr",
    [MATCH_NOT] = "nt",
    [MATCH_EQ] = "eq",
    [MATCH_GT] = "gt",
    [MATCH_GTE] = "ge",
    [MATCH_LT] = "lt",
    [MATCH_LTE] = "le",
    [MATCH_IN] = "in",
    [MATCH_EXISTS] = "ex",
    [MATCH_TYPE] = "ty",
    [MATCH_REGEX] = "re",
    [MATCH_SIZE] = "sz",
    [MATCH_MOD] = "mo",
    [MATCH_ALL] = "al",
    [MATCH_ELEM_MATCH_OBJECT] = "eo",
    [MATCH_ELEM_MATCH_VALUE] = "ev",
    [MATCH_BITS] = "bt",
    [MATCH_GEO_WITHIN] = "gw",
    [MATCH_GEO_INTERSECTS] = "gi",
    [MATCH_GEO_NEAR] = "gn",
    [MATCH_EXPR] = "xp",
    [MATCH_JSON_SCHEMA] = "js",
    [MATCH_TRUE] = "at",
    [MATCH_FALSE] = "af",
};

struct texts {
    struct arena *a;
    struct slice *v;
    int n, cap;
};

static void add_text(struct texts *t, struct slice s)
{
    if (t->n == t->cap) {
        struct slice *v = ARENA_ARRAY(t->a, struct slice, (size_t)t->cap * 2 + 8);
        if (t->n)
            memcpy(v, t->v, (size_t)t->n * sizeof(*v));
        t->v = v;
        t->cap = t->cap * 2 + 8;
    }
    t->v[t->n++] = SLICE(arena_dup(t->a, s.p, s.len), s.len);
}

static int cmp_texts(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* put_texts(): sorted, each once if `set`. */
static void put_texts(struct texts *t, bool set, struct buf *out)
{
    if (t->n > 1)
        qsort(t->v, (size_t)t->n, sizeof(t->v[0]), cmp_texts);
    for (int i = 0; i < t->n; i++) {
        if (set && i && slice_eq(t->v[i], t->v[i - 1]))
            continue;
        buf_push_u8(out, ',');
        buf_push(out, t->v[i].p, t->v[i].len);
    }
}

/* Names of fields may hold any byte but NUL: which ends them here. */
static void put_name(struct buf *out, struct slice name)
{
    buf_push(out, name.p, name.len);
    buf_push_u8(out, 0);
}

/* Every field that an expression names. */
static void expression_paths(struct texts *t, struct bval v)
{
    struct biter it;

    if (v.type == BT_STRING && slice_has_prefix(bval_str(v), SLICE_LIT("$")))
        add_text(t, bval_str(v));
    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        return;
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "$literal"))
            expression_paths(t, it.val);
}

static void put_node(struct arena *a, const struct match_node *n, struct buf *out);

static void put_children(struct arena *a, const struct match_node *n, struct buf *out)
{
    struct texts t = { .a = a };

    for (int i = 0; i < n->n_children; i++) {
        AUTO(buf_fini) struct buf b = BUF_INIT;
        put_node(a, n->children[i], &b);
        if (b.len)
            add_text(&t, buf_view(&b));
    }
    buf_push_u8(out, '[');
    put_texts(&t, false, out);
    buf_push_u8(out, ']');
}

/* Which of the operators that share a node it is. */
static void put_bits(struct arena *a, const struct match_node *n, struct buf *out)
{
    struct match_node *one = arena_dup(a, n, sizeof(*n)), and = { .op = MATCH_AND,
                                                                  .children = &one,
                                                                  .n_children = 1 };
    struct match m = { .root = &and};
    struct biter it;

    biter_init(&it, match_to_bson(&m, a));
    if (biter_next(&it) && it.val.type == BT_DOCUMENT) {
        biter_init(&it, bval_doc(it.val));
        if (!biter_next(&it))
            return;
    }
    put_name(out, it.name);
}

static void put_node(struct arena *a, const struct match_node *n, struct buf *out)
{
    struct texts paths = { .a = a };
    struct slice pattern, flags;

    if (n->op == MATCH_COMMENT)
        return;
    buf_printf(out, "%s", codes[n->op]);
    put_name(out, n->path);
    switch (n->op) {
    case MATCH_BITS: put_bits(a, n, out); break;
    case MATCH_EXPR:
        expression_paths(&paths, n->operand);
        put_texts(&paths, true, out);
        break;
    case MATCH_JSON_SCHEMA: bval_to_json(n->operand, out); break;
    case MATCH_REGEX:
        if (n->operand.type == BT_REGEX) {
            bval_regex(n->operand, &pattern, &flags);
            put_name(out, flags);
        }
        break;
    default: break;
    }
    if (n->n_children)
        put_children(a, n, out);
}

static void put_sort(struct bdoc sort, struct buf *out)
{
    struct biter it;

    biter_init(&it, sort);
    while (biter_next(&it)) {
        buf_push(out, "|s", 2);
        if (bval_is_number(it.val))
            buf_push_u8(out, bval_to_double(it.val) < 0 ? '-' : '+');
        else
            bval_to_json(it.val, out);
        put_name(out, it.name);
    }
}

static void note_field(struct slice path, void *arg)
{
    add_text(arg, path);
}

void exec_shape(const struct exec_spec *s, struct buf *out)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct texts fields = { .a = a };
    bool whole = true;

    if (s->match)
        put_node(a, s->match->root, out);
    put_sort(s->sort, out);
    if (s->project) {
        whole = false;
        project_deps(s->project, note_field, &fields, &whole);
    }
    if (!whole) {
        buf_push(out, "|p", 2);
        put_texts(&fields, true, out);
    }
    if (s->shape_more.len) {
        buf_push(out, "|m", 2);
        buf_push(out, s->shape_more.p, s->shape_more.len);
    }
    if (s->q->collator) {
        buf_push(out, "|c", 2);
        bval_to_json(bval_of_doc(collation_doc(s->q->collator), BT_DOCUMENT), out);
    }
}
