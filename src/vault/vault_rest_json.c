/* vault_rest_json.c - what answers look like: bundles, items of lists, pages (key-vault.md 3). */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { PAGE_MAX = 25 };

static json_t *ops_json(unsigned ops)
{
    json_t *list = json_array();

    for (unsigned bit = 1; bit <= OP_UNWRAP; bit <<= 1)
        if (ops & bit)
            json_array_append_new(list, json_string(vault__op_name(bit)));
    return list;
}

static json_t *attributes_json(struct rest_call *c, const struct key_version *v)
{
    json_t *a = json_pack("{s:b,s:I,s:I,s:s,s:i}", "enabled", v->enabled, "created",
                          (json_int_t)v->created, "updated", (json_int_t)v->updated,
                          "recoveryLevel", vault__recovery_level(c->props), "recoverableDays",
                          c->props->soft_delete ? (int)c->props->retention_days : 0);

    if (v->nbf)
        json_object_set_new(a, "nbf", json_integer(v->nbf));
    if (v->exp)
        json_object_set_new(a, "exp", json_integer(v->exp));
    json_object_set_new(a, "exportable", json_false());
    json_object_set_new(a, "hsmPlatform", json_string("0"));
    /* since the versions that are dates */
    if (v->pub.type == KEY_RSA && strncmp(http_query(c->q, "api-version"), "20", 2) == 0)
        json_object_set_new(a, "key_size", json_integer(vault__key_bits(&v->pub)));
    return a;
}

static json_t *tags_json(const struct key_version *v)
{
    json_t *t = json_object();

    for (int i = 0; i < v->n_tags; i++)
        json_object_set_new(t, v->tags[i].name, json_string(v->tags[i].value));
    return t;
}

json_t *vault__bundle_json(struct rest_call *c, const char *key, const struct key_version *v)
{
    AUTO(mem_freep) char *kid = mem_printf("%s/keys/%s/%s", vault__rest_base(c), key, v->id);
    json_t *jwk = json_pack("{s:s,s:o}", "kid", kid, "key_ops", ops_json(v->ops));

    vault__jwk_write(&v->pub, jwk);
    return json_pack("{s:o,s:o,s:o}", "key", jwk, "attributes", attributes_json(c, v), "tags",
                     tags_json(v));
}

json_t *vault__item_json(struct rest_call *c, const char *kid, const struct key_version *v)
{
    return json_pack("{s:s,s:o,s:o}", "kid", kid, "attributes", attributes_json(c, v), "tags",
                     tags_json(v));
}

/* ---- lists, a page at a time; a page starts after the name or version in $skiptoken ---- */

bool vault__page_read(struct rest_call *c, int64_t *max, struct buf *after)
{
    const char *text = http_query(c->q, "maxresults"), *token = http_query(c->q, "$skiptoken");

    *max = PAGE_MAX;
    if (text && (!text_i64(slice_str(text), max) || *max < 1 || *max > PAGE_MAX))
        return vault__bad(c, "maxresults is 1 to 25.");
    /* the name of a key, or of a version */
    if (token && (!base64url_decode(slice_str(token), after) || memchr(after->p, 0, after->len) ||
                  !vault__valid_key_name(buf_cstr(after))))
        return vault__bad(c, "$skiptoken was not given out by this vault.");
    return true;
}

void vault__page_finish(struct rest_call *c, json_t *items, const char *path, int64_t max,
                        const char *last)
{
    json_t *page = json_pack("{s:o}", "value", items);
    AUTO(buf_fini) struct buf token = BUF_INIT;

    if (last) {
        base64url_encode(slice_str(last), &token);
        json_object_set_new(
            page, "nextLink",
            json_string(arena_printf(http_arena(c->q),
                                     "%s/%s?api-version=%s&$skiptoken=%s&maxresults=%lld",
                                     vault__rest_base(c), path, http_query(c->q, "api-version"),
                                     buf_cstr(&token), (long long)max)));
    } else {
        json_object_set_new(page, "nextLink", json_null());
    }
    vault__rest_answer(c, 200, page);
}
