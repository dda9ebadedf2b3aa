/* vault_access.c - role assignments, access policies and address rules of one vault: looked up, changed, told, kept.
 *
 * They are changed as a copy that takes the old one's place; on a failed save the old one comes back. Access follows the object id alone. A role on
 * one key is bound to that key's oldest version, so that it does not pass to a key that is made again under the same name.
 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "kmsg/kjson.h"
#include "vault/vault_admin.h"
#include "vault_priv.h"

struct vault_access *vault__access_new(void)
{
    return NEW(struct vault_access);
}

void vault__access_free(struct vault_access *a)
{
    if (!a)
        return;
    for (int i = 0; i < a->n_assignments; i++)
        mem_free(a->assignments[i].key);
    mem_free(a->assignments);
    mem_free(a->policies);
    mem_free(a->rules);
    mem_free(a);
}

/* With room for one more of each. */
static struct vault_access *access_dup(const struct vault_access *a)
{
    struct vault_access *d = NEW(struct vault_access);

    *d = *a;
    d->assignments = NEW_ARRAY(struct assignment, (size_t)a->n_assignments + 1);
    d->policies = NEW_ARRAY(struct access_policy, (size_t)a->n_policies + 1);
    d->rules = NEW_ARRAY(struct cidr, (size_t)a->n_rules + 1);
    for (int i = 0; i < a->n_assignments; i++) {
        d->assignments[i] = a->assignments[i];
        d->assignments[i].key = a->assignments[i].key ? mem_strdup(a->assignments[i].key) : NULL;
    }
    for (int i = 0; i < a->n_policies; i++)
        d->policies[i] = a->policies[i];
    for (int i = 0; i < a->n_rules; i++)
        d->rules[i] = a->rules[i];
    return d;
}

/* ---- asking ---- */

/* The oldest version of a key, deleted or not; NULL: there is no such key. */
static const char *origin_of(const struct keyvault *v, const char *key)
{
    const struct vkey *k = vault__find_key(v, key);

    if (!k)
        k = vault__find_deleted(v, key);
    return k && k->n_versions > 0 ? k->versions[0]->id : NULL;
}

static bool covers(const struct keyvault *v, const struct assignment *a, const char *key)
{
    if (!a->key)
        return true;
    if (!*key || strcasecmp(a->key, key) != 0)
        return false;
    const char *origin = origin_of(v, key);
    return origin && strcmp(origin, a->origin) == 0;
}

bool vault__allowed(const struct keyvault *v, const char *object_id, enum vault_perm p,
                    const char *key)
{
    const struct vault_access *a = v->access;

    if (!v->props->rbac) {
        for (int i = 0; i < a->n_policies; i++)
            if (strcasecmp(a->policies[i].object_id, object_id) == 0)
                return a->policies[i].perms & (1u << p);
        return false;
    }
    for (int i = 0; i < a->n_assignments; i++)
        if (strcasecmp(a->assignments[i].object_id, object_id) == 0 &&
            (a->assignments[i].role->perms & (1u << p)) && covers(v, &a->assignments[i], key))
            return true;
    return false;
}

/* ---- changing ---- */

struct access_change {
    const char *key, *principal, *role, *permissions, *range;
    bool give;
    /* found under the lock */
    const struct vault_role *known_role;
    char object_id[UUID_LEN + 1];
    char origin[33];
    bool is_so; /* out: there is nothing to change, so nothing is saved */
};
typedef rc_t (*access_fn)(struct vault_access *a, struct access_change *c, struct err *e);

/* By name in the vault's tenant, by object id, or by client id. */
static const struct identity *principal_of(struct vault_service *s, const struct keyvault *v,
                                           const char *text)
{
    const struct identity *p = vault__find_identity(s, v->props->tenant, text);

    if (!p)
        p = vault__identity_by_object(s, text);
    return p ? p : vault__identity_by_client(s, text);
}

static RC change_locked(struct vault_service *s, const char *vault, struct access_change *c,
                        access_fn fn, struct err *e) TS_REQUIRES(s->lock)
{
    struct keyvault *v = vault__find_vault(s, vault);

    if (!v)
        FAIL(e, ERR_NOT_FOUND, "there is no vault \"%s\"", vault);
    if (c->principal) {
        const struct identity *p = principal_of(s, v, c->principal);
        if (!p)
            FAIL(e, ERR_NOT_FOUND, "there is no identity \"%s\"", c->principal);
        memcpy(c->object_id, p->object_id, sizeof c->object_id);
    }
    if (c->role && !(c->known_role = vault__role(s, c->role)))
        FAIL(e, ERR_NOT_FOUND, "there is no role \"%.128s\"", c->role);
    if (c->key) {
        const char *origin = origin_of(v, c->key);
        if (!origin)
            FAIL(e, ERR_NOT_FOUND, "the vault \"%s\" has no key \"%s\"", vault, c->key);
        (void)snprintf(c->origin, sizeof c->origin, "%s", origin);
    }
    struct vault_access *was = v->access, *next = access_dup(was);
    v->access = next;
    rc_t rc = fn(next, c, e);
    if (!rc.failed && !c->is_so)
        rc = vault__state_save(s, e);
    if (rc.failed || c->is_so) {
        v->access = was;
        vault__access_free(next);
        return rc;
    }
    vault__access_free(was);
    return RC_OK;
}

static RC change(struct vault_service *s, const char *vault, struct access_change *c, access_fn fn,
                 struct err *e)
{
    mutex_lock(&s->lock);
    rc_t rc = change_locked(s, vault, c, fn, e);
    mutex_unlock(&s->lock);
    return rc;
}

static bool same_scope(const struct assignment *a, const char *key)
{
    return key ? a->key && strcasecmp(a->key, key) == 0 : !a->key;
}

static rc_t assign(struct vault_access *a, struct access_change *c, struct err *e)
{
    const struct vault_role *role = c->known_role;
    int at = 0;

    while (at < a->n_assignments &&
           !(a->assignments[at].role == role && same_scope(&a->assignments[at], c->key) &&
             strcasecmp(a->assignments[at].object_id, c->object_id) == 0))
        at++;
    bool there = at < a->n_assignments;
    /* of the key that has the name now */
    c->is_so = c->give ? there && strcmp(a->assignments[at].origin, c->origin) == 0 : !there;
    if (c->is_so)
        return RC_OK;
    if (!c->give) {
        mem_free(a->assignments[at].key);
        a->assignments[at] = a->assignments[--a->n_assignments];
        return RC_OK;
    }
    if (!there && a->n_assignments >= ASSIGNMENTS_MAX)
        FAIL(e, ERR_BAD_VALUE, "the vault has %d role assignments: no more fit", ASSIGNMENTS_MAX);
    struct assignment *one = &a->assignments[at];
    if (!there) {
        a->n_assignments++;
        one->key = c->key ? mem_strdup(c->key) : NULL;
    }
    one->role = role;
    memcpy(one->object_id, c->object_id, sizeof one->object_id);
    memcpy(one->origin, c->origin, sizeof one->origin);
    return RC_OK;
}

RC vault_role_assign(struct vault_service *s, const char *vault, const char *key,
                     const char *principal, const char *role, struct err *e)
{
    struct access_change c = {
        .key = key && *key ? key : NULL, .principal = principal, .role = role, .give = true
    };

    return change(s, vault, &c, assign, e);
}

RC vault_role_remove(struct vault_service *s, const char *vault, const char *key,
                     const char *principal, const char *role, struct err *e)
{
    struct access_change c = { .key = key && *key ? key : NULL,
                               .principal = principal,
                               .role = role };

    return change(s, vault, &c, assign, e);
}

static rc_t set_policy(struct vault_access *a, struct access_change *c, struct err *e)
{
    uint32_t perms;
    int at = 0;

    TRY(vault__perms_read(c->permissions, &perms, e));
    while (at < a->n_policies && strcasecmp(a->policies[at].object_id, c->object_id) != 0)
        at++;
    c->is_so = perms == (at < a->n_policies ? a->policies[at].perms : 0);
    if (c->is_so)
        return RC_OK;
    if (!perms) {
        a->policies[at] = a->policies[--a->n_policies];
        return RC_OK;
    }
    if (at >= POLICIES_MAX)
        FAIL(e, ERR_BAD_VALUE, "the vault has %d access policies: no more fit", POLICIES_MAX);
    if (at == a->n_policies)
        a->n_policies++;
    memcpy(a->policies[at].object_id, c->object_id, sizeof c->object_id);
    a->policies[at].perms = perms;
    return RC_OK;
}

RC vault_policy_set(struct vault_service *s, const char *vault, const char *principal,
                    const char *permissions, struct err *e)
{
    struct access_change c = { .principal = principal, .permissions = permissions };

    return change(s, vault, &c, set_policy, e);
}

static rc_t set_default(struct vault_access *a, struct access_change *c, struct err *e)
{
    (void)e;
    c->is_so = a->deny_others == !c->give;
    a->deny_others = !c->give;
    return RC_OK;
}

RC vault_firewall_default(struct vault_service *s, const char *vault, bool allow, struct err *e)
{
    struct access_change c = { .give = allow };

    return change(s, vault, &c, set_default, e);
}

static rc_t change_rule(struct vault_access *a, struct access_change *c, struct err *e)
{
    struct cidr rule;
    int at = 0;

    TRY(vault__cidr_read(c->range, &rule, e));
    while (at < a->n_rules &&
           (a->rules[at].bits != rule.bits || memcmp(a->rules[at].address, rule.address, 16) != 0))
        at++;
    bool there = at < a->n_rules;
    if (!c->give && !there)
        FAIL(e, ERR_NOT_FOUND, "the vault has no address rule \"%s\"", c->range);
    c->is_so = c->give && there;
    if (!c->give)
        a->rules[at] = a->rules[--a->n_rules];
    else if (!there && a->n_rules >= FIREWALL_RULES_MAX)
        FAIL(e, ERR_BAD_VALUE, "the vault has %d address rules: no more fit", FIREWALL_RULES_MAX);
    else if (!there)
        a->rules[a->n_rules++] = rule;
    return RC_OK;
}

RC vault_firewall_rule(struct vault_service *s, const char *vault, const char *range, bool add,
                       struct err *e)
{
    struct access_change c = { .range = range, .give = add };

    return change(s, vault, &c, change_rule, e);
}

/* ---- a principal that goes ---- */

static struct vault_access *without(const struct vault_access *from, const char *object_id)
{
    struct vault_access *a = access_dup(from);
    int n = 0, m = 0;

    for (int i = 0; i < a->n_assignments; i++) {
        if (strcasecmp(a->assignments[i].object_id, object_id) == 0)
            mem_free(a->assignments[i].key);
        else
            a->assignments[n++] = a->assignments[i];
    }
    for (int i = 0; i < a->n_policies; i++)
        if (strcasecmp(a->policies[i].object_id, object_id) != 0)
            a->policies[m++] = a->policies[i];
    a->n_assignments = n;
    a->n_policies = m;
    return a;
}

void vault__forget_principal(struct vault_service *s, const char *object_id,
                             struct vault_access **was)
{
    for (int i = 0; i < s->n_vaults; i++) {
        was[i] = s->vaults[i]->access;
        s->vaults[i]->access = without(was[i], object_id);
    }
}

void vault__remember_principal(struct vault_service *s, struct vault_access **was)
{
    for (int i = 0; i < s->n_vaults; i++) {
        vault__access_free(s->vaults[i]->access);
        s->vaults[i]->access = was[i];
    }
}

/* ---- as JSON ---- */

static json_t *perms_json(uint32_t perms)
{
    json_t *list = json_array();

    for (int p = 0; p < PERM_NR; p++)
        if (perms & (1u << p))
            json_array_append_new(list, json_string(vault__perm_name((enum vault_perm)p)));
    return list;
}

static void add_list(json_t *vault, const char *name, json_t *list)
{
    if (json_array_size(list) > 0)
        json_object_set_new(vault, name, list);
    else
        json_decref(list);
}

void vault__access_json(const struct vault_access *a, json_t *vault)
{
    json_t *grants = json_array(), *policies = json_array(), *rules = json_array();

    for (int i = 0; i < a->n_assignments; i++) {
        const struct assignment *one = &a->assignments[i];
        json_t *o = json_pack("{s:s,s:s}", "object", one->object_id, "role", one->role->id);
        if (one->key) {
            json_object_set_new(o, "key", json_string(one->key));
            json_object_set_new(o, "origin", json_string(one->origin));
        }
        json_array_append_new(grants, o);
    }
    for (int i = 0; i < a->n_policies; i++)
        json_array_append_new(policies, json_pack("{s:s,s:o}", "object", a->policies[i].object_id,
                                                  "keys", perms_json(a->policies[i].perms)));
    for (int i = 0; i < a->n_rules; i++)
        json_array_append_new(rules, json_string(a->rules[i].text));
    json_object_set_new(vault, "assignments", grants);
    add_list(vault, "policies", policies);
    add_list(vault, "addresses", rules);
    if (a->deny_others)
        json_object_set_new(vault, "denyOthers", json_true());
}

static bool read_assignment(struct vault_service *s, const json_t *o, struct assignment *a)
{
    const char *role = kjson_str(o, "role"), *key = kjson_str(o, "key");

    if (!role || !(a->role = vault__role(s, role)) ||
        !vault__get_text(o, "object", a->object_id, sizeof a->object_id))
        return false;
    if (!key)
        return !kjson_has(o, "key");
    a->key = mem_strdup(key);
    return vault__get_text(o, "origin", a->origin, sizeof a->origin);
}

static bool read_policy(const json_t *o, struct access_policy *p)
{
    const json_t *names = kjson_arr(o, "keys");
    struct err e = { 0 };

    if (!vault__get_text(o, "object", p->object_id, sizeof p->object_id) || !names)
        return false;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        uint32_t bits;
        if (!name || vault__perms_read(name, &bits, &e).failed)
            return false;
        p->perms |= bits;
    }
    return true;
}

bool vault__access_read(struct vault_service *s, const json_t *vault, struct vault_access *a)
{
    const json_t *grants = kjson_arr(vault, "assignments"),
                 *policies = kjson_arr(vault, "policies"), *rules = kjson_arr(vault, "addresses");
    size_t n = json_array_size(grants), m = json_array_size(policies), r = json_array_size(rules);
    struct err e = { 0 };

    if (!grants || n > ASSIGNMENTS_MAX || m > POLICIES_MAX || r > FIREWALL_RULES_MAX ||
        (kjson_has(vault, "denyOthers") && !kjson_bool(vault, "denyOthers", &a->deny_others)))
        return false;
    a->assignments = NEW_ARRAY(struct assignment, n + 1);
    a->policies = NEW_ARRAY(struct access_policy, m + 1);
    a->rules = NEW_ARRAY(struct cidr, r + 1);
    for (size_t i = 0; i < n; i++)
        if (!read_assignment(s, json_array_get(grants, i), &a->assignments[a->n_assignments++]))
            return false;
    for (size_t i = 0; i < m; i++)
        if (!read_policy(json_array_get(policies, i), &a->policies[a->n_policies++]))
            return false;
    for (size_t i = 0; i < r; i++) {
        const char *text = json_string_value(json_array_get(rules, i));
        if (!text || vault__cidr_read(text, &a->rules[a->n_rules++], &e).failed)
            return false;
    }
    return true;
}

/* ---- telling ---- */

static json_t *told_principal(struct vault_service *s, const char *object_id)
{
    const struct identity *p = vault__identity_by_object(s, object_id);

    return json_pack("{s:s,s:s}", "objectId", object_id, "principal", p ? p->name : "");
}

static json_t *told(struct vault_service *s, const struct keyvault *v)
{
    const struct vault_access *a = v->access;
    json_t *grants = json_array(), *policies = json_array(), *rules = json_array();

    for (int i = 0; i < a->n_assignments; i++) {
        json_t *o = told_principal(s, a->assignments[i].object_id);
        json_object_set_new(o, "role", json_string(a->assignments[i].role->name));
        if (a->assignments[i].key)
            json_object_set_new(o, "key", json_string(a->assignments[i].key));
        json_array_append_new(grants, o);
    }
    for (int i = 0; i < a->n_policies; i++) {
        json_t *o = told_principal(s, a->policies[i].object_id);
        json_object_set_new(o, "keys", perms_json(a->policies[i].perms));
        json_array_append_new(policies, o);
    }
    for (int i = 0; i < a->n_rules; i++)
        json_array_append_new(rules, json_string(a->rules[i].text));
    return json_pack("{s:s,s:s,s:o,s:o,s:{s:s,s:o}}", "vault", v->name, "mode",
                     v->props->rbac ? "rbac" : "policies", "roleAssignments", grants,
                     "accessPolicies", policies, "firewall", "defaultAction",
                     a->deny_others ? "Deny" : "Allow", "ipRules", rules);
}

RC vault_access(struct vault_service *s, const char *vault, struct buf *out, struct err *e)
{
    mutex_lock(&s->lock);
    const struct keyvault *v = vault__find_vault(s, vault);
    AUTO(kjson_freep) json_t *j = v ? told(s, v) : NULL;
    mutex_unlock(&s->lock);
    if (!j)
        FAIL(e, ERR_NOT_FOUND, "there is no vault \"%s\"", vault);
    kjson_dump(j, out);
    return RC_OK;
}
