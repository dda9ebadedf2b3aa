/* mods_apply.c - what one modification makes of one value. */
#include <stdatomic.h>

#include "base/mem.h"
#include "bsonx/dec.h"
#include "update_priv.h"

/* arithmetic(): int with int stays int and grows to long; a long that overflows is an error; decimal beats double beats integer. */
static RC arithmetic(struct update__apply *a, const struct update__mod *m, struct bval x,
                     struct bval y, struct bval *out, struct err *e)
{
    struct arena *s = a->q->scratch;
    bool mul = m->op == MOD_MUL;
    int64_t i = 0;

    if (x.type == BT_DECIMAL128 || y.type == BT_DECIMAL128) {
        struct dec128 p = bval_to_dec(x), q = bval_to_dec(y);

        *out = bval_new_dec(s, mul ? dec_mul(p, q, NULL) : dec_add(p, q, NULL));
        return RC_OK;
    }
    if (x.type == BT_DOUBLE || y.type == BT_DOUBLE) {
        double p = bval_to_double(x), q = bval_to_double(y);

        *out = bval_new_double(s, mul ? p * q : p + q);
        return RC_OK;
    }
    int64_t p = 0, q = 0;

    bval_to_i64(x, &p);
    bval_to_i64(y, &q);
    if (!(mul ? i64_mul(p, q, &i) : i64_add(p, q, &i)))
        FAIL(e, ERR_BAD_VALUE,
             "failed to apply %s operations to current value of %.*s: it would overflow a long",
             update__op_name(m->op), (int)m->path.text.len, m->path.text.p);
    if (x.type == BT_INT32 && y.type == BT_INT32 && i >= INT32_MIN && i <= INT32_MAX)
        *out = bval_new_i32(s, (int32_t)i);
    else
        *out = bval_new_i64(s, i);
    return RC_OK;
}

static RC number(struct update__apply *a, const struct update__mod *m, struct bval old,
                 struct bval *out, struct err *e)
{
    if (old.type == BT_MISSING) {
        if (m->op == MOD_INC) {
            *out = m->operand;
            return RC_OK;
        }
        switch (m->operand.type) { /* zero of the operand's type */
        case BT_INT32: *out = bval_new_i32(a->q->scratch, 0); break;
        case BT_INT64: *out = bval_new_i64(a->q->scratch, 0); break;
        case BT_DOUBLE: *out = bval_new_double(a->q->scratch, 0); break;
        default: *out = bval_new_dec(a->q->scratch, DEC_ZERO); break;
        }
        return RC_OK;
    }
    if (!bval_is_number(old))
        FAIL(e, ERR_TYPE_MISMATCH,
             "cannot apply %s to a value of non-numeric type: the field '%.*s' is of type %s",
             update__op_name(m->op), (int)m->path.text.len, m->path.text.p, btype_name(old.type));
    return arithmetic(a, m, old, m->operand, out, e);
}

static RC bit(struct update__apply *a, const struct update__mod *m, struct bval old,
              struct bval *out, struct err *e)
{
    bool is_long = old.type == BT_INT64;
    int64_t v = 0, x = 0;

    if (old.type != BT_MISSING && old.type != BT_INT32 && old.type != BT_INT64)
        FAIL(e, ERR_BAD_VALUE,
             "cannot apply $bit to a value of non-integral type: the field '%.*s' is of type %s",
             (int)m->path.text.len, m->path.text.p, btype_name(old.type));
    if (old.type != BT_MISSING)
        bval_to_i64(old, &v);
    for (int i = 0; i < m->n_bits; i++) {
        bval_to_i64(m->bits[i].operand, &x);
        is_long |= m->bits[i].operand.type == BT_INT64;
        v = m->bits[i].op == 'a' ? v & x : m->bits[i].op == 'o' ? v | x : v ^ x;
    }
    *out = is_long ? bval_new_i64(a->q->scratch, v) : bval_new_i32(a->q->scratch, (int32_t)v);
    return RC_OK;
}

static struct bval now(struct update__apply *a, bool timestamp)
{
    static _Atomic uint32_t counter;

    if (!timestamp)
        return bval_new_date(a->q->scratch, a->q->now_ms);
    uint64_t seconds = (uint64_t)(a->q->now_ms / 1000);

    return bval_new_timestamp(a->q->scratch, seconds << 32 | (atomic_fetch_add(&counter, 1) + 1));
}

bool update__mod_creates(const struct update__apply *a, const struct update__mod *m)
{
    struct bval blocked;

    switch (m->op) {
    case MOD_UNSET:
    case MOD_RENAME_FROM:
    case MOD_POP:
    case MOD_PULL:
    case MOD_PULL_ALL: return false;
    case MOD_SET_ON_INSERT: return a->inserting;
    case MOD_RENAME_TO: return !bval_is_missing(update__path_get(a->root, &m->from, &blocked));
    default: return true;
    }
}

bool update__mod_needs_path(const struct update__mod *m)
{
    return m->op == MOD_POP || m->op == MOD_PULL || m->op == MOD_PULL_ALL;
}

RC update__mod_apply(struct update__apply *a, const struct update__mod *m, struct bval old,
                     struct bval *out, bool *keep, struct err *e)
{
    struct bval blocked;

    *out = BVAL_MISSING;
    *keep = false;
    switch (m->op) {
    case MOD_SET: *out = m->operand; return RC_OK;
    case MOD_SET_ON_INSERT:
        *out = m->operand;
        *keep = !a->inserting;
        return RC_OK;
    case MOD_UNSET:
    case MOD_RENAME_FROM: return RC_OK;
    case MOD_RENAME_TO:
        *out = update__path_get(a->root, &m->from, &blocked);
        *keep = bval_is_missing(*out);
        return RC_OK;
    case MOD_INC:
    case MOD_MUL:
        TRY(number(a, m, old, out, e));
        *keep = old.type == out->type && bval_eq(old, *out); /* -0.0 + 0.0 changes nothing */
        return RC_OK;
    case MOD_MIN:
    case MOD_MAX: {
        int c = old.type == BT_MISSING ? 0 : bval_cmp_in(a->q->collator, m->operand, old);

        *out = m->operand;
        *keep = old.type != BT_MISSING && (m->op == MOD_MIN ? c >= 0 : c <= 0);
        return RC_OK;
    }
    case MOD_CURRENT_DATE: *out = now(a, m->timestamp); return RC_OK;
    case MOD_BIT: return bit(a, m, old, out, e);
    default: return update__array_apply(a, m, old, out, keep, e);
    }
}
