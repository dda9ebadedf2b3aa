/* date_parse.c - text to a date: by a format, or by recognising ISO 8601 and the usual human forms.
 *
 * A text must name year, month and day; time defaults to midnight. What is left over after the last part is refused.
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "date_priv.h"

#include "base/mem.h"

struct scan {
    const char *at, *end;
    int64_t year, month, day, hour, minute, second, ms;
    int64_t iso_year, iso_week, iso_day, yearday;
    bool has_year, has_month, has_day, has_iso_year, has_iso_week, has_yearday;
    bool has_zone;
    struct tz zone;
};

static void skip_spaces(struct scan *s)
{
    while (s->at < s->end && isspace((unsigned char)*s->at))
        s->at++;
}

static bool take_char(struct scan *s, char c)
{
    if (s->at < s->end && *s->at == c) {
        s->at++;
        return true;
    }
    return false;
}

/* A number of min to max digits. */
static bool take_number(struct scan *s, int min, int max, int64_t *out)
{
    int n = 0;
    int64_t v = 0;

    while (n < max && s->at + n < s->end && isdigit((unsigned char)s->at[n]))
        v = v * 10 + (s->at[n++] - '0');
    if (n < min)
        return false;
    s->at += n;
    *out = v;
    return true;
}

static int digits_ahead(const struct scan *s)
{
    int n = 0;

    while (s->at + n < s->end && isdigit((unsigned char)s->at[n]))
        n++;
    return n;
}

static int letters_ahead(const struct scan *s)
{
    int n = 0;

    while (s->at + n < s->end && isalpha((unsigned char)s->at[n]))
        n++;
    return n;
}

/* The month or weekday whose name starts with, or is, the letters ahead (three letters at least). */
static int name_index(const char *p, int n, const char *const *names, int n_names)
{
    for (int i = 0; i < n_names; i++)
        if (n >= 3 && n <= (int)strlen(names[i]) && strncasecmp(p, names[i], (size_t)n) == 0 &&
            (n == 3 || n == (int)strlen(names[i])))
            return i + 1;
    return 0;
}

static int month_ahead(const struct scan *s, int n)
{
    static const char *const names[] = { "January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December" };

    if (n == 4 && strncasecmp(s->at, "Sept", 4) == 0)
        return 9;
    return name_index(s->at, n, names, 12);
}

static int weekday_ahead(const struct scan *s, int n)
{
    static const char *const names[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
                                         "Friday", "Saturday", "Sunday" };

    return name_index(s->at, n, names, 7);
}

static bool take_month_name(struct scan *s)
{
    int n = letters_ahead(s);

    s->month = month_ahead(s, n);
    if (!s->month)
        return false;
    s->at += n;
    s->has_month = true;
    take_char(s, '.');
    return true;
}

/* ±HH, ±HHMM, ±HH:MM */
static bool take_offset(struct scan *s)
{
    int sign = *s->at == '-' ? -1 : 1;
    int64_t h, m = 0;

    s->at++;
    if (!take_number(s, 1, 2, &h))
        return false;
    bool colon = take_char(s, ':');
    if ((colon || digits_ahead(s) > 0) && !take_number(s, 2, 2, &m))
        return false;
    s->zone = tz_utc;
    s->zone.offset_ms = sign * (h * 60 + m) * MS_MINUTE;
    s->has_zone = true;
    return m < 60;
}

static bool take_zone(struct scan *s, struct arena *a)
{
    struct err ignored = { 0 };
    int n = 0;

    if (s->at == s->end)
        return true;
    if (*s->at == '+' || *s->at == '-')
        return take_offset(s);
    while (s->at + n < s->end && (isalnum((unsigned char)s->at[n]) || strchr("/_+-", s->at[n])))
        n++;
    if (n == 1 && (*s->at == 'Z' || *s->at == 'z')) {
        s->zone = tz_utc;
    } else if (n == 0 || tz_find(a, SLICE(s->at, (size_t)n), &s->zone, &ignored).failed) {
        return false;
    }
    s->at += n;
    s->has_zone = true;
    if (*s->zone.name && s->at < s->end && (*s->at == '+' || *s->at == '-') && s->zone.fixed)
        return take_offset(s); /* GMT+02:00 */
    return true;
}

static bool take_fraction(struct scan *s)
{
    int n = digits_ahead(s);

    if (n == 0)
        return false;
    for (int i = 0, scale = 100; i < n; i++, scale /= 10)
        s->ms += (s->at[i] - '0') * scale;
    s->at += n;
    return true;
}

static bool take_time(struct scan *s)
{
    if (!take_number(s, 1, 2, &s->hour))
        return false;
    if (take_char(s, ':')) {
        if (!take_number(s, 2, 2, &s->minute))
            return false;
        if (take_char(s, ':')) {
            if (!take_number(s, 2, 2, &s->second))
                return false;
            if ((take_char(s, '.') || take_char(s, ',')) && !take_fraction(s))
                return false;
        }
    } else if (digits_ahead(s) == 2 || digits_ahead(s) == 4) {
        bool secs = digits_ahead(s) == 4;
        if (!take_number(s, 2, 2, &s->minute) || (secs && !take_number(s, 2, 2, &s->second)))
            return false;
        if (secs && take_char(s, '.') && !take_fraction(s))
            return false;
    }
    skip_spaces(s);
    int n = letters_ahead(s);
    if (n == 2 && (s->at[1] | 0x20) == 'm' && ((*s->at | 0x20) == 'a' || (*s->at | 0x20) == 'p')) {
        bool pm = (*s->at | 0x20) == 'p';
        if (s->hour < 1 || s->hour > 12)
            return false;
        s->hour = s->hour % 12 + (pm ? 12 : 0);
        s->at += 2;
    }
    return s->hour <= 24 && s->minute <= 59 && s->second <= 60;
}

/* "4", "4th", "4," ... */
static bool take_day(struct scan *s)
{
    static const char *const suffix[] = { "st", "nd", "rd", "th" };

    if (!take_number(s, 1, 2, &s->day))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
        if (letters_ahead(s) == 2 && strncasecmp(s->at, suffix[i], 2) == 0) {
            s->at += 2;
            break;
        }
    }
    s->has_day = true;
    take_char(s, ',');
    return true;
}

static void skip_date_gap(struct scan *s)
{
    while (s->at < s->end &&
           (isspace((unsigned char)*s->at) || *s->at == ',' || *s->at == '-' || *s->at == '.'))
        s->at++;
}

static bool take_year(struct scan *s)
{
    s->has_year = digits_ahead(s) == 4 && take_number(s, 4, 4, &s->year);
    return s->has_year;
}

/* Month name first or day first; an optional weekday before. */
static bool take_worded_date(struct scan *s)
{
    int n = letters_ahead(s);

    if (n && weekday_ahead(s, n) && !month_ahead(s, n)) {
        s->at += n;
        skip_date_gap(s);
    }
    if (letters_ahead(s)) {
        if (!take_month_name(s))
            return false;
        skip_date_gap(s);
        if (!take_day(s))
            return false;
    } else {
        if (!take_day(s))
            return false;
        skip_date_gap(s);
        if (!take_month_name(s))
            return false;
    }
    skip_date_gap(s);
    struct scan year = *s;
    if (take_year(&year) && !(year.at < year.end && *year.at == ':'))
        *s = year;
    return true; /* the year may stand after the time */
}

static bool take_iso_week(struct scan *s)
{
    s->iso_day = 1;
    if (!take_number(s, 2, 2, &s->iso_week))
        return false;
    if (take_char(s, '-') || digits_ahead(s) == 1)
        if (!take_number(s, 1, 1, &s->iso_day))
            return false;
    s->iso_year = s->year;
    s->has_year = false;
    s->has_iso_year = s->has_iso_week = true;
    return s->iso_week >= 1 && s->iso_week <= 53 && s->iso_day >= 1 && s->iso_day <= 7;
}

static bool take_numeric_date(struct scan *s)
{
    int n = digits_ahead(s);

    if (n == 8) {
        s->has_year = s->has_month = s->has_day = take_number(s, 4, 4, &s->year) &&
                                                  take_number(s, 2, 2, &s->month) &&
                                                  take_number(s, 2, 2, &s->day);
        return s->has_year;
    }
    if (n == 4) {
        s->has_year = take_number(s, 4, 4, &s->year);
        char sep = s->at < s->end ? *s->at : 0;
        if (sep != '-' && sep != '/' && sep != '.')
            return sep == 'W' && (s->at++, take_iso_week(s));
        s->at++;
        if (take_char(s, 'W'))
            return take_iso_week(s);
        if (digits_ahead(s) == 3) {
            s->has_yearday = take_number(s, 3, 3, &s->yearday);
            return s->has_yearday;
        }
        s->has_month = take_number(s, 1, 2, &s->month);
        s->has_day = s->has_month && take_char(s, sep) && take_number(s, 1, 2, &s->day);
        return s->has_day;
    }
    if (n == 0 || n > 2)
        return false;
    struct scan back = *s;
    int64_t a, b;
    if (!take_number(s, 1, 2, &a))
        return false;
    char sep = s->at < s->end ? *s->at : 0;
    if ((sep == '/' || sep == '-' || sep == '.') && (s->at++, digits_ahead(s) > 0) &&
        take_number(s, 1, 2, &b) && take_char(s, sep) && take_year(s)) {
        s->month = sep == '/' ? a : b; /* 7/4/2017 is American, 4-7-2017 is not */
        s->day = sep == '/' ? b : a;
        s->has_month = s->has_day = true;
        return true;
    }
    *s = back;
    return take_worded_date(s);
}

static RC finish(struct scan *s, const struct tz *z, bool z_given, int64_t *ms, struct err *e)
{
    int64_t local;
    bool ok;

    if (s->has_zone && z_given && !(z->fixed && z->offset_ms == 0))
        FAIL(
            e, ERR_CONVERSION_FAILURE,
            "you cannot pass in a date/time string with time zone information together with a timezone argument");
    if (s->has_iso_year) { /* the first week unless one was named */
        s->iso_week = s->has_iso_week ? s->iso_week : 1;
        ok = date_join(1970, 1, date_iso_days(s->iso_year, s->iso_week, s->iso_day) + 1, s->hour,
                       s->minute, s->second, s->ms, &local);
    } else if (s->has_year && s->has_yearday) {
        ok = date_join(s->year, 1, s->yearday, s->hour, s->minute, s->second, s->ms, &local) &&
             s->yearday >= 1 && s->yearday <= 366;
    } else {
        if (!s->has_year || !s->has_month || !s->has_day)
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "an incomplete date/time string has been found, with elements missing");
        ok = s->month >= 1 && s->month <= 12 && s->day >= 1 &&
             s->day <= date_month_days(s->year, (int)s->month) &&
             date_join(s->year, s->month, s->day, s->hour, s->minute, s->second, s->ms, &local);
    }
    if (!ok)
        FAIL(e, ERR_CONVERSION_FAILURE, "Error parsing date string: a part is out of range");
    *ms = tz_to_utc(s->has_zone ? &s->zone : z, local);
    return RC_OK;
}

/* White space, NUL bytes and no-break spaces around a text do not count. */
static void trim(struct scan *s)
{
    for (;;) {
        skip_spaces(s);
        if (s->at < s->end && *s->at == 0)
            s->at++;
        else if (s->end - s->at >= 2 && memcmp(s->at, "\xc2\xa0", 2) == 0)
            s->at += 2;
        else
            break;
    }
    for (;;) {
        if (s->end > s->at && (isspace((unsigned char)s->end[-1]) || s->end[-1] == 0))
            s->end--;
        else if (s->end - s->at >= 2 && memcmp(s->end - 2, "\xc2\xa0", 2) == 0)
            s->end -= 2;
        else
            break;
    }
}

RC date_parse(struct arena *a, struct slice text, const struct tz *z, bool z_given, int64_t *ms,
              struct err *e)
{
    struct scan s = { .at = (const char *)text.p,
                      .end = (const char *)text.p + text.len,
                      .iso_day = 1 };
    bool ok;

    *ms = 0;
    trim(&s);
    bool bc = s.end - s.at > 5 && *s.at == '-' && isdigit((unsigned char)s.at[1]);
    s.at += bc;
    ok = s.at < s.end && (!bc || digits_ahead(&s) == 4) &&
         (isdigit((unsigned char)*s.at)   ? take_numeric_date(&s)
          : isalpha((unsigned char)*s.at) ? take_worded_date(&s)
                                          : false);
    ok = ok && (!bc || s.has_year); /* a sign before the year of a week date says nothing */
    if (bc)
        s.year = -s.year;
    if (ok && s.at < s.end) {
        bool t = take_char(&s, 'T') || take_char(&s, 't');
        if (!t)
            take_char(&s, ',');
        skip_spaces(&s);
        if (letters_ahead(&s) == 2 && strncasecmp(s.at, "at", 2) == 0) {
            s.at += 2;
            skip_spaces(&s);
        }
        if (t || digits_ahead(&s))
            ok = take_time(&s);
        skip_spaces(&s);
        if (ok && (s.has_year || digits_ahead(&s) != 4))
            ok = take_zone(&s, a);
        skip_spaces(&s);
        if (ok && s.has_day && !s.has_year && digits_ahead(&s) == 4)
            ok = take_year(&s);
        skip_spaces(&s);
    }
    if (!ok || s.at != s.end)
        FAIL(e, ERR_CONVERSION_FAILURE, "Error parsing date string");
    return finish(&s, z, z_given, ms, e);
}

/* ---- by format ---- */

static bool take_specifier(struct scan *s, char c)
{
    int n;

    switch (c) {
    case '%': return take_char(s, '%');
    case 'Y': return s->has_year = take_number(s, 4, 4, &s->year);
    case 'G': return s->has_iso_year = take_number(s, 4, 4, &s->iso_year);
    case 'm': return s->has_month = take_number(s, 1, 2, &s->month);
    case 'd': return s->has_day = take_number(s, 1, 2, &s->day);
    case 'H': return take_number(s, 1, 2, &s->hour) && s->hour <= 24;
    case 'M': return take_number(s, 1, 2, &s->minute) && s->minute <= 59;
    case 'S': return take_number(s, 1, 2, &s->second) && s->second <= 60;
    case 'L': return take_number(s, 1, 3, &s->ms);
    case 'j': /* counted from 0: day 1 is the second of January */
        s->has_yearday = take_number(s, 1, 3, &s->yearday);
        s->yearday++;
        return s->has_yearday;
    case 'u': return take_number(s, 1, 1, &s->iso_day) && s->iso_day >= 1 && s->iso_day <= 7;
    case 'V': return s->has_iso_week = take_number(s, 1, 2, &s->iso_week);
    case 'b':
    case 'B':
        n = letters_ahead(s);
        s->month = month_ahead(s, n);
        s->at += s->month ? n : 0;
        return s->has_month = s->month != 0;
    case 'z':
        return s->at < s->end &&
               (*s->at == '+' || *s->at == '-'
                    ? take_offset(s)
                    : take_char(s, 'Z') && (s->zone = tz_utc, s->has_zone = true));
    default: { /* Z: minutes */
        int64_t m;
        int sign = take_char(s, '-') ? -1 : (take_char(s, '+'), 1);
        if (!take_number(s, 1, 4, &m))
            return false;
        s->zone = tz_utc;
        s->zone.offset_ms = sign * m * MS_MINUTE;
        return s->has_zone = true;
    }
    }
}

RC date_parse_format(struct arena *a, struct slice text, struct slice f, const struct tz *z,
                     bool z_given, int64_t *ms, struct err *e)
{
    struct scan s = { .at = (const char *)text.p,
                      .end = (const char *)text.p + text.len,
                      .iso_day = 1 };

    (void)a;
    *ms = 0;
    for (size_t i = 0; i < f.len; i++) {
        bool ok = f.p[i] == '%' && i + 1 < f.len ? take_specifier(&s, (char)f.p[++i])
                                                 : take_char(&s, (char)f.p[i]);
        if (!ok)
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Error parsing date string: it does not fit the format");
    }
    if (s.at != s.end)
        FAIL(e, ERR_CONVERSION_FAILURE, "Error parsing date string: trailing data");
    return finish(&s, z, z_given, ms, e);
}
