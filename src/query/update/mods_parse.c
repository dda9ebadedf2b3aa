/* mods_parse.c - the operands of the update operators on fields. Those on arrays are in mods_array_parse.c. */
#include "base/mem.h"
#include "update_priv.h"

static const struct {
    const char *name;
    enum update__op op;
} ops[] = {
    { "$set", MOD_SET },
    { "$setOnInsert", MOD_SET_ON_INSERT },
    { "$unset", MOD_UNSET },
    { "$inc", MOD_INC },
    { "$mul", MOD_MUL },
    { "$min", MOD_MIN },
    { "$max", MOD_MAX },
    { "$rename", MOD_RENAME_FROM },
    { "$currentDate", MOD_CURRENT_DATE },
    { "$bit", MOD_BIT },
    { "$push", MOD_PUSH },
    { "$addToSet", MOD_ADD_TO_SET },
    { "$pop", MOD_POP },
    { "$pull", MOD_PULL },
    { "$pullAll", MOD_PULL_ALL },
};

const char *update__op_name(enum update__op op)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (ops[i].op == op)
            return ops[i].name;
    }
    return "$rename";
}

bool update__is_operator(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (slice_eq_str(name, ops[i].name))
            return true;
    }
    return false;
}

static RC number_operand(const struct update__mod *m, struct err *e)
{
    if (!bval_is_number(m->operand))
        FAIL(e, ERR_TYPE_MISMATCH, "cannot %s with non-numeric argument: {%.*s: %s}",
             m->op == MOD_INC ? "increment" : "multiply", (int)m->path.text.len, m->path.text.p,
             btype_name(m->operand.type));
    return RC_OK;
}

static RC current_date(struct update__mod *m, struct err *e)
{
    struct biter it;

    if (m->operand.type == BT_BOOL)
        return RC_OK;
    if (m->operand.type != BT_DOCUMENT)
        FAIL(
            e, ERR_BAD_VALUE,
            "%s is not a valid type for $currentDate. Please use a boolean ('true') or a $type expression ({$type: 'timestamp/date'})",
            btype_name(m->operand.type));
    bool found = false;

    biter_init(&it, bval_doc(m->operand));
    while (biter_next(&it)) {
        if (!slice_eq_str(it.name, "$type"))
            FAIL(e, ERR_BAD_VALUE, "unrecognized $currentDate option: %.*s", (int)it.name.len,
                 it.name.p);
        found = it.val.type == BT_STRING && (slice_eq_str(bval_str(it.val), "date") ||
                                             slice_eq_str(bval_str(it.val), "timestamp"));
        if (!found)
            break;
        m->timestamp = slice_eq_str(bval_str(it.val), "timestamp");
    }
    if (!found)
        FAIL(e, ERR_BAD_VALUE, "the '$type' string field is required to be 'date' or 'timestamp'");
    return RC_OK;
}

static RC bit(struct qctx *q, struct update__mod *m, struct err *e)
{
    struct update__bit *bits;
    struct biter it;

    if (m->operand.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "the $bit modifier is not compatible with a %s; it takes an object",
             btype_name(m->operand.type));
    if (bdoc_is_empty(bval_doc(m->operand)))
        FAIL(e, ERR_BAD_VALUE, "you must pass in at least one bitwise operation");
    bits = ARENA_ARRAY(q->arena, struct update__bit, bdoc_count(bval_doc(m->operand)));
    m->bits = bits;
    biter_init(&it, bval_doc(m->operand));
    while (biter_next(&it)) {
        if (!slice_eq_str(it.name, "and") && !slice_eq_str(it.name, "or") &&
            !slice_eq_str(it.name, "xor"))
            FAIL(e, ERR_BAD_VALUE,
                 "the $bit modifier only supports 'and', 'or', and 'xor', not '%.*s'",
                 (int)it.name.len, it.name.p);
        if (it.val.type != BT_INT32 && it.val.type != BT_INT64)
            FAIL(e, ERR_BAD_VALUE, "the $bit modifier field must be an integer, not %s",
                 btype_name(it.val.type));
        bits[m->n_bits++] = (struct update__bit){ .op = (char)it.name.p[0], .operand = it.val };
    }
    return RC_OK;
}

static RC no_positional(const struct update__path *p, const char *which, struct err *e)
{
    for (int i = 0; i < p->n; i++) {
        if (p->parts[i].p[0] == '$' && (p->parts[i].len == 1 || p->parts[i].p[1] == '['))
            FAIL(e, ERR_BAD_VALUE, "the %s field for $rename may not be dynamic: %.*s", which,
                 (int)p->text.len, p->text.p);
    }
    return RC_OK;
}

static bool is_prefix(const struct update__path *a, const struct update__path *b)
{
    if (a->n > b->n)
        return false;
    for (int i = 0; i < a->n; i++) {
        if (!slice_eq(a->parts[i], b->parts[i]))
            return false;
    }
    return true;
}

/* rename(): checks the target; the caller adds a second modification for it. */
static RC rename_target(struct qctx *q, struct update__mod *m, struct err *e)
{
    struct update__path to;

    if (m->operand.type != BT_STRING)
        FAIL(e, ERR_BAD_VALUE, "the 'to' field for $rename must be a string: %.*s",
             (int)m->path.text.len, m->path.text.p);
    TRY(update__path_parse(q->arena, bval_str(m->operand), &to, e));
    if (is_prefix(&to, &m->path) || is_prefix(&m->path, &to))
        FAIL(e, ERR_BAD_VALUE,
             "the source and target field for $rename must not be on the same path");
    TRY(no_positional(&m->path, "source", e));
    return no_positional(&to, "destination", e);
}

RC update__mod_parse(struct qctx *q, struct update__mod *m, struct slice op, struct err *e)
{
    size_t i = 0;

    while (i < ARRAY_LEN(ops) && !slice_eq_str(op, ops[i].name))
        i++;
    INVARIANT(i < ARRAY_LEN(ops)); /* the caller asked update__is_operator() */
    m->op = ops[i].op;
    m->collator = q->collator;
    switch (m->op) {
    case MOD_INC:
    case MOD_MUL: return number_operand(m, e);
    case MOD_CURRENT_DATE: return current_date(m, e);
    case MOD_BIT: return bit(q, m, e);
    case MOD_RENAME_FROM: return rename_target(q, m, e);
    case MOD_PUSH: return update__push_parse(q, m, e);
    case MOD_ADD_TO_SET: return update__add_to_set_parse(q, m, e);
    case MOD_POP: return update__pop_parse(m, e);
    case MOD_PULL: return update__pull_parse(q, m, e);
    case MOD_PULL_ALL: return update__pull_all_parse(q, m, e);
    default: return RC_OK; /* $set, $setOnInsert, $unset, $min, $max take anything */
    }
}
