/* date_priv.h - the calendar (proleptic Gregorian, UTC milliseconds), time zones, text. */
#ifndef QUERY_EXPR_DATE_PRIV_H
#define QUERY_EXPR_DATE_PRIV_H

#include "expr_priv.h"
#include "query/dateunit.h"

enum { MS_SECOND = 1000, MS_MINUTE = 60000, MS_HOUR = 3600000, MS_DAY = 86400000 };

struct date_parts {
    int64_t year;
    int month, day, hour, minute, second, ms; /* month and day from 1 */
    int weekday;                              /* 0 = Sunday */
    int yearday;                              /* from 1 */
    int64_t iso_year;
    int iso_week;
};

/* days since 1970-01-01; month 1 to 12, any day */
int64_t date_days(int64_t year, int month, int day);
void date_split(int64_t local_ms, struct date_parts *p);
/* date_join(): parts out of range carry over; false when int64 milliseconds cannot hold the result. */
bool date_join(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute,
               int64_t second, int64_t ms, int64_t *out);
int64_t date_iso_days(int64_t iso_year, int64_t week, int64_t weekday); /* weekday 1 = Monday */
int date_month_days(int64_t year, int month);
const char *date_month_name(int month); /* "Jan" */

/* A time zone: a fixed offset, or one of the tz database (through ICU). */
struct tz {
    bool fixed;
    int64_t offset_ms;
    void *cal;
    const char *name; /* "UTC" for the default */
};
extern const struct tz tz_utc;
/* tz_find(): Olson names in exact case, UTC, GMT, +HH, +HHMM, +HH:MM. 40485 otherwise. Lives as long as a. */
RC tz_find(struct arena *a, struct slice name, struct tz *out, struct err *e);
int64_t tz_offset(const struct tz *z, int64_t utc_ms);
static inline int64_t tz_local(const struct tz *z, int64_t utc_ms)
{
    return utc_ms + tz_offset(z, utc_ms);
}
int64_t tz_to_utc(const struct tz *z, int64_t local_ms);

/* tz_arg(): argument i of x as a zone; *is_null when it evaluates to null. Constants are looked up once (cached in *cache). */
RC tz_arg(const struct expr *x, int i, struct expr_env *env, struct tz *out, bool *is_null,
          struct err *e);
/* date_of(): date, timestamp or ObjectId as milliseconds; code otherwise. */
RC date_of(struct bval v, int code, int64_t *ms, struct err *e);

/* Text. */
RC date_format_check(struct slice f, bool parsing, struct err *e); /* 18536 */
RC date_format(struct arena *a, struct slice f, const struct tz *z, int64_t ms, struct bval *out,
               struct err *e);
/* date_parse(): ISO 8601 and the common human forms; a zone in the text wins over z unless one was asked for. ERR_CONVERSION_FAILURE. */
RC date_parse(struct arena *a, struct slice s, const struct tz *z, bool z_given, int64_t *ms,
              struct err *e);
RC date_parse_format(struct arena *a, struct slice s, struct slice f, const struct tz *z,
                     bool z_given, int64_t *ms, struct err *e);

/* date_add(): ERR_LOC(5166406) beyond int64. */
RC date_add(const struct tz *z, int64_t ms, enum date_unit u, int64_t amount, int64_t *out,
            struct err *e);
int64_t date_diff(const struct tz *z, int64_t from, int64_t to, enum date_unit u, int week_start);
RC date_trunc(const struct tz *z, int64_t ms, enum date_unit u, int64_t bin, int week_start,
              int64_t *out, struct err *e);

#endif
