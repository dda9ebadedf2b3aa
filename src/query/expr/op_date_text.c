/* op_date_text.c - $dateToString and $dateFromString. */
#include "date_priv.h"
#include "text_priv.h"

#include "base/mem.h"

static bool known_specifier(char c, bool parsing)
{
    return c && strchr(parsing ? "dGHLmMSuVYzZbBj%" : "dGHLmMSuUVwjYzZbB%", c);
}

RC date_format_check(struct slice f, bool parsing, struct err *e)
{
    for (size_t i = 0; i < f.len; i++) {
        if (f.p[i] != '%')
            continue;
        if (++i == f.len)
            FAIL(e, ERR_LOC(18535), "Unmatched '%%' at end of format string");
        if (!known_specifier((char)f.p[i], parsing))
            FAIL(e, ERR_LOC(18536), "Invalid format character '%%%c' in format string", f.p[i]);
    }
    return RC_OK;
}

static const char *const month_names[] = { "January",   "February", "March",    "April",
                                           "May",       "June",     "July",     "August",
                                           "September", "October",  "November", "December" };

static void put_offset(struct buf *b, int64_t ms)
{
    int64_t minutes = (ms < 0 ? -ms : ms) / MS_MINUTE;

    buf_printf(b, "%c%02d%02d", ms < 0 ? '-' : '+', (int)(minutes / 60), (int)(minutes % 60));
}

static RC put_specifier(struct buf *b, char c, const struct date_parts *p, int64_t offset,
                        struct err *e)
{
    switch (c) {
    case '%': buf_push_u8(b, '%'); break;
    case 'Y':
        if (p->year < 0 || p->year > 9999)
            FAIL(e, ERR_LOC(18537),
                 "$dateToString is only defined on year 0-9999, tried to use year %lld",
                 (long long)p->year);
        buf_printf(b, "%04d", (int)p->year);
        break;
    case 'G':
        if (p->iso_year < 0 || p->iso_year > 9999)
            FAIL(e, ERR_LOC(18537),
                 "$dateToString is only defined on year 0-9999, tried to use year %lld",
                 (long long)p->iso_year);
        buf_printf(b, "%04d", (int)p->iso_year);
        break;
    case 'm': buf_printf(b, "%02d", p->month); break;
    case 'd': buf_printf(b, "%02d", p->day); break;
    case 'H': buf_printf(b, "%02d", p->hour); break;
    case 'M': buf_printf(b, "%02d", p->minute); break;
    case 'S': buf_printf(b, "%02d", p->second); break;
    case 'L': buf_printf(b, "%03d", p->ms); break;
    case 'j': buf_printf(b, "%03d", p->yearday); break;
    case 'w': buf_printf(b, "%d", p->weekday + 1); break;
    case 'u': buf_printf(b, "%d", p->weekday ? p->weekday : 7); break;
    case 'U': buf_printf(b, "%02d", (p->yearday - 1 + 7 - p->weekday) / 7); break;
    case 'V': buf_printf(b, "%02d", p->iso_week); break;
    case 'b': buf_printf(b, "%s", date_month_name(p->month)); break;
    case 'B': buf_printf(b, "%s", month_names[p->month - 1]); break;
    case 'z': put_offset(b, offset); break;
    default: buf_printf(b, "%lld", (long long)(offset / MS_MINUTE)); break; /* 'Z': minutes */
    }
    return RC_OK;
}

RC date_format(struct arena *a, struct slice f, const struct tz *z, int64_t ms, struct bval *out,
               struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct date_parts p;
    int64_t offset = tz_offset(z, ms);

    date_split(ms + offset, &p);
    for (size_t i = 0; i < f.len; i++) {
        if (f.p[i] == '%' && i + 1 < f.len)
            TRY(put_specifier(&b, (char)f.p[++i], &p, offset, e));
        else
            buf_push_u8(&b, f.p[i]);
    }
    return val__new_str(a, buf_view(&b), out, e);
}

/* ---- $dateToString: date, format, timezone, onNull ---- */

EXPR_EVAL(expr__eval_date_to_string)
{
    struct bval date, fv;
    struct slice f = SLICE_EMPTY;
    struct tz z;
    bool given, tz_null, on_null;
    int64_t ms;

    TRY(expr__arg(x, 0, env, &date, e));
    TRY(expr__opt(x, 1, env, &given, &fv, e));
    if (given && !bval_is_nullish(fv)) {
        if (fv.type != BT_STRING)
            FAIL(e, ERR_LOC(18533), "$dateToString requires that 'format' be a string, found: %s",
                 btype_name(fv.type));
        f = bval_str(fv);
        TRY(date_format_check(f, false, e));
    }
    TRY(tz_arg(x, 2, env, &z, &tz_null, e));
    if (bval_is_nullish(date)) {
        TRY(expr__opt(x, 3, env, &on_null, out, e));
        if (!on_null)
            *out = val_null();
        return RC_OK;
    }
    if (tz_null || (given && bval_is_nullish(fv))) {
        *out = val_null();
        return RC_OK;
    }
    TRY(date_of(date, 16006, &ms, e));
    if (!given)
        f = strcmp(z.name, "UTC") == 0 ? SLICE_LIT("%Y-%m-%dT%H:%M:%S.%LZ")
                                       : SLICE_LIT("%Y-%m-%dT%H:%M:%S.%L");
    return date_format(env_arena(env), f, &z, ms, out, e);
}

/* ---- $dateFromString: dateString, format, timezone, onError, onNull ---- */

static RC from_string(const struct expr *x, struct expr_env *env, struct bval sv, struct slice f,
                      bool has_format, const struct tz *z, struct bval *out, struct err *e)
{
    int64_t ms;

    if (sv.type != BT_STRING)
        FAIL(e, ERR_CONVERSION_FAILURE,
             "$dateFromString requires that 'dateString' be a string, found: %s",
             btype_name(sv.type));
    bool tz_given = x->args[2] != NULL;
    if (has_format)
        TRY(date_parse_format(env_arena(env), bval_str(sv), f, z, tz_given, &ms, e));
    else
        TRY(date_parse(env_arena(env), bval_str(sv), z, tz_given, &ms, e));
    *out = bval_new_date(env_arena(env), ms);
    return RC_OK;
}

EXPR_EVAL(expr__eval_date_from_string)
{
    struct bval sv, fv;
    struct slice f = SLICE_EMPTY;
    struct tz z;
    bool given, tz_null, has;
    struct err mine = { 0 };

    TRY(expr__arg(x, 0, env, &sv, e));
    TRY(expr__opt(x, 1, env, &given, &fv, e));
    if (given && !bval_is_nullish(fv)) {
        if (fv.type != BT_STRING)
            FAIL(e, ERR_LOC(40684), "$dateFromString requires that 'format' be a string, found: %s",
                 btype_name(fv.type));
        f = bval_str(fv);
        TRY(date_format_check(f, true, e));
    }
    TRY(tz_arg(x, 2, env, &z, &tz_null, e));
    if (bval_is_nullish(sv)) {
        TRY(expr__opt(x, 4, env, &has, out, e));
        if (!has)
            *out = val_null();
        return RC_OK;
    }
    if (tz_null || (given && bval_is_nullish(fv))) {
        *out = val_null();
        return RC_OK;
    }
    if (!from_string(x, env, sv, f, given, &z, out, &mine).failed)
        return RC_OK;
    if (mine.code == ERR_CONVERSION_FAILURE) {
        TRY(expr__opt(x, 3, env, &has, out, e));
        if (has)
            return RC_OK;
    }
    FAIL(e, mine.code, "%s", mine.msg);
}
