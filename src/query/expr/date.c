/* date.c - the calendar and time zones.
 *
 * The calendar is proleptic Gregorian; days are counted with the civil-from-days method of Howard Hinnant's "chrono-compatible
 * low-level date algorithms". Zones with history come from ICU, whose data a system update renews.
 */
#include <unicode/ucal.h>
#include <unicode/ustring.h>

#include "date_priv.h"

#include "base/mem.h"

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

int64_t date_days(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + doe - 719468;
}

static void civil(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

static bool is_leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

int date_month_days(int64_t year, int month)
{
    static const int8_t n[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return month == 2 && is_leap(year) ? 29 : n[month - 1];
}

const char *date_month_name(int month)
{
    static const char *const names[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

    return names[month - 1];
}

/* Weekday, 0 = Monday, of a day number. */
static int monday_based(int64_t days)
{
    int64_t w = (days + 3) % 7;

    return (int)(w < 0 ? w + 7 : w);
}

void date_split(int64_t ms, struct date_parts *p)
{
    int64_t days = floor_div(ms, MS_DAY), rest = ms - days * MS_DAY;

    civil(days, &p->year, &p->month, &p->day);
    p->hour = (int)(rest / MS_HOUR);
    p->minute = (int)(rest / MS_MINUTE % 60);
    p->second = (int)(rest / MS_SECOND % 60);
    p->ms = (int)(rest % MS_SECOND);
    p->weekday = (monday_based(days) + 1) % 7;
    p->yearday = (int)(days - date_days(p->year, 1, 1)) + 1;
    /* The ISO year is the year of this week's Thursday. */
    int64_t thursday = days - monday_based(days) + 3;
    int m, d;
    civil(thursday, &p->iso_year, &m, &d);
    p->iso_week = (int)((thursday - date_days(p->iso_year, 1, 1)) / 7) + 1;
}

int64_t date_iso_days(int64_t iso_year, int64_t week, int64_t weekday)
{
    int64_t jan4 = date_days(iso_year, 1, 4);

    return jan4 - monday_based(jan4) + (week - 1) * 7 + weekday - 1;
}

bool date_join(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute,
               int64_t second, int64_t ms, int64_t *out)
{
    int64_t m0 = month - 1, y = year + floor_div(m0, 12);
    __int128 t = date_days(y, (int)(m0 - floor_div(m0, 12) * 12) + 1, 1);

    t = (t + day - 1) * MS_DAY + (__int128)hour * MS_HOUR + (__int128)minute * MS_MINUTE +
        (__int128)second * MS_SECOND + ms;
    if (t > INT64_MAX || t < INT64_MIN)
        return false;
    *out = (int64_t)t;
    return true;
}

/* ---- zones ---- */

const struct tz tz_utc = { .fixed = true, .name = "UTC" };

static void close_cal(void *p)
{
    ucal_close(p);
}

static bool two_digits(struct slice s, size_t at, int *out)
{
    if (at + 2 > s.len || s.p[at] < '0' || s.p[at] > '9' || s.p[at + 1] < '0' || s.p[at + 1] > '9')
        return false;
    *out = (s.p[at] - '0') * 10 + (s.p[at + 1] - '0');
    return true;
}

/* +HH, +HHMM, +HH:MM */
static bool parse_offset(struct slice s, int64_t *ms)
{
    int h, m = 0;

    if (s.len < 3 || (s.p[0] != '+' && s.p[0] != '-') || !two_digits(s, 1, &h))
        return false;
    if (s.len == 5) {
        if (!two_digits(s, 3, &m))
            return false;
    } else if (s.len == 6) {
        if (s.p[3] != ':' || !two_digits(s, 4, &m))
            return false;
    } else if (s.len != 3) {
        return false;
    }
    *ms = ((int64_t)h * 60 + m) * MS_MINUTE * (s.p[0] == '-' ? -1 : 1);
    return true;
}

/* Names that ICU knows besides the tz database's. */
static bool is_icu_only(struct slice s)
{
    static const char *const names[] = { "ACT", "AET", "AGT", "ART", "AST", "BET", "BST",
                                         "CAT", "CNT", "CST", "CTT", "EAT", "ECT", "IET",
                                         "IST", "JST", "MIT", "NET", "NST", "PLT", "PNT",
                                         "PRT", "PST", "SST", "VST" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq_str(s, names[i]))
            return true;
    return slice_has_prefix(s, SLICE_LIT("SystemV/")) || slice_eq_str(s, "Etc/Unknown");
}

static void *open_zone(struct slice name)
{
    UChar id[64], canon[64];
    UErrorCode ec = U_ZERO_ERROR;
    UBool is_system = false;

    if (name.len == 0 || name.len >= 60 || is_icu_only(name))
        return NULL;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] >= 0x80 || name.p[i] == 0)
            return NULL;
        id[i] = name.p[i];
    }
    ucal_getCanonicalTimeZoneID(id, (int32_t)name.len, canon, 64, &is_system, &ec);
    if (U_FAILURE(ec) || !is_system)
        return NULL;
    UCalendar *cal = ucal_open(id, (int32_t)name.len, "en_US", UCAL_GREGORIAN, &ec);
    if (U_FAILURE(ec)) {
        ucal_close(cal);
        return NULL;
    }
    /* offsets are asked by instant; keep the calendar proleptic */
    ucal_setGregorianChange(cal, -8.64e15 * 1000, &ec);
    return cal;
}

RC tz_find(struct arena *a, struct slice name, struct tz *out, struct err *e)
{
    *out = tz_utc;
    if (slice_eq_str(name, "UTC") || slice_eq_str(name, "GMT"))
        return RC_OK;
    if (parse_offset(name, &out->offset_ms)) {
        out->name = out->offset_ms ? "" : "UTC";
        return RC_OK;
    }
    out->cal = open_zone(name);
    if (!out->cal)
        FAIL(e, ERR_LOC(40485), "unrecognized time zone identifier: \"%.*s\"",
             (int)MIN(name.len, (size_t)64), (const char *)name.p);
    arena_defer(a, close_cal, out->cal);
    out->fixed = false;
    out->name = arena_strndup(a, (const char *)name.p, name.len);
    return RC_OK;
}

/* ICU counts instants as doubles: beyond this many milliseconds its rules have long become constant. */
static double icu_instant(int64_t ms)
{
    const int64_t limit = 8000000000000000;

    return (double)(ms > limit ? limit : ms < -limit ? -limit : ms);
}

int64_t tz_offset(const struct tz *z, int64_t utc_ms)
{
    UErrorCode ec = U_ZERO_ERROR;

    if (z->fixed)
        return z->offset_ms;
    ucal_setMillis(z->cal, icu_instant(utc_ms), &ec);
    int32_t raw = ucal_get(z->cal, UCAL_ZONE_OFFSET, &ec),
            dst = ucal_get(z->cal, UCAL_DST_OFFSET, &ec);
    INVARIANT(U_SUCCESS(ec));
    return (int64_t)raw + dst;
}

/* A local time that was skipped counts with the offset before the gap; one that came twice is its first occurrence. */
int64_t tz_to_utc(const struct tz *z, int64_t local_ms)
{
    UErrorCode ec = U_ZERO_ERROR;
    int32_t raw = 0, dst = 0;

    if (z->fixed)
        return local_ms - z->offset_ms;
    ucal_setMillis(z->cal, icu_instant(local_ms), &ec);
    ucal_getTimeZoneOffsetFromLocal(z->cal, UCAL_TZ_LOCAL_FORMER, UCAL_TZ_LOCAL_FORMER, &raw, &dst,
                                    &ec);
    INVARIANT(U_SUCCESS(ec));
    return local_ms - raw - dst;
}

/* ---- arguments ---- */

RC date_of(struct bval v, int code, int64_t *ms, struct err *e)
{
    *ms = 0;
    switch (v.type) {
    case BT_DATE: *ms = bval_i64(v); return RC_OK;
    case BT_TIMESTAMP: *ms = (int64_t)(bval_timestamp(v) >> 32) * 1000; return RC_OK;
    case BT_OBJECT_ID: *ms = (int64_t)(int32_t)get_be32(bval_oid(v).p) * 1000; return RC_OK;
    default: FAIL(e, ERR_LOC(code), "can't convert from BSON type %s to Date", btype_name(v.type));
    }
}

RC tz_arg(const struct expr *x, int i, struct expr_env *env, struct tz *out, bool *is_null,
          struct err *e)
{
    struct bval v;
    bool given;

    *out = tz_utc;
    *is_null = false;
    TRY(expr__opt(x, i, env, &given, &v, e));
    if (!given)
        return RC_OK;
    if (bval_is_nullish(v)) {
        *is_null = true;
        return RC_OK;
    }
    if (v.type != BT_STRING)
        FAIL(e, ERR_LOC(40517), "timezone must evaluate to a string, found %s", btype_name(v.type));
    struct tz **slot = x->impl; /* a constant zone is opened once */
    if (slot && *slot) {
        *out = **slot;
        return RC_OK;
    }
    bool keep = slot && expr_is_const(x->args[i], NULL);
    TRY(tz_find(keep ? env->q->arena : env_arena(env), bval_str(v), out, e));
    if (keep) {
        *slot = arena_dup(env->q->arena, out, sizeof(*out));
    }
    return RC_OK;
}
