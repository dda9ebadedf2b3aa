/* kms_remote.c - what the providers of remote services have in common: one lock, arguments that are checked, errors that name the
 * key, and requests over HTTP that ask for a new credential once. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_priv.h"

enum { KMS_REMOTE_MAGIC = 0x4b4d5352, PAUSE_MAX_S = 300 };

static struct kms_remote *remote_of(struct key_provider *p)
{
    struct kms_remote *r = CONTAINER_OF(p, struct kms_remote, table);

    INVARIANT(r->magic == KMS_REMOTE_MAGIC);
    return r;
}

static rc_t finish(struct kms_remote *r, rc_t rc, struct err *e) TS_RELEASE(r->lock)
{
    mutex_unlock(&r->lock);
    if (rc.failed)
        err_wrap(e, "key \"%s\"", r->shown);
    return rc;
}

static RC remote_get_key(struct key_provider *table, const char *version, uint64_t deadline_us,
                         struct key_info *out, struct err *e)
{
    struct kms_remote *r = remote_of(table);

    memset(out, 0, sizeof *out);
    if (version && !r->ops->is_version(version))
        FAIL(e, ERR_BAD_VALUE, "the key's version is not one of this provider's");
    mutex_lock(&r->lock);
    struct key_info i = { .grace_ms = GRACE_NONE };
    rc_t rc = r->ops->get_key(r, version ? version : "", deadline_us, &i, e);
    if (!rc.failed)
        *out = i;
    return finish(r, rc, e);
}

static RC remote_wrap(struct key_provider *table, const char *version, const struct secret *plain,
                      uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_remote *r = remote_of(table);

    memset(out, 0, sizeof *out);
    if ((version && !r->ops->is_version(version)) || secret_len(plain) != KMS_PLAIN_LEN)
        FAIL(e, ERR_BAD_VALUE, "what is wrapped has %d bytes, under a version of this provider's",
             KMS_PLAIN_LEN);
    mutex_lock(&r->lock);
    struct wrapped_key w = { 0 };
    rc_t rc = r->ops->wrap(r, version ? version : "", plain, deadline_us, &w, e);
    if (!rc.failed)
        *out = w;
    return finish(r, rc, e);
}

static RC remote_unwrap(struct key_provider *table, const struct wrapped_key *w, bool fresh,
                        uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct kms_remote *r = remote_of(table);

    *out = NULL;
    if (w->len == 0 || w->len > WRAP_MAX || !r->ops->is_version(w->version) ||
        !r->ops->is_alg(w->alg))
        FAIL(e, ERR_BAD_VALUE, "the wrapped key is not one of this provider's");
    mutex_lock(&r->lock);
    return finish(r, r->ops->unwrap(r, w, fresh, deadline_us, out, e), e);
}

static RC remote_set_enabled(struct key_provider *table, const char *version, bool enabled,
                             uint64_t deadline_us, struct err *e)
{
    struct kms_remote *r = remote_of(table);

    if (!r->ops->is_version(version))
        FAIL(e, ERR_BAD_VALUE, "the key's version is not one of this provider's");
    mutex_lock(&r->lock);
    return finish(r, r->ops->set_enabled(r, version, enabled, deadline_us, e), e);
}

static RC remote_get_tag(struct key_provider *table, const char *name, uint64_t deadline_us,
                         char value[KEY_TAG_MAX], struct err *e)
{
    struct kms_remote *r = remote_of(table);

    value[0] = '\0';
    mutex_lock(&r->lock);
    return finish(r, r->ops->get_tag(r, name, deadline_us, value, e), e);
}

static RC remote_set_tag(struct key_provider *table, const char *name, const char *value,
                         uint64_t deadline_us, struct err *e)
{
    struct kms_remote *r = remote_of(table);

    mutex_lock(&r->lock);
    return finish(r, r->ops->set_tag(r, name, value, deadline_us, e), e);
}

static void remote_free(struct key_provider *table)
{
    if (!table)
        return;
    struct kms_remote *r = remote_of(table);
    http_client_free(r->http);
    mutex_fini(&r->lock);
    mem_free(r->shown);
    r->magic = 0;
    r->ops->free(r);
}

void kms__remote_init(struct kms_remote *r, const struct kms_remote_ops *ops)
{
    r->magic = KMS_REMOTE_MAGIC;
    r->ops = ops;
    r->table = (struct key_provider){
        .name = ops->name,
        .get_key = remote_get_key,
        .wrap = remote_wrap,
        .unwrap = remote_unwrap,
        .set_enabled = ops->set_enabled ? remote_set_enabled : NULL,
        .get_tag = ops->get_tag ? remote_get_tag : NULL,
        .set_tag = ops->set_tag ? remote_set_tag : NULL,
        .free = remote_free,
    };
    mutex_init(&r->lock);
}

/* ---- one exchange with the service ---- */

static RC once(struct kms_remote *r, const struct kms_exchange *x, struct http_answer *a,
               struct err *e)
{
    const char *headers[KMS_HEADERS_MAX] = { NULL };

    TRY(r->ops->headers(r, x, headers, e));
    struct http_call q = {
        .method = x->method,
        .url = x->url,
        .headers = headers,
        .body = x->body,
        .content_type = x->content_type ? x->content_type : "application/json",
        .deadline_us = x->deadline_us,
        .fresh = x->fresh,
    };
    http_answer_fini(a);
    http_client_call(r->http, &q, a);
    return a->outcome == HTTP_OUT_ANSWER ? RC_OK : kms__no_answer(e, "vault", a);
}

/* At least as long as asked for, and up to a quarter longer: nodes that were refused together must not come back together, or it is always the same ones
 * that find no room. */
static void note_pause(struct kms_remote *r, enum kmsg_class class, const struct http_answer *a)
{
    struct err ignored = { 0 };
    uint32_t dice = 0;

    if (a->retry_after_s <= 0 || (class != KMSG_THROTTLED && class != KMSG_UNREACHABLE))
        return;
    uint64_t pause_us = (uint64_t)MIN(a->retry_after_s, (int64_t)PAUSE_MAX_S) * 1000000;
    if (random_bytes(&dice, sizeof(dice), &ignored).failed)
        err_reset(&ignored);
    r->paused_until_us = clock_boot_us() + pause_us + pause_us / 4 * dice / UINT32_MAX;
}

RC kms__exchange(struct kms_remote *r, const struct kms_exchange *x, struct http_answer *a,
                 struct err *e)
{
    char cause[KMSG_CAUSE_MAX];

    if (clock_boot_us() < r->paused_until_us)
        FAIL(e, ERR_KEY_THROTTLED, "the key service asked not to be called for a while");
    TRY(once(r, x, a, e));
    struct kmsg_reply reply = kms__reply(a);
    enum kmsg_class class = r->ops->classify(&reply, cause);
    /* once: the token may have been revoked, or the keys that sign it changed */
    if (class == KMSG_UNAUTHORIZED || class == KMSG_EXPIRED) {
        r->ops->drop(r);
        TRY(once(r, x, a, e));
        reply = kms__reply(a);
        class = r->ops->classify(&reply, cause);
        if (class == KMSG_UNAUTHORIZED && r->ops->second_refusal_denies)
            class = KMSG_DENIED;
    }
    note_pause(r, class, a);
    return class == KMSG_OK ? RC_OK : kms__fail(e, class, cause);
}
