/* op_date_calc.c - $dateAdd, $dateSubtract, $dateDiff, $dateTrunc. */
#include "date_priv.h"
#include "num_priv.h"

#include "base/mem.h"

bool date_unit_of(struct slice s, enum date_unit *out)
{
    static const char *const names[] = { "millisecond", "second", "minute",  "hour", "day",
                                         "week",        "month",  "quarter", "year" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_str(s, names[i])) {
            *out = (enum date_unit)i;
            return true;
        }
    }
    return false;
}

static const int64_t unit_ms[] = { 1, MS_SECOND, MS_MINUTE, MS_HOUR, MS_DAY, 7 * (int64_t)MS_DAY };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

RC date_add(const struct tz *z, int64_t ms, enum date_unit u, int64_t amount, int64_t *out,
            struct err *e)
{
    struct date_parts p;
    int64_t local, months;

    if (u <= UNIT_HOUR) {
        int64_t by;
        if (!i64_mul(amount, unit_ms[u], &by) || !i64_add(ms, by, out))
            FAIL(e, ERR_LOC(5166406), "$dateAdd overflowed");
        return RC_OK;
    }
    local = tz_local(z, ms);
    if (u <= UNIT_WEEK) {
        int64_t by;
        if (!i64_mul(amount, unit_ms[u], &by) || !i64_add(local, by, &local))
            FAIL(e, ERR_LOC(5166406), "$dateAdd overflowed");
        *out = tz_to_utc(z, local);
        return RC_OK;
    }
    if (!i64_mul(amount,
                 u == UNIT_YEAR      ? 12
                 : u == UNIT_QUARTER ? 3
                                     : 1,
                 &months) ||
        months > 400000000000 || months < -400000000000)
        FAIL(e, ERR_LOC(5166406), "$dateAdd overflowed");
    date_split(local, &p);
    months += p.year * 12 + p.month - 1;
    int64_t year = floor_div(months, 12);
    int month = (int)(months - year * 12) + 1;
    int day = MIN(p.day, date_month_days(year, month)); /* the last day when the month is shorter */
    if (!date_join(year, month, day, p.hour, p.minute, p.second, p.ms, &local))
        FAIL(e, ERR_LOC(5166406), "$dateAdd overflowed");
    *out = tz_to_utc(z, local);
    return RC_OK;
}

int64_t date_unit_ms(enum date_unit u)
{
    return u <= UNIT_WEEK ? unit_ms[u] : 0;
}

RC date_unit_add(int64_t ms, enum date_unit u, int64_t amount, int64_t *out, struct err *e)
{
    return date_add(&tz_utc, ms, u, amount, out, e);
}

/* Which unit, counted from the epoch in local time, an instant lies in. */
static int64_t unit_index(int64_t local, enum date_unit u, int week_start)
{
    struct date_parts p;

    if (u <= UNIT_DAY)
        return floor_div(local, unit_ms[u]);
    if (u == UNIT_WEEK) {
        /* 1970-01-01 was a Thursday: day 3 of a week that starts on Monday (week_start 0). */
        return floor_div(floor_div(local, MS_DAY) + 3 - week_start, 7);
    }
    date_split(local, &p);
    return u == UNIT_YEAR      ? p.year
           : u == UNIT_QUARTER ? p.year * 4 + (p.month - 1) / 3
                               : p.year * 12 + p.month - 1;
}

int64_t date_diff(const struct tz *z, int64_t from, int64_t to, enum date_unit u, int week_start)
{
    if (u == UNIT_MS)
        return to - from;
    if (u <= UNIT_HOUR) { /* boundaries of the clock, whatever the zone's jumps */
        int64_t shift_from = tz_offset(z, from),
                shift_to = u == UNIT_HOUR || u == UNIT_MINUTE || u == UNIT_SECOND ? shift_from : 0;
        return floor_div(to + shift_to, unit_ms[u]) - floor_div(from + shift_from, unit_ms[u]);
    }
    return unit_index(tz_local(z, to), u, week_start) -
           unit_index(tz_local(z, from), u, week_start);
}

/* Bins are counted from 2000-01-01 (weeks: from the first week start on or after it). */
RC date_trunc(const struct tz *z, int64_t ms, enum date_unit u, int64_t bin, int week_start,
              int64_t *out, struct err *e)
{
    int64_t local = tz_local(z, ms), ref = date_days(2000, 1, 1) * MS_DAY, size;

    if (u <= UNIT_WEEK) {
        if (!i64_mul(bin, unit_ms[u], &size))
            FAIL(e, ERR_LOC(5439002), "dateTrunc unsupported binSize value %lld", (long long)bin);
        if (u == UNIT_WEEK) /* 2000-01-01 was a Saturday, day 5 from Monday */
            ref += ((week_start - 5 + 7) % 7) * (int64_t)MS_DAY;
        if (u <= UNIT_HOUR) { /* in elapsed time, from the reference instant of the zone */
            int64_t ref_utc = tz_to_utc(z, ref);
            *out = ref_utc + floor_div(ms - ref_utc, size) * size;
            return RC_OK;
        }
        *out = tz_to_utc(z, ref + floor_div(local - ref, size) * size);
        return RC_OK;
    }
    int64_t per = u == UNIT_YEAR ? 12 : u == UNIT_QUARTER ? 3 : 1;
    if (bin > 100000000000)
        FAIL(e, ERR_LOC(5439006), "dateTrunc unsupported binSize value %lld", (long long)bin);
    int64_t months = unit_index(local, UNIT_MONTH, 0) - 2000 * 12;
    int64_t m = floor_div(months, bin * per) * bin * per + 2000 * 12;
    if (!date_join(floor_div(m, 12), m - floor_div(m, 12) * 12 + 1, 1, 0, 0, 0, 0, &local))
        FAIL(e, ERR_LOC(5439006), "dateTrunc overflowed");
    *out = tz_to_utc(z, local);
    return RC_OK;
}

/* ---- shared arguments ---- */

static RC unit_arg(struct bval v, const char *op, enum date_unit *u, struct err *e)
{
    if (v.type != BT_STRING)
        FAIL(e, ERR_LOC(5439013), "%s requires 'unit' to be a string, but got %s", op,
             btype_name(v.type));
    if (!date_unit_of(bval_str(v), u))
        FAIL(e, ERR_FAILED_TO_PARSE, "unknown time unit value: %.*s",
             (int)MIN(bval_str(v).len, (size_t)32), (const char *)bval_str(v).p);
    return RC_OK;
}

/* 0 = Monday. */
static RC week_start_arg(struct bval v, int *out, struct err *e)
{
    static const char *const days[] = { "monday", "tuesday",  "wednesday", "thursday",
                                        "friday", "saturday", "sunday" };
    char low[16] = "";

    if (v.type != BT_STRING)
        FAIL(e, ERR_LOC(5439015), "requires 'startOfWeek' to be a string, but got %s",
             btype_name(v.type));
    struct slice s = bval_str(v);
    for (size_t i = 0; i < s.len && i < sizeof(low) - 1; i++)
        low[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
    for (int i = 0; i < 7; i++) {
        if (strcmp(low, days[i]) == 0 || (s.len == 3 && strncmp(low, days[i], 3) == 0)) {
            *out = i;
            return RC_OK;
        }
    }
    FAIL(e, ERR_LOC(5439016), "unknown day of week value");
}

/* ---- $dateAdd, $dateSubtract: startDate, unit, amount, timezone ---- */

EXPR_EVAL(expr__eval_date_add)
{
    struct bval start, unit, amount;
    enum date_unit u;
    struct tz z;
    bool tz_null;
    int64_t ms, n, r;

    TRY(expr__arg(x, 0, env, &start, e));
    TRY(expr__arg(x, 1, env, &unit, e));
    TRY(expr__arg(x, 2, env, &amount, e));
    if (bval_is_nullish(start) || bval_is_nullish(unit) || bval_is_nullish(amount)) {
        *out = val_null();
        return RC_OK;
    }
    TRY(unit_arg(unit, x->op->name, &u, e));
    TRY(date_of(start, 5166403, &ms, e));
    if (!bval_is_number(amount) || !bval_to_i64(amount, &n))
        FAIL(e, ERR_LOC(5166405), "%s expects integer amount of time units", x->op->name);
    TRY(tz_arg(x, 3, env, &z, &tz_null, e));
    if (tz_null) {
        *out = val_null();
        return RC_OK;
    }
    if (x->op->aux < 0) {
        if (n == INT64_MIN)
            FAIL(e, ERR_LOC(6045000), "invalid %s 'amount' parameter value: %lld", x->op->name,
                 (long long)n);
        n = -n;
    }
    int64_t most = u >= UNIT_MONTH ? INT64_MAX / (28 * (int64_t)MS_DAY) : INT32_MAX * 400000LL;
    if (u > UNIT_HOUR && (n > most || n < -most))
        FAIL(e, ERR_LOC(5976500), "invalid %s 'amount' parameter value: %lld", x->op->name,
             (long long)n);
    TRY(date_add(&z, ms, u, n, &r, e));
    *out = bval_new_date(env_arena(env), r);
    return RC_OK;
}

/* ---- $dateDiff: startDate, endDate, unit, timezone, startOfWeek ---- */

EXPR_EVAL(expr__eval_date_diff)
{
    struct bval a, b, unit, week;
    enum date_unit u;
    struct tz z;
    bool tz_null, has_week;
    int64_t from, to;
    int start = 6;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    TRY(expr__arg(x, 2, env, &unit, e));
    TRY(expr__opt(x, 4, env, &has_week, &week, e));
    if (bval_is_nullish(a) || bval_is_nullish(b) || bval_is_nullish(unit)) {
        *out = val_null();
        return RC_OK;
    }
    TRY(tz_arg(x, 3, env, &z, &tz_null, e));
    TRY(unit_arg(unit, "$dateDiff", &u, e));
    if (tz_null || (u == UNIT_WEEK && has_week && bval_is_nullish(week))) {
        *out = val_null();
        return RC_OK;
    }
    TRY(date_of(a, 5166307, &from, e));
    TRY(date_of(b, 5166307, &to, e));
    if (u == UNIT_WEEK && has_week)
        TRY(week_start_arg(week, &start, e));
    *out = bval_new_i64(env_arena(env), date_diff(&z, from, to, u, start));
    return RC_OK;
}

/* ---- $dateTrunc: date, unit, binSize, timezone, startOfWeek ---- */

EXPR_EVAL(expr__eval_date_trunc)
{
    struct bval date, unit, bin, week;
    enum date_unit u;
    struct tz z;
    bool tz_null, has_week, has_bin;
    int64_t ms, n = 1, r;
    int start = 6;

    TRY(expr__arg(x, 0, env, &date, e));
    TRY(expr__arg(x, 1, env, &unit, e));
    TRY(expr__opt(x, 2, env, &has_bin, &bin, e));
    TRY(expr__opt(x, 4, env, &has_week, &week, e));
    if (bval_is_nullish(date) || bval_is_nullish(unit) || (has_bin && bval_is_nullish(bin))) {
        *out = val_null();
        return RC_OK;
    }
    TRY(tz_arg(x, 3, env, &z, &tz_null, e));
    TRY(unit_arg(unit, "$dateTrunc", &u, e));
    if (tz_null || (u == UNIT_WEEK && has_week && bval_is_nullish(week))) {
        *out = val_null();
        return RC_OK;
    }
    if (has_bin) {
        if (!bval_is_number(bin) || !bval_to_i64(bin, &n))
            FAIL(e, ERR_LOC(5439017),
                 "$dateTrunc requires 'binSize' to be a 64-bit integer, but got value of type %s",
                 btype_name(bin.type));
        if (n <= 0)
            FAIL(e, ERR_LOC(5439018),
                 "$dateTrunc requires 'binSize' to be greater than 0, but got value %lld",
                 (long long)n);
    }
    if (u == UNIT_WEEK && has_week)
        TRY(week_start_arg(week, &start, e));
    TRY(date_of(date, 5166307, &ms, e));
    TRY(date_trunc(&z, ms, u, n, start, &r, e));
    *out = bval_new_date(env_arena(env), r);
    return RC_OK;
}
