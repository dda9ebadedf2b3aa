/* vault_props.c - what an operator decides for one vault: read from JSON, checked, written to JSON.
 *
 * The form is that of the reference service's resource (Microsoft.KeyVault/vaults), and it is the same in the file that an operator
 * writes, in the sealed state and in what is told about a vault:
 *
 *   { "location": "westeurope", "geography": "Europe", "subscriptionId": UUID,
 *     "properties": { "tenantId": UUID, "enableSoftDelete": true, "softDeleteRetentionInDays": 90,
 *                     "enablePurgeProtection": true, "enableRbacAuthorization": true, "throttling": { "createPer10Seconds": 20, "otherPer10Seconds": 4000 } } }
 *
 * A setting is a row of one of the tables below. What a member does not name stays as it was; a member that no row has is refused.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { PLACE_MAX = 64 };

struct prop_row {
    const char *name;
    /* false: not of this type, or out of range */
    bool (*read)(const struct prop_row *row, const json_t *from, struct vault_props *p);
    json_t *(*write)(const struct prop_row *row, const struct vault_props *p);
    size_t at; /* offset in struct vault_props */
    int64_t min, max;
    const char *is; /* "a number from 7 to 90" */
};

#define FIELD(type, row, p) ((type *)((char *)(p) + (row)->at))
#define FIELD_CONST(type, row, p) ((const type *)((const char *)(p) + (row)->at))

static bool read_text(const struct prop_row *row, const json_t *from, struct vault_props *p)
{
    const char *text = json_string_value(from);
    char **field = FIELD(char *, row, p);

    if (!text || !*text || strlen(text) > PLACE_MAX)
        return false;
    mem_free(*field);
    *field = mem_strdup(text);
    return true;
}

static json_t *write_text(const struct prop_row *row, const struct vault_props *p)
{
    return json_string(*FIELD_CONST(char *, row, p));
}

static bool read_uuid(const struct prop_row *row, const json_t *from, struct vault_props *p)
{
    const char *text = json_string_value(from);

    if (!text || !vault__valid_uuid(text))
        return false;
    memcpy(FIELD(char, row, p), text, UUID_LEN + 1);
    return true;
}

static json_t *write_uuid(const struct prop_row *row, const struct vault_props *p)
{
    return json_string(FIELD_CONST(char, row, p));
}

static bool read_bool(const struct prop_row *row, const json_t *from, struct vault_props *p)
{
    if (!json_is_boolean(from))
        return false;
    *FIELD(bool, row, p) = json_is_true(from);
    return true;
}

static json_t *write_bool(const struct prop_row *row, const struct vault_props *p)
{
    return json_boolean(*FIELD_CONST(bool, row, p));
}

static bool read_u32(const struct prop_row *row, const json_t *from, struct vault_props *p)
{
    int64_t n = json_integer_value(from);

    if (!json_is_integer(from) || n < row->min || n > row->max)
        return false;
    *FIELD(uint32_t, row, p) = (uint32_t)n;
    return true;
}

static json_t *write_u32(const struct prop_row *row, const struct vault_props *p)
{
    return json_integer((json_int_t)*FIELD_CONST(uint32_t, row, p));
}

#define AT(field) offsetof(struct vault_props, field)
#define TEXT(name, field)                                                                          \
    { name, read_text, write_text, AT(field), 0, 0, "a text of 1 to 64 bytes" }
#define UUID(name, field) { name, read_uuid, write_uuid, AT(field), 0, 0, "a UUID" }
#define BOOL(name, field) { name, read_bool, write_bool, AT(field), 0, 0, "true or false" }
#define U32(name, field, lo, hi, text) { name, read_u32, write_u32, AT(field), lo, hi, text }

static const struct prop_row throttling[] = {
    U32("createPer10Seconds", create_per_10s, 0, 1000000, "a number from 0 (no limit) to 1000000"),
    U32("otherPer10Seconds", other_per_10s, 0, 1000000, "a number from 0 (no limit) to 1000000"),
};

static const struct prop_row properties[] = {
    UUID("tenantId", tenant),
    BOOL("enableSoftDelete", soft_delete),
    U32("softDeleteRetentionInDays", retention_days, 7, 90, "a number from 7 to 90"),
    BOOL("enablePurgeProtection", purge_protection),
    BOOL("enableRbacAuthorization", rbac),
};

static const struct prop_row places[] = {
    TEXT("location", location),
    TEXT("geography", geography),
    UUID("subscriptionId", subscription),
};

/* The objects of the form: their rows, and under which member they stand. */
struct prop_object {
    const char *name; /* NULL: the whole */
    const struct prop_row *rows;
    size_t n_rows;
    const struct prop_object *inner;
};
static const struct prop_object throttling_object = { "throttling", throttling,
                                                      ARRAY_LEN(throttling), NULL };
static const struct prop_object properties_object = { "properties", properties,
                                                      ARRAY_LEN(properties), &throttling_object };
static const struct prop_object whole = { NULL, places, ARRAY_LEN(places), &properties_object };

static const struct prop_row *row_of(const struct prop_object *o, const char *name)
{
    for (size_t i = 0; i < o->n_rows; i++)
        if (strcmp(o->rows[i].name, name) == 0)
            return &o->rows[i];
    return NULL;
}

static RC read_object(const struct prop_object *o, json_t *from, struct vault_props *p,
                      struct err *e)
{
    const char *name;
    json_t *value;

    if (!json_is_object(from))
        FAIL(e, ERR_BAD_VALUE, "the settings of a vault%s%s are not an object", o->name ? ": " : "",
             o->name ? o->name : "");
    json_object_foreach(from, name, value)
    {
        const struct prop_row *row = row_of(o, name);
        if (!row && o->inner && strcmp(o->inner->name, name) == 0) {
            TRY(read_object(o->inner, value, p, e));
            continue;
        }
        if (!row)
            FAIL(e, ERR_BAD_VALUE, "a vault has no setting \"%.60s\"", name);
        if (!row->read(row, value, p))
            FAIL(e, ERR_BAD_VALUE, "the setting \"%s\" of a vault is %s", name, row->is);
    }
    return RC_OK;
}

static json_t *write_object(const struct prop_object *o, const struct vault_props *p)
{
    json_t *out = json_object();

    for (size_t i = 0; i < o->n_rows; i++)
        json_object_set_new(out, o->rows[i].name, o->rows[i].write(&o->rows[i], p));
    if (o->inner)
        json_object_set_new(out, o->inner->name, write_object(o->inner, p));
    return out;
}

json_t *vault__props_json(const struct vault_props *p)
{
    return write_object(&whole, p);
}

bool vault__props_equal(const struct vault_props *a, const struct vault_props *b)
{
    AUTO(kjson_freep) json_t *one = vault__props_json(a);
    AUTO(kjson_freep) json_t *other = vault__props_json(b);

    return json_equal(one, other) != 0;
}

struct vault_props *vault__props_new(const char *location, const char *tenant)
{
    struct vault_props *p = NEW(struct vault_props);

    *p = (struct vault_props){
        .refs = 1,
        .location = mem_strdup(location),
        .geography = mem_strdup(location),
        .soft_delete = true,
        .retention_days = 90,
        .purge_protection = true,
        .rbac = true,
        /* key-vault.md 8: what the reference service gives a vault of software keys */
        .create_per_10s = 20,
        .other_per_10s = 4000,
    };
    (void)snprintf(p->tenant, sizeof p->tenant, "%s", tenant);
    (void)snprintf(p->subscription, sizeof p->subscription, "%s", tenant);
    return p;
}

struct vault_props *vault__props_ref(struct vault_props *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

void vault__props_unref(struct vault_props *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
        return;
    mem_free(p->location);
    mem_free(p->geography);
    mem_free(p);
}

static struct vault_props *copy(const struct vault_props *from)
{
    struct vault_props *p = NEW(struct vault_props);

    *p = *from;
    p->refs = 1;
    p->location = mem_strdup(from->location);
    p->geography = mem_strdup(from->geography);
    return p;
}

static RC read_into(struct vault_props *p, json_t *from, struct err *e)
{
    bool follows = strcmp(p->location, p->geography) == 0 && !json_object_get(from, "geography");

    TRY(read_object(&whole, from, p, e));
    if (follows) {
        mem_free(p->geography);
        p->geography = mem_strdup(p->location);
    }
    if (p->purge_protection && !p->soft_delete)
        FAIL(e, ERR_BAD_VALUE, "purge protection needs soft delete");
    return RC_OK;
}

RC vault__props_with(const struct vault_props *was, json_t *from, struct vault_props **out,
                     struct err *e)
{
    struct vault_props *p = copy(was);

    *out = NULL;
    if (read_into(p, from, e).failed) {
        vault__props_unref(p);
        return RC_FAILED;
    }
    *out = p;
    return RC_OK;
}

RC vault__props_may_change(const struct vault_props *was, const struct vault_props *now,
                           struct err *e)
{
    /* A promise that was made to those who trust the vault is not taken back. */
    if (strcmp(was->location, now->location) != 0 || strcmp(was->geography, now->geography) != 0 ||
        strcasecmp(was->subscription, now->subscription) != 0)
        FAIL(e, ERR_BAD_VALUE, "a vault stays in its location, geography and subscription");
    if (was->soft_delete && !now->soft_delete)
        FAIL(e, ERR_BAD_VALUE, "soft delete cannot be turned off again");
    if (was->purge_protection && !now->purge_protection)
        FAIL(e, ERR_BAD_VALUE, "purge protection cannot be turned off again");
    if (was->soft_delete && was->retention_days != now->retention_days)
        FAIL(e, ERR_BAD_VALUE, "the days that a deleted key is kept cannot be changed");
    return RC_OK;
}

const char *vault__recovery_level(const struct vault_props *p)
{
    if (!p->soft_delete)
        return "Purgeable";
    if (p->retention_days == 90)
        return p->purge_protection ? "Recoverable" : "Recoverable+Purgeable";
    return p->purge_protection ? "CustomizedRecoverable" : "CustomizedRecoverable+Purgeable";
}
