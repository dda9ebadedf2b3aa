/* vault_admit.c - whether a request whose token is good may do what it asks: from its address, and with its principal's rights. The texts are the
 * reference service's, since operators search for them. */
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "vault_priv.h"

/* "appid=...;oid=...;iss=..." in the request's arena */
static const char *caller(struct rest_call *c)
{
    char issuer[ISSUER_MAX];

    return arena_printf(http_arena(c->q), "appid=%s;oid=%s;iss=%s", c->who.client_id,
                        c->who.object_id,
                        vault__issuer(c->s, c->who.tenant, /* v2= */ false, issuer, sizeof issuer));
}

bool vault__admit_address(struct rest_call *c)
{
    const struct sockaddr *peer = http_peer(c->q);
    char text[INET6_ADDRSTRLEN];

    mutex_lock(&c->s->lock);
    const struct keyvault *v = vault__find_vault(c->s, c->vault);
    bool let_in = v && !v->access->deny_others;
    for (int i = 0; v && !let_in && i < v->access->n_rules; i++)
        let_in = vault__cidr_holds(&v->access->rules[i], peer);
    mutex_unlock(&c->s->lock);
    if (let_in)
        return true;
    vault__rest_error(
        c, 403, "Forbidden", "ForbiddenByFirewall",
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: %s\r\nCaller: %s\r\n"
        "Vault: %s;location=%s",
        vault__address_text(peer, text, sizeof text), caller(c), c->vault, c->props->location);
    return false;
}

static void refuse_by_policy(struct rest_call *c)
{
    vault__rest_error(
        c, 403, "Forbidden", "AccessDenied",
        "The user, group or application '%s' does not have keys %s permission on key vault '%s;location=%s'.",
        caller(c), vault__perm_name(c->op->perm), c->vault, c->props->location);
}

static void refuse_by_role(struct rest_call *c)
{
    vault__rest_error(
        c, 403, "Forbidden", "ForbiddenByRbac",
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions "
        "were changed recently, please observe propagation time.\r\nCaller: %s\r\nAction: '%s'\r\n"
        "Resource: '/subscriptions/%s/resourcegroups/coffer/providers/microsoft.keyvault/vaults/%s%s%s'\r\nAssignment: "
        "(not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\nVault: %s;location=%s\r\n",
        caller(c), vault__perm_action(c->op->perm), c->props->subscription, c->vault,
        *c->key ? "/keys/" : "", c->key, c->vault, c->props->location);
}

bool vault__admit_permission(struct rest_call *c)
{
    mutex_lock(&c->s->lock);
    const struct keyvault *v = vault__find_vault(c->s, c->vault);
    /* it may be deleted while the request is under way */
    bool known = vault__identity_by_object(c->s, c->who.object_id) != NULL;
    bool allowed = v && known && vault__allowed(v, c->who.object_id, c->op->perm, c->key);
    bool by_role = !v || v->props->rbac;
    mutex_unlock(&c->s->lock);
    if (allowed)
        return true;
    if (by_role)
        refuse_by_role(c);
    else
        refuse_by_policy(c);
    return false;
}
