/* vault_rest_wishes.c - what a client sets on a version, read from the body and checked before anything is touched. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

bool vault__bad(struct rest_call *c, const char *text)
{
    vault__rest_error(c, 400, "BadParameter", NULL, "%s", text);
    return false;
}

/* null takes a date away. */
static bool read_date(struct rest_call *c, const json_t *a, const char *member, bool *has,
                      int64_t *out)
{
    const json_t *v = json_object_get(a, member);

    if (!v)
        return true;
    *has = true;
    *out = 0;
    if (json_is_null(v))
        return true;
    if (!kjson_i64(a, member, out) || *out <= 0 || *out > (int64_t)253402300799) /* the year 9999 */
        return vault__bad(c, "A date in the attributes is not a number of seconds since 1970.");
    return true;
}

static bool read_attributes(struct rest_call *c, const json_t *body, struct wishes *w)
{
    const json_t *a = json_object_get(body, "attributes");
    bool exportable = false;

    if (!a || json_is_null(a))
        return true;
    if (!json_is_object(a))
        return vault__bad(c, "The attributes are not an object.");
    if (kjson_has(a, "enabled")) {
        if (!kjson_bool(a, "enabled", &w->enabled))
            return vault__bad(c, "The attribute enabled is not a boolean.");
        w->has_enabled = true;
    }
    if (kjson_has(a, "exportable") && !kjson_bool(a, "exportable", &exportable))
        return vault__bad(c, "The attribute exportable is not a boolean.");
    if (exportable)
        return vault__bad(c, "Exportable keys are not offered by this vault.");
    return read_date(c, a, "nbf", &w->has_nbf, &w->nbf) &&
           read_date(c, a, "exp", &w->has_exp, &w->exp);
}

static bool read_ops(struct rest_call *c, const json_t *body, struct wishes *w)
{
    const json_t *list = json_object_get(body, "key_ops");

    if (!list || json_is_null(list))
        return true;
    if (!json_is_array(list))
        return vault__bad(c, "key_ops is not a list.");
    w->has_ops = true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        unsigned bit = name ? vault__op_bit(name) : 0;
        if (!bit)
            return vault__bad(c, "key_ops names an operation that this key cannot do.");
        w->ops |= bit;
    }
    return true;
}

/* characters, not bytes */
static size_t text_len(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static bool read_tags(struct rest_call *c, const json_t *body, struct wishes *w)
{
    json_t *tags = json_object_get(body, "tags");
    const char *name;
    json_t *value;

    if (!tags || json_is_null(tags))
        return true;
    if (!json_is_object(tags) || json_object_size(tags) > TAGS_MAX)
        return vault__bad(c, "A key has at most 15 tags.");
    w->has_tags = true;
    json_object_foreach(tags, name, value)
    {
        const char *text = json_string_value(value);
        if (!text || !*name || text_len(name) > TAG_TEXT_MAX || text_len(text) > TAG_TEXT_MAX)
            return vault__bad(
                c, "The name and the value of a tag are texts of at most 256 characters.");
        w->tags[w->n_tags].name = mem_strdup(name);
        w->tags[w->n_tags++].value = mem_strdup(text);
    }
    return true;
}

bool vault__wishes_read(struct rest_call *c, const json_t *body, struct wishes *w)
{
    if (kjson_has(body, "release_policy"))
        return vault__bad(c,
                          "Only exportable keys have a release policy, and this vault holds none.");
    return read_attributes(c, body, w) && read_ops(c, body, w) && read_tags(c, body, w);
}

bool vault__wishes_fit(struct rest_call *c, const struct wishes *w, enum key_type type)
{
    if (w->has_ops && (w->ops & ~vault__ops_of(type)))
        return vault__bad(c, "key_ops names an operation that this key cannot do.");
    return true;
}

void vault__wishes_free(struct wishes *w)
{
    vault__tags_free(w->tags, w->n_tags);
    w->n_tags = 0;
}

void vault__wishes_grant(struct key_version *v, struct wishes *w)
{
    struct key_version old = *v;

    if (w->has_enabled)
        v->enabled = w->enabled;
    if (w->has_nbf)
        v->nbf = w->nbf;
    if (w->has_exp) { /* another end has been told to nobody */
        v->exp = w->exp;
        v->told = w->told;
    }
    if (w->has_ops)
        v->ops = w->ops;
    if (w->has_tags) {
        memcpy(v->tags, w->tags, sizeof v->tags);
        v->n_tags = w->n_tags;
        memcpy(w->tags, old.tags, sizeof w->tags);
        w->n_tags = old.n_tags;
    }
    w->enabled = old.enabled;
    w->nbf = old.nbf;
    w->exp = old.exp;
    w->told = old.told;
    w->ops = old.ops;
}

bool vault__dates_fit(int64_t nbf, int64_t exp)
{
    return !nbf || !exp || nbf < exp;
}

bool vault__read_body(struct rest_call *c, json_t **body)
{
    struct err e = { 0 };

    if (!http_json(c->q, body, &e).failed)
        return true;
    vault__rest_error(c, 400, "BadParameter", NULL, "The request body is malformed: %s.", e.msg);
    return false;
}
