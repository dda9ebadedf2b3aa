/* spec.c - the document of a collation: checked, completed from the locale's own defaults, and set on an ICU collator. */
#include <string.h>
#include <unicode/uenum.h>
#include <unicode/uloc.h>

#include "base/mem.h"
#include "bsonx/bw.h"
#include "collate_priv.h"

/* What MongoDB 8.2 names its collations by; kept in documents so that clients see what they expect. */
#define COLLATION_VERSION "57.1"

enum { LOCALE_MAX = 100 };

struct choice {
    const char *name;
    int value;
};

static const struct choice case_first[] = {
    { "upper", UCOL_UPPER_FIRST }, { "lower", UCOL_LOWER_FIRST }, { "off", UCOL_OFF }, { NULL, 0 }
};
static const struct choice alternates[] = { { "non-ignorable", UCOL_NON_IGNORABLE },
                                            { "shifted", UCOL_SHIFTED },
                                            { NULL, 0 } };
static const struct choice max_variables[] = { { "punct", UCOL_REORDER_CODE_PUNCTUATION },
                                               { "space", UCOL_REORDER_CODE_SPACE },
                                               { NULL, 0 } };

struct spec {
    struct bval locale, case_level, case_first, strength, numeric, alternate, max_variable,
        normalization, backwards, version;
};

struct field {
    const char *name;
    size_t at;
    enum btype type; /* BT_INT32: any number */
};

static const struct field fields[] = {
    { "locale", offsetof(struct spec, locale), BT_STRING },
    { "caseLevel", offsetof(struct spec, case_level), BT_BOOL },
    { "caseFirst", offsetof(struct spec, case_first), BT_STRING },
    { "strength", offsetof(struct spec, strength), BT_INT32 },
    { "numericOrdering", offsetof(struct spec, numeric), BT_BOOL },
    { "alternate", offsetof(struct spec, alternate), BT_STRING },
    { "maxVariable", offsetof(struct spec, max_variable), BT_STRING },
    { "normalization", offsetof(struct spec, normalization), BT_BOOL },
    { "backwards", offsetof(struct spec, backwards), BT_BOOL },
    { "version", offsetof(struct spec, version), BT_STRING },
};

static RC read_fields(struct bdoc d, struct spec *s, struct err *e)
{
    struct biter it;

    *s = (struct spec){ 0 };
    biter_init(&it, d);
    while (biter_next(&it)) {
        size_t i = 0;
        while (i < ARRAY_LEN(fields) && !slice_eq_str(it.name, fields[i].name))
            i++;
        if (i == ARRAY_LEN(fields))
            FAIL(e, ERR_IDL_UNKNOWN_FIELD, "BSON field 'collation.%.*s' is an unknown field.",
                 (int)MIN(it.name.len, 100u), it.name.p);
        struct bval *at = (struct bval *)((char *)s + fields[i].at);
        if (at->type != BT_MISSING)
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "BSON field 'collation.%s' is a duplicate field",
                 fields[i].name);
        if (it.val.type == BT_NULL || it.val.type == BT_UNDEFINED)
            continue;
        bool ok = fields[i].type == BT_INT32  ? bval_is_number(it.val)
                  : fields[i].type == BT_BOOL ? it.val.type == BT_BOOL || bval_is_number(it.val)
                                              : it.val.type == fields[i].type;
        if (!ok)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field 'collation.%s' is the wrong type '%s', expected type '%s'",
                 fields[i].name, btype_name(it.val.type), btype_name(fields[i].type));
        *at = it.val;
    }
    if (bval_is_missing(s->locale))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'collation.locale' is missing but a required field");
    return RC_OK;
}

static RC pick(const char *name, struct bval v, const struct choice *of, int *out, struct err *e)
{
    if (bval_is_missing(v))
        return RC_OK;
    for (; of->name; of++) {
        if (slice_eq_str(bval_str(v), of->name)) {
            *out = of->value;
            return RC_OK;
        }
    }
    FAIL(e, ERR_BAD_VALUE,
         "Enumeration value '%.*s' for field 'collation.%s' is not a valid value.",
         (int)MIN(bval_str(v).len, 64u), bval_str(v).p, name);
}

static const char *name_of(const struct choice *of, int value)
{
    while (of->name && of->value != value)
        of++;
    return of->name ? of->name : "off";
}

static bool known_variant(const char *locale, const char *wanted)
{
    UErrorCode ec = U_ZERO_ERROR;
    UEnumeration *en = ucol_getKeywordValuesForLocale("collation", locale, false, &ec);
    const char *v;
    bool found = false;

    while (U_SUCCESS(ec) && !found && (v = uenum_next(en, NULL, &ec)))
        found = strcmp(v, wanted) == 0;
    uenum_close(en);
    return found;
}

/* A locale counts when ICU has it under just this name; its one keyword may choose another of the locale's orders. */
static RC open_locale(struct slice name, UCollator **out, struct err *e)
{
    char id[LOCALE_MAX + 1], base[LOCALE_MAX + 1], variant[LOCALE_MAX + 1];
    UErrorCode ec = U_ZERO_ERROR;

    *out = NULL;
    bool ok = name.len > 0 && name.len <= LOCALE_MAX && !memchr(name.p, 0, name.len);
    if (ok) {
        memcpy(id, name.p, name.len);
        id[name.len] = 0;
        uloc_getBaseName(id, base, LOCALE_MAX, &ec);
        const char *at = strchr(id, '@');
        ok = U_SUCCESS(ec) && ec != U_STRING_NOT_TERMINATED_WARNING &&
             strncmp(id, base, strlen(base)) == 0 && (id[strlen(base)] == 0 || at);
        if (ok && at) {
            int32_t n = uloc_getKeywordValue(id, "collation", variant, LOCALE_MAX, &ec);
            ok = U_SUCCESS(ec) && n > 0 && strncmp(at, "@collation=", 11) == 0 &&
                 strcmp(at + 11, variant) == 0 && known_variant(base, variant);
        }
    }
    if (ok) {
        *out = ucol_open(id, &ec);
        ok = U_SUCCESS(ec);
    }
    if (ok) {
        const char *valid = ucol_getLocaleByType(*out, ULOC_VALID_LOCALE, &ec);
        ok = U_SUCCESS(ec) && valid && strncmp(valid, base, strlen(base)) == 0 &&
             (valid[strlen(base)] == 0 || valid[strlen(base)] == '@');
    }
    if (ok)
        return RC_OK;
    if (*out)
        ucol_close(*out);
    *out = NULL;
    FAIL(e, ERR_BAD_VALUE, "Field 'locale' is invalid in a collation");
}

static RC set_attributes(UCollator *c, const struct spec *s, struct err *e)
{
    UErrorCode ec = U_ZERO_ERROR;
    int first = -1, alternate = -1, variable = UCOL_REORDER_CODE_PUNCTUATION;
    int64_t strength = 3;
    const struct {
        struct bval v;
        UColAttribute attr;
    } flags[] = { { s->case_level, UCOL_CASE_LEVEL },
                  { s->numeric, UCOL_NUMERIC_COLLATION },
                  { s->normalization, UCOL_NORMALIZATION_MODE },
                  { s->backwards, UCOL_FRENCH_COLLATION } };

    TRY(pick("caseFirst", s->case_first, case_first, &first, e));
    TRY(pick("alternate", s->alternate, alternates, &alternate, e));
    TRY(pick("maxVariable", s->max_variable, max_variables, &variable, e));
    if (!bval_is_missing(s->strength)) {
        double d = bval_to_double(s->strength);
        if (!(d >= 1 && d < 6))
            FAIL(e, ERR_BAD_VALUE, "Field 'strength' of a collation must be 1, 2, 3, 4 or 5");
        strength = (int64_t)d;
        ucol_setAttribute(c, UCOL_STRENGTH,
                          strength == 5 ? UCOL_IDENTICAL : (UColAttributeValue)(strength - 1), &ec);
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (!bval_is_missing(flags[i].v))
            ucol_setAttribute(c, flags[i].attr, bval_truthy(flags[i].v) ? UCOL_ON : UCOL_OFF, &ec);
    if (first >= 0)
        ucol_setAttribute(c, UCOL_CASE_FIRST, (UColAttributeValue)first, &ec);
    if (alternate >= 0)
        ucol_setAttribute(c, UCOL_ALTERNATE_HANDLING, (UColAttributeValue)alternate, &ec);
    if (!bval_is_missing(s->max_variable))
        ucol_setMaxVariable(c, (UColReorderCode)variable, &ec);
    if (U_FAILURE(ec))
        FAIL(e, ERR_BAD_VALUE, "the collation cannot be used: %s", u_errorName(ec));
    return RC_OK;
}

static RC check_sense(const UCollator *c, struct err *e)
{
    UErrorCode ec = U_ZERO_ERROR;
    int strength = ucol_getAttribute(c, UCOL_STRENGTH, &ec);

    if (ucol_getAttribute(c, UCOL_FRENCH_COLLATION, &ec) == UCOL_ON && strength == UCOL_PRIMARY)
        FAIL(e, ERR_BAD_VALUE, "'backwards' is invalid with 'strength' of 1");
    if (ucol_getAttribute(c, UCOL_CASE_FIRST, &ec) != UCOL_OFF &&
        ucol_getAttribute(c, UCOL_CASE_LEVEL, &ec) != UCOL_ON &&
        (strength == UCOL_PRIMARY || strength == UCOL_SECONDARY))
        FAIL(e, ERR_BAD_VALUE,
             "'caseFirst' is invalid unless 'caseLevel' is on or 'strength' is greater than 2");
    return RC_OK;
}

static RC open_spec(const struct spec *s, UCollator **out, struct err *e)
{
    TRY(open_locale(bval_str(s->locale), out, e));
    rc_t rc = set_attributes(*out, s, e);
    if (!rc.failed)
        rc = check_sense(*out, e);
    if (rc.failed) {
        ucol_close(*out);
        *out = NULL;
    }
    return rc;
}

static struct bdoc completed(struct arena *a, struct slice locale, const UCollator *c)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    UErrorCode ec = U_ZERO_ERROR;
    struct bw w;
    int strength = ucol_getAttribute(c, UCOL_STRENGTH, &ec);

    bw_init(&w, &b);
    bw_str_slice(&w, "locale", locale);
    bw_bool(&w, "caseLevel", ucol_getAttribute(c, UCOL_CASE_LEVEL, &ec) == UCOL_ON);
    bw_str(&w, "caseFirst", name_of(case_first, (int)ucol_getAttribute(c, UCOL_CASE_FIRST, &ec)));
    bw_i32(&w, "strength", strength == UCOL_IDENTICAL ? 5 : strength + 1);
    bw_bool(&w, "numericOrdering", ucol_getAttribute(c, UCOL_NUMERIC_COLLATION, &ec) == UCOL_ON);
    bw_str(&w, "alternate",
           name_of(alternates, (int)ucol_getAttribute(c, UCOL_ALTERNATE_HANDLING, &ec)));
    bw_str(&w, "maxVariable",
           ucol_getMaxVariable(c) == UCOL_REORDER_CODE_SPACE ? "space" : "punct");
    bw_bool(&w, "normalization", ucol_getAttribute(c, UCOL_NORMALIZATION_MODE, &ec) == UCOL_ON);
    bw_bool(&w, "backwards", ucol_getAttribute(c, UCOL_FRENCH_COLLATION, &ec) == UCOL_ON);
    bw_str(&w, "version", COLLATION_VERSION);
    struct bdoc d = bw_finish(&w);
    return (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len };
}

RC collation_complete(struct arena *a, struct bval v, struct bdoc *out, struct err *e)
{
    struct spec s;
    UCollator *c;

    *out = BDOC_EMPTY;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'collation' is the wrong type '%s', expected type 'object'",
             btype_name(v.type));
    TRY(read_fields(bval_doc(v), &s, e));
    if (!bval_is_missing(s.version) && !slice_eq_str(bval_str(s.version), COLLATION_VERSION))
        FAIL(e, ERR_INCOMPATIBLE_COLLATION_VERSION,
             "Requested collation version is not the one available: " COLLATION_VERSION);
    if (slice_eq_str(bval_str(s.locale), "simple"))
        return RC_OK; /* whatever else it says */
    TRY(open_spec(&s, &c, e));
    *out = completed(a, bval_str(s.locale), c);
    ucol_close(c);
    return RC_OK;
}

RC collate__open(struct bdoc complete, UCollator **out, struct err *e)
{
    struct spec s;

    *out = NULL;
    TRY(read_fields(complete, &s, e));
    return open_spec(&s, out, e);
}
