/* vault_policy.c - rotation policies: read from JSON, checked, written to JSON; and when what they say is due.
 *
 *   { "lifetimeActions": [ { "trigger": { "timeAfterCreate": "P90D" },  "action": { "type": "Rotate" } },
 *                          { "trigger": { "timeBeforeExpiry": "P30D" }, "action": { "type": "Notify" } } ],
 *     "attributes": { "expiryTime": "P1Y", "created": 1700000000, "updated": 1700000000 } }
 *
 * The form is the same on the wire and in the sealed state. Lengths of time are ISO 8601 durations, reckoned in the calendar: a month
 * after the 31st of January is the last day of February. To compare two of them, a month has 30 days and a year 365.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum {
    DAY_S = 86400,
    ROTATE_MIN_DAYS = 7,  /* after the creation, and before the expiry (key-vault.md 5) */
    EXPIRY_MIN_DAYS = 28, /* of expiryTime */
    YEARS_MAX = 100,
    DIGITS_MAX = 5,
    NOTIFY_DEFAULT_DAYS = 30,
};

/* ---- durations ---- */

/* The number and the letter at *p, as "90D". */
static bool next_part(const char **p, int64_t *n, char *unit)
{
    const char *from = *p;

    *n = 0;
    while (isdigit((unsigned char)**p) && *p - from < DIGITS_MAX)
        *n = *n * 10 + (*(*p)++ - '0');
    if (*p == from || !isalpha((unsigned char)**p))
        return false;
    *unit = *(*p)++;
    return true;
}

/* The parts of one half, "Y", "M", "W", "D" or "H", "M", "S": each once, in this order. */
static bool read_half(const char **p, const char *units, const int64_t *worth, int64_t *months,
                      int64_t *seconds)
{
    int64_t n;
    char unit;

    while (**p && **p != 'T') {
        if (!next_part(p, &n, &unit))
            return false;
        const char *at = strchr(units, unit);
        if (!at)
            return false;
        int64_t *sum = worth[at - units] < 0 ? months : seconds;
        *sum += n * (worth[at - units] < 0 ? -worth[at - units] : worth[at - units]);
        int64_t used = at - units + 1;
        units += used;
        worth += used;
    }
    return true;
}

bool vault__duration_read(const char *text, struct duration *out)
{
    /* negative: in months */
    static const int64_t dates[] = { -12, -1, (int64_t)7 * DAY_S, DAY_S },
                         times[] = { 3600, 60, 1 };
    int64_t months = 0, seconds = 0;
    const char *p = text + 1;

    memset(out, 0, sizeof *out);
    if (text[0] != 'P' || strlen(text) >= sizeof out->text ||
        !read_half(&p, "YMWD", dates, &months, &seconds))
        return false;
    if (*p == 'T') {
        p++;
        if (!*p || !read_half(&p, "HMS", times, &months, &seconds) || *p)
            return false;
    }
    if (months + seconds == 0 || months > YEARS_MAX * 12 ||
        seconds > (int64_t)YEARS_MAX * 366 * DAY_S)
        return false;
    out->months = (int)months;
    out->seconds = seconds;
    memcpy(out->text, text, strlen(text) + 1);
    return true;
}

static int64_t rough_s(const struct duration *d)
{
    return ((int64_t)(d->months / 12) * 365 + (int64_t)(d->months % 12) * 30) * DAY_S + d->seconds;
}

bool vault__duration_is_set(const struct duration *d)
{
    return d->text[0] != 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month] + (month == 1 && leap);
}

int64_t vault__duration_after(int64_t from_s, const struct duration *d, int sign)
{
    time_t at = (time_t)from_s;
    struct tm tm;

    if (!gmtime_r(&at, &tm))
        return from_s;
    int months = (1900 + tm.tm_year) * 12 + tm.tm_mon + sign * d->months;
    tm.tm_year = months / 12 - 1900;
    tm.tm_mon = months % 12;
    tm.tm_mday = MIN(tm.tm_mday, days_in_month(months / 12, tm.tm_mon));
    return (int64_t)timegm(&tm) + sign * d->seconds;
}

/* ---- reading ---- */

static RC read_duration(const json_t *from, const char *member, int min_days, struct duration *out,
                        struct err *e)
{
    const char *text = kjson_str(from, member);

    if (!text || !vault__duration_read(text, out))
        FAIL(e, ERR_BAD_VALUE, "The property %s is no duration, such as P90D or P1Y.", member);
    if (rough_s(out) < (int64_t)min_days * DAY_S)
        FAIL(e, ERR_BAD_VALUE, "The property %s is at least %d days.", member, min_days);
    return RC_OK;
}

static RC read_rotate(const json_t *trigger, struct rotation_policy *p, struct err *e)
{
    p->rotates_after_create = kjson_has(trigger, "timeAfterCreate");
    if (p->rotates_after_create == kjson_has(trigger, "timeBeforeExpiry"))
        FAIL(e, ERR_BAD_VALUE,
             "The trigger of the action Rotate is either timeAfterCreate or timeBeforeExpiry.");
    return read_duration(trigger, p->rotates_after_create ? "timeAfterCreate" : "timeBeforeExpiry",
                         ROTATE_MIN_DAYS, &p->rotate, e);
}

static RC read_notify(const json_t *trigger, struct rotation_policy *p, struct err *e)
{
    if (kjson_has(trigger, "timeAfterCreate"))
        FAIL(e, ERR_BAD_VALUE, "The trigger of the action Notify is timeBeforeExpiry.");
    return read_duration(trigger, "timeBeforeExpiry", /* min_days= */ 0, &p->notify, e);
}

static RC read_action(const json_t *one, struct rotation_policy *p, struct err *e)
{
    const json_t *trigger = kjson_obj(one, "trigger"), *action = kjson_obj(one, "action");
    const char *type = action ? kjson_str(action, "type") : NULL;

    if (!trigger || !type)
        FAIL(e, ERR_BAD_VALUE, "A lifetime action has a trigger and an action with a type.");
    bool rotate = strcasecmp(type, "Rotate") == 0;
    if (!rotate && strcasecmp(type, "Notify") != 0)
        FAIL(e, ERR_BAD_VALUE, "The type of a lifetime action is Rotate or Notify.");
    if (vault__duration_is_set(rotate ? &p->rotate : &p->notify))
        FAIL(e, ERR_BAD_VALUE, "There is at most one lifetime action of each type.");
    return rotate ? read_rotate(trigger, p, e) : read_notify(trigger, p, e);
}

/* What only the whole policy shows. */
static RC check_together(const struct rotation_policy *p, struct err *e)
{
    int64_t life_s = rough_s(&p->expiry), rotate_s = rough_s(&p->rotate);

    if (!vault__duration_is_set(&p->expiry)) {
        if (vault__duration_is_set(&p->rotate) && !p->rotates_after_create)
            FAIL(e, ERR_BAD_VALUE, "To rotate before the expiry, expiryTime is required.");
        return RC_OK;
    }
    if (vault__duration_is_set(&p->rotate) && rotate_s > life_s - (int64_t)ROTATE_MIN_DAYS * DAY_S)
        FAIL(e, ERR_BAD_VALUE,
             "A key rotates at least %d days after its creation and before its expiry.",
             ROTATE_MIN_DAYS);
    return RC_OK;
}

RC vault__policy_read(const json_t *from, struct rotation_policy *out, struct err *e)
{
    const json_t *actions = json_object_get(from, "lifetimeActions"),
                 *attributes = json_object_get(from, "attributes");

    memset(out, 0, sizeof *out);
    if (!json_is_object(from) || (kjson_has(from, "lifetimeActions") && !json_is_array(actions)) ||
        (kjson_has(from, "attributes") && !json_is_object(attributes)))
        FAIL(e, ERR_BAD_VALUE,
             "A rotation policy has a list lifetimeActions and an object attributes.");
    if (kjson_has(attributes, "expiryTime"))
        TRY(read_duration(attributes, "expiryTime", EXPIRY_MIN_DAYS, &out->expiry, e));
    for (size_t i = 0; i < json_array_size(actions); i++)
        TRY(read_action(json_array_get(actions, i), out, e));
    return check_together(out, e);
}

/* ---- writing ---- */

static void add_action(json_t *list, const char *trigger, const char *when, const char *type)
{
    json_array_append_new(list, json_pack("{s:{s:s},s:{s:s}}", "trigger", trigger, when, "action",
                                          "type", type));
}

json_t *vault__policy_json(const struct rotation_policy *p)
{
    json_t *actions = json_array(), *attributes = json_object();

    if (vault__duration_is_set(&p->rotate))
        add_action(actions, p->rotates_after_create ? "timeAfterCreate" : "timeBeforeExpiry",
                   p->rotate.text, "Rotate");
    add_action(actions, "timeBeforeExpiry",
               vault__duration_is_set(&p->notify) ? p->notify.text : "P30D", "Notify");
    if (vault__duration_is_set(&p->expiry))
        json_object_set_new(attributes, "expiryTime", json_string(p->expiry.text));
    if (p->created) {
        json_object_set_new(attributes, "created", json_integer(p->created));
        json_object_set_new(attributes, "updated", json_integer(p->updated));
    }
    return json_pack("{s:o,s:o}", "lifetimeActions", actions, "attributes", attributes);
}

/* ---- what is due ---- */

int64_t vault__policy_rotates_at(const struct vkey *k)
{
    const struct key_version *v = k->versions[k->n_versions - 1];
    const struct rotation_policy *p = &k->policy;

    if (!vault__duration_is_set(&p->rotate) || (!p->rotates_after_create && !v->exp))
        return 0;
    return p->rotates_after_create ? vault__duration_after(v->created, &p->rotate, 1)
                                   : vault__duration_after(v->exp, &p->rotate, -1);
}

int64_t vault__policy_notifies_at(const struct vkey *k)
{
    static const struct duration by_default = { .seconds = (int64_t)NOTIFY_DEFAULT_DAYS * DAY_S };
    const struct key_version *v = k->versions[k->n_versions - 1];
    bool own = vault__duration_is_set(&k->policy.notify);

    return v->exp ? vault__duration_after(v->exp, own ? &k->policy.notify : &by_default, -1) : 0;
}
