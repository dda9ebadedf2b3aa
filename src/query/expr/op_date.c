/* op_date.c - parts of a date: $year ... $isoWeek, $dateToParts, $dateFromParts. */
#include "date_priv.h"
#include "num_priv.h"

#include "base/mem.h"

/* Every operator with a timezone argument gets a slot where tz_arg() keeps a constant zone. */
static struct expr *with_zone_slot(struct expr_parser *ps, struct expr *x)
{
    if (x->kind == EXPR_CALL)
        x->impl = ARENA_NEW(ps->q->arena, struct tz *);
    return x;
}

EXPR_PARSE(expr__parse_dated)
{
    TRY(expr__parse_named(ps, op, arg, out, e));
    *out = with_zone_slot(ps, *out);
    return RC_OK;
}

/* ---- one part: args date, timezone ---- */

EXPR_EVAL(expr__eval_date_part)
{
    struct arena *a = env_arena(env);
    struct date_parts p;
    struct bval v;
    struct tz z;
    bool is_null;
    int64_t ms;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    TRY(date_of(v, 16006, &ms, e));
    TRY(tz_arg(x, 1, env, &z, &is_null, e));
    if (is_null) {
        *out = val_null();
        return RC_OK;
    }
    date_split(tz_local(&z, ms), &p);
    switch ((enum date_part_kind)x->op->aux) {
    case PART_YEAR: *out = bval_new_i32(a, (int32_t)p.year); break;
    case PART_MONTH: *out = bval_new_i32(a, p.month); break;
    case PART_DAY: *out = bval_new_i32(a, p.day); break;
    case PART_HOUR: *out = bval_new_i32(a, p.hour); break;
    case PART_MINUTE: *out = bval_new_i32(a, p.minute); break;
    case PART_SECOND: *out = bval_new_i32(a, p.second); break;
    case PART_MS: *out = bval_new_i32(a, p.ms); break;
    case PART_WEEKDAY: *out = bval_new_i32(a, p.weekday + 1); break;
    case PART_YEARDAY: *out = bval_new_i32(a, p.yearday); break;
    case PART_WEEK: *out = bval_new_i32(a, (p.yearday - 1 + 7 - p.weekday) / 7); break;
    case PART_ISO_WEEK: *out = bval_new_i32(a, p.iso_week); break;
    case PART_ISO_YEAR: *out = bval_new_i64(a, p.iso_year); break;
    case PART_ISO_WEEKDAY: *out = bval_new_i32(a, p.weekday ? p.weekday : 7); break;
    }
    return RC_OK;
}

EXPR_PARSE(expr__parse_date_part)
{
    static const struct expr_param params[] = { { "date", 40539 }, { "timezone", 0 } };
    static const struct expr_named named = { params, 2, 40536, 40535 };
    struct expr *x = expr__new_call(ps, op, 2);
    struct expr_op as_named = *op;
    struct bval raw[2] = { arg, BVAL_MISSING };
    struct biter it;

    if (arg.type == BT_ARRAY) {
        if (bdoc_count(bval_doc(arg)) != 1)
            FAIL(e, ERR_LOC(40536),
                 "$%s accepts exactly one argument if given an array, but was given %u", op->name,
                 bdoc_count(bval_doc(arg)));
        raw[0] = bdoc_get(bval_doc(arg), "0");
    } else if (arg.type == BT_DOCUMENT) {
        biter_init(&it, bval_doc(arg));
        bool is_call = biter_next(&it) && it.name.len && it.name.p[0] == '$';
        as_named.named = &named;
        if (!is_call)
            TRY(expr__named_args(&as_named, arg, raw, e));
    }
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    if (!bval_is_missing(raw[1]))
        TRY(expr__parse(ps, raw[1], &x->args[1], e));
    TRY(expr__fold(ps, &x, e));
    *out = with_zone_slot(ps, x);
    return RC_OK;
}

/* ---- $dateToParts: date, timezone, iso8601 ---- */

static RC parts_object(struct arena *a, const struct date_parts *p, bool iso, struct bval *out,
                       struct err *e)
{
    static const char *const plain[] = { "year", "month", "day" }, *const week[] = {
        "isoWeekYear", "isoWeek", "isoDayOfWeek"
    };
    static const char *const rest[] = { "hour", "minute", "second", "millisecond" };
    int v[] = { iso ? (int)p->iso_year : (int)p->year,
                iso ? p->iso_week : p->month,
                iso ? (p->weekday ? p->weekday : 7) : p->day,
                p->hour,
                p->minute,
                p->second,
                p->ms };
    struct fields f = fields_in(a);

    for (int i = 0; i < 7; i++)
        fields_push(&f,
                    slice_str(i >= 3 ? rest[i - 3]
                              : iso  ? week[i]
                                     : plain[i]),
                    bval_new_i32(a, v[i]));
    return fields_object(&f, out, e);
}

EXPR_EVAL(expr__eval_date_to_parts)
{
    struct date_parts p;
    struct bval v, iso;
    struct tz z;
    bool is_null, given;
    int64_t ms;

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(tz_arg(x, 1, env, &z, &is_null, e));
    if (is_null) {
        *out = val_null();
        return RC_OK;
    }
    TRY(expr__opt(x, 2, env, &given, &iso, e));
    if (given && !bval_is_nullish(iso) && iso.type != BT_BOOL)
        FAIL(e, ERR_LOC(40521), "iso8601 must evaluate to a bool, found %s", btype_name(iso.type));
    if ((given && bval_is_nullish(iso)) || bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    TRY(date_of(v, 16006, &ms, e));
    date_split(tz_local(&z, ms), &p);
    return parts_object(env_arena(env), &p, given && bval_bool(iso), out, e);
}

/* ---- $dateFromParts ---- */

enum from_part {
    FP_YEAR,
    FP_MONTH,
    FP_DAY,
    FP_HOUR,
    FP_MINUTE,
    FP_SECOND,
    FP_MS,
    FP_ISO_YEAR,
    FP_ISO_WEEK,
    FP_ISO_DAY,
    FP_TZ,
    FP_NR
};

static RC part_value(const struct expr *x, int i, struct expr_env *env, int64_t def, int64_t *out,
                     bool *is_null, struct err *e)
{
    static const int64_t limit[FP_NR] = { [FP_SECOND] = (int64_t)1 << 62,
                                          [FP_MS] = (int64_t)1 << 62 };
    struct bval v;
    bool given;

    *out = def;
    TRY(expr__opt(x, i, env, &given, &v, e));
    if (!given)
        return RC_OK;
    if (bval_is_nullish(v)) {
        *is_null = true;
        return RC_OK;
    }
    if (!bval_is_number(v) || !bval_to_i64(v, out))
        FAIL(e, ERR_LOC(40515), "'%s' must evaluate to an integer, found %s",
             x->op->named->params[i].name, btype_name(v.type));
    if (i == FP_YEAR || i == FP_ISO_YEAR) {
        if (*out < 1 || *out > 9999)
            FAIL(e, ERR_LOC(40523), "'%s' must evaluate to an integer in the range 1 to 9999",
                 x->op->named->params[i].name);
    } else if (!limit[i] && (*out < INT16_MIN || *out > INT16_MAX)) {
        FAIL(e, ERR_LOC(31034), "'%s' must evaluate to a value in the range [-32768, 32767]",
             x->op->named->params[i].name);
    }
    return RC_OK;
}

EXPR_EVAL(expr__eval_date_from_parts)
{
    bool iso = x->args[FP_ISO_YEAR] != NULL, is_null = false, tz_null;
    int64_t v[FP_NR], local;
    struct tz z;

    for (int i = 0; i < FP_TZ; i++) {
        bool date_part = i < FP_HOUR || i > FP_MS;
        if (date_part && iso != (i >= FP_ISO_YEAR))
            continue;
        TRY(part_value(x, i, env, date_part ? 1 : 0, &v[i], &is_null, e));
    }
    TRY(tz_arg(x, FP_TZ, env, &z, &tz_null, e));
    if (is_null || tz_null) {
        *out = val_null();
        return RC_OK;
    }
    bool ok;
    if (iso)
        ok = date_join(1970, 1, date_iso_days(v[FP_ISO_YEAR], v[FP_ISO_WEEK], v[FP_ISO_DAY]) + 1,
                       v[FP_HOUR], v[FP_MINUTE], v[FP_SECOND], v[FP_MS], &local);
    else
        ok = date_join(v[FP_YEAR], v[FP_MONTH], v[FP_DAY], v[FP_HOUR], v[FP_MINUTE], v[FP_SECOND],
                       v[FP_MS], &local);
    if (!ok)
        FAIL(e, ERR_LOC(40523), "$dateFromParts: the date is out of range");
    *out = bval_new_date(env_arena(env), tz_to_utc(&z, local));
    return RC_OK;
}

EXPR_PARSE(expr__parse_date_from_parts)
{
    struct bval raw[FP_NR];

    TRY(expr__named_args(op, arg, raw, e));
    bool has_year = !bval_is_missing(raw[FP_YEAR]), has_iso = !bval_is_missing(raw[FP_ISO_YEAR]);
    if (!has_year && !has_iso)
        FAIL(e, ERR_LOC(40516),
             "$dateFromParts requires either 'year' or 'isoWeekYear' to be present");
    if (has_year &&
        (has_iso || !bval_is_missing(raw[FP_ISO_WEEK]) || !bval_is_missing(raw[FP_ISO_DAY])))
        FAIL(e, ERR_LOC(40489),
             "$dateFromParts does not allow mixing natural dates with ISO dates");
    if (has_iso && (!bval_is_missing(raw[FP_MONTH]) || !bval_is_missing(raw[FP_DAY])))
        FAIL(e, ERR_LOC(40525),
             "$dateFromParts does not allow mixing ISO dates with natural dates");
    return expr__parse_dated(ps, op, arg, out, e);
}
