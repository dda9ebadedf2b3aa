/* vault_rest_rotate.c - a key's next version, asked for, and the policy by which it comes unasked (vault_rotator.c). */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

/* With the lock held: the key, or the answer that there is none. */
static struct vkey *find(struct rest_call *c) TS_REQUIRES(c->s->lock)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;

    if (!k)
        vault__not_found(c);
    return k;
}

void vault__next_version(const struct vkey *k, int64_t now_s, struct key_spec *spec,
                         struct wishes *w)
{
    const struct key_version *v = k->versions[k->n_versions - 1];

    *spec = vault__spec_like(&v->pub);
    *w = (struct wishes){ .has_ops = true, .ops = v->ops, .has_tags = true };
    for (; w->n_tags < v->n_tags; w->n_tags++) {
        w->tags[w->n_tags].name = mem_strdup(v->tags[w->n_tags].name);
        w->tags[w->n_tags].value = mem_strdup(v->tags[w->n_tags].value);
    }
    if (vault__duration_is_set(&k->policy.expiry)) {
        w->has_exp = true;
        w->exp = vault__duration_after(now_s, &k->policy.expiry, 1);
    }
}

void vault__key_rotate(struct rest_call *c)
{
    struct key_version *v = NULL;
    struct key_spec spec;
    struct wishes w = { 0 };
    struct err e = { 0 };
    bool may = false;

    mutex_lock(&c->s->lock);
    struct vkey *k = find(c);
    if (k && !k->versions[k->n_versions - 1]->enabled) {
        /* who disabled the key did not mean to get another one */
        vault__rest_error(c, 403, "Forbidden", "KeyDisabled",
                          "Operation rotate is not allowed on a disabled key.");
    } else if (k) {
        vault__next_version(k, clock_real_s(), &spec, &w);
        may = true;
    }
    mutex_unlock(&c->s->lock);
    /* takes its time: not under the lock */
    if (may && vault__make_version(c->s, c->vault, c->key, &spec, &v, &e).failed)
        vault__rest_internal(c, &e);
    else if (may)
        vault__publish_new(c, v, &w);
    vault__wishes_free(&w);
}

static void answer_policy(struct rest_call *c, const struct vkey *k) TS_REQUIRES(c->s->lock)
{
    json_t *o = vault__policy_json(&k->policy);

    json_object_set_new(o, "id",
                        json_string(arena_printf(http_arena(c->q), "%s/keys/%s/rotationpolicy",
                                                 vault__rest_base(c), k->name)));
    vault__rest_answer(c, 200, o);
}

void vault__policy_get(struct rest_call *c)
{
    mutex_lock(&c->s->lock);
    struct vkey *k = find(c);
    if (k)
        answer_policy(c, k);
    mutex_unlock(&c->s->lock);
}

static void set_policy(struct rest_call *c, struct rotation_policy *p) TS_REQUIRES(c->s->lock)
{
    struct vkey *k = find(c);
    struct err e = { 0 };

    if (!k)
        return;
    struct rotation_policy was = k->policy;
    p->updated = clock_real_s();
    p->created = was.created ? was.created : p->updated;
    k->policy = *p;
    if (vault__state_save(c->s, &e).failed) {
        k->policy = was;
        vault__rest_internal(c, &e);
        return;
    }
    answer_policy(c, k);
}

void vault__policy_put(struct rest_call *c)
{
    struct rotation_policy p;
    struct err e = { 0 };
    json_t *body;

    if (!vault__read_body(c, &body))
        return;
    if (vault__policy_read(body, &p, &e).failed) {
        (void)vault__bad(c, e.msg);
        return;
    }
    mutex_lock(&c->s->lock);
    set_policy(c, &p);
    mutex_unlock(&c->s->lock);
}
