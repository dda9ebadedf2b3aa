/* vault_roles.c - roles of the owner's own: a name, data actions, and what is taken out of them again (Azure RBAC: dataActions, notDataActions).
 *
 * An assignment points at its role: a role that is changed stays where it is, so that all who have it have the change at once, and one that somebody has
 * cannot be deleted. A change that cannot be saved is taken back.
 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault/vault_admin.h"
#include "vault_priv.h"

static struct custom_role *find(struct vault_service *s, const char *text)
{
    for (int i = 0; i < s->n_roles; i++)
        if (strcasecmp(s->roles[i]->name, text) == 0 || strcasecmp(s->roles[i]->id, text) == 0)
            return s->roles[i];
    return NULL;
}

const struct vault_role *vault__role(struct vault_service *s, const char *text)
{
    const struct vault_role *built_in = vault__builtin_role(text);
    const struct custom_role *own = built_in ? NULL : find(s, text);

    return own ? &own->role : built_in;
}

static void role_free(struct custom_role *r)
{
    if (!r)
        return;
    json_decref(r->actions);
    json_decref(r->not_actions);
    mem_free(r);
}

void vault__roles_free(struct vault_service *s)
{
    while (s->n_roles > 0)
        role_free(s->roles[--s->n_roles]);
}

/* ---- definitions ---- */

/* The permissions that a list of patterns means; each of them has to mean some. */
static RC perms_of(const json_t *list, uint32_t *out, struct err *e)
{
    *out = 0;
    if (!json_is_array(list) || json_array_size(list) > ROLE_ACTIONS_MAX)
        FAIL(e, ERR_BAD_VALUE, "a role has at most %d data actions", ROLE_ACTIONS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *pattern = json_string_value(json_array_get(list, i));
        uint32_t bits =
            pattern && strlen(pattern) <= ROLE_ACTION_LEN_MAX ? vault__actions_match(pattern) : 0;
        if (!bits)
            FAIL(e, ERR_BAD_VALUE, "\"%.100s\" is not a data action on keys",
                 pattern ? pattern : "");
        *out |= bits;
    }
    return RC_OK;
}

static RC settle(struct custom_role *r, struct err *e)
{
    uint32_t all, without;

    TRY(perms_of(r->actions, &all, e));
    TRY(perms_of(r->not_actions, &without, e));
    if (!(all & ~without))
        FAIL(e, ERR_BAD_VALUE, "the role \"%s\" would allow nothing", r->name);
    r->role = (struct vault_role){
        .name = r->name, .short_name = r->name, .id = r->id, .perms = all & ~without
    };
    return RC_OK;
}

static json_t *split(const char *list)
{
    json_t *out = json_array();

    while (list && *(list += strspn(list, ", "))) {
        size_t len = strcspn(list, ", ");
        json_array_append_new(out, json_stringn(list, len));
        list += len;
    }
    return out;
}

static RC check_name(const char *name, struct err *e)
{
    size_t len = strlen(name);

    if (len == 0 || len > ROLE_NAME_MAX || !utf8_valid(slice_str(name)))
        FAIL(e, ERR_BAD_VALUE, "a role's name has 1 to %d bytes of UTF-8", ROLE_NAME_MAX);
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            FAIL(e, ERR_BAD_VALUE, "a role's name has no control characters");
    if (vault__builtin_role(name))
        FAIL(e, ERR_BAD_VALUE, "\"%s\" is a built-in role: it cannot be changed", name);
    return RC_OK;
}

static RC role_new(const char *name, const char *actions, const char *except,
                   struct custom_role **out, struct err *e)
{
    struct custom_role *r = NEW(struct custom_role);

    (void)snprintf(r->name, sizeof r->name, "%s", name);
    r->actions = split(actions);
    r->not_actions = split(except);
    if (vault__random_uuid(r->id, e).failed || settle(r, e).failed) {
        role_free(r);
        return RC_FAILED;
    }
    *out = r;
    return RC_OK;
}

/* What a changes to and what it was change places. */
static void swap(struct custom_role *a, struct custom_role *b)
{
    json_t *actions = a->actions, *not_actions = a->not_actions;
    uint32_t perms = a->role.perms;

    a->actions = b->actions;
    a->not_actions = b->not_actions;
    a->role.perms = b->role.perms;
    b->actions = actions;
    b->not_actions = not_actions;
    b->role.perms = perms;
}

static RC change_role(struct vault_service *s, struct custom_role *there, struct custom_role *r,
                      struct err *e) TS_REQUIRES(s->lock)
{
    swap(there, r);
    rc_t rc = vault__state_save(s, e);
    if (rc.failed)
        swap(there, r);
    role_free(r);
    return rc;
}

static RC add_role(struct vault_service *s, struct custom_role *r, struct err *e)
    TS_REQUIRES(s->lock)
{
    if (s->n_roles >= ROLES_MAX) {
        role_free(r);
        FAIL(e, ERR_BAD_VALUE, "there are %d roles: no more fit", ROLES_MAX);
    }
    s->roles[s->n_roles++] = r;
    if (vault__state_save(s, e).failed) {
        role_free(s->roles[--s->n_roles]);
        return RC_FAILED;
    }
    return RC_OK;
}

RC vault_role_define(struct vault_service *s, const char *name, const char *actions,
                     const char *except, struct err *e)
{
    struct custom_role *r;

    TRY(check_name(name, e));
    TRY(role_new(name, actions, except, &r, e));
    mutex_lock(&s->lock);
    struct custom_role *there = find(s, name);
    rc_t rc = there ? change_role(s, there, r, e) : add_role(s, r, e);
    mutex_unlock(&s->lock);
    return rc;
}

/* ---- deleting ---- */

static const char *vault_with(struct vault_service *s, const struct vault_role *role)
{
    for (int i = 0; i < s->n_vaults; i++)
        for (int k = 0; k < s->vaults[i]->access->n_assignments; k++)
            if (s->vaults[i]->access->assignments[k].role == role)
                return s->vaults[i]->name;
    return NULL;
}

static RC delete_locked(struct vault_service *s, const char *name, struct err *e)
    TS_REQUIRES(s->lock)
{
    struct custom_role *r = find(s, name);
    int at = 0;

    if (!r)
        FAIL(e, ERR_NOT_FOUND, "there is no role \"%.128s\" of your own", name);
    const char *vault = vault_with(s, &r->role);
    if (vault)
        FAIL(e, ERR_CONFLICT, "the role \"%s\" is assigned in the vault \"%s\"", r->name, vault);
    while (s->roles[at] != r)
        at++;
    s->roles[at] = s->roles[--s->n_roles];
    if (vault__state_save(s, e).failed) {
        s->roles[s->n_roles++] = s->roles[at];
        s->roles[at] = r;
        return RC_FAILED;
    }
    role_free(r);
    return RC_OK;
}

RC vault_role_delete(struct vault_service *s, const char *name, struct err *e)
{
    mutex_lock(&s->lock);
    rc_t rc = delete_locked(s, name, e);
    mutex_unlock(&s->lock);
    return rc;
}

/* ---- kept and told ---- */

json_t *vault__roles_json(struct vault_service *s)
{
    json_t *list = json_array();

    for (int i = 0; i < s->n_roles; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:O,s:O}", "id", s->roles[i]->id, "name",
                                        s->roles[i]->name, "dataActions", s->roles[i]->actions,
                                        "notDataActions", s->roles[i]->not_actions));
    return list;
}

static bool read_role(struct vault_service *s, const json_t *o)
{
    struct custom_role *r = NEW(struct custom_role);
    struct err e = { 0 };

    s->roles[s->n_roles++] = r;
    r->actions = json_incref(json_object_get(o, "dataActions"));
    r->not_actions = json_incref(json_object_get(o, "notDataActions"));
    return vault__get_text(o, "id", r->id, sizeof r->id) && vault__valid_uuid(r->id) &&
           vault__get_text(o, "name", r->name, sizeof r->name) && !settle(r, &e).failed;
}

bool vault__roles_read(struct vault_service *s, const json_t *list)
{
    if (!list)
        return true;
    if (!json_is_array(list) || json_array_size(list) > ROLES_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_role(s, json_array_get(list, i)))
            return false;
    return true;
}

/* Each data action that the permissions are made of, once: get and list are one. */
static json_t *actions_of(uint32_t perms)
{
    json_t *list = json_array();

    for (int p = 0; p < PERM_NR; p++) {
        bool told = false;
        for (int earlier = 0; earlier < p; earlier++)
            told = told || ((perms & (1u << earlier)) &&
                            strcmp(vault__perm_action((enum vault_perm)earlier),
                                   vault__perm_action((enum vault_perm)p)) == 0);
        if ((perms & (1u << p)) && !told)
            json_array_append_new(list, json_string(vault__perm_action((enum vault_perm)p)));
    }
    return list;
}

RC vault_roles(struct vault_service *s, struct buf *out, struct err *e)
{
    json_t *list = json_array();

    (void)e;
    for (const struct vault_role *r = NULL; (r = vault__builtin_next(r));)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", r->name, "shortName",
                                              r->short_name, "id", r->id, "type", "BuiltInRole",
                                              "allows", actions_of(r->perms)));
    mutex_lock(&s->lock);
    json_t *own = vault__roles_json(s);
    for (int i = 0; i < s->n_roles; i++) {
        json_t *o = json_array_get(own, (size_t)i);
        json_object_set_new(o, "type", json_string("CustomRole"));
        json_object_set_new(o, "allows", actions_of(s->roles[i]->role.perms));
    }
    mutex_unlock(&s->lock);
    json_array_extend(list, own);
    json_decref(own);
    AUTO(kjson_freep) json_t *j = json_pack("{s:o}", "roles", list);
    kjson_dump(j, out);
    return RC_OK;
}
