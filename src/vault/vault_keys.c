/* vault_keys.c - vaults, keys and versions in memory. Callers hold the service's lock. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "vault_priv.h"

static const struct {
    unsigned bit;
    const char *name;
} op_names[] = {
    { OP_ENCRYPT, "encrypt" }, { OP_DECRYPT, "decrypt" }, { OP_SIGN, "sign" },
    { OP_VERIFY, "verify" },   { OP_WRAP, "wrapKey" },    { OP_UNWRAP, "unwrapKey" },
};

const char *vault__op_name(unsigned op_bit)
{
    for (size_t i = 0; i < ARRAY_LEN(op_names); i++)
        if (op_names[i].bit == op_bit)
            return op_names[i].name;
    return NULL;
}

unsigned vault__op_bit(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(op_names); i++)
        if (strcmp(op_names[i].name, name) == 0)
            return op_names[i].bit;
    return 0;
}

bool vault__valid_vault_name(const char *s)
{
    size_t n = strlen(s);

    if (n < 3 || n > VAULT_NAME_MAX || !isalpha((unsigned char)s[0]) || s[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(isalnum((unsigned char)s[i]) || s[i] == '-'))
            return false;
    return true;
}

bool vault__valid_key_name(const char *s)
{
    size_t n = strlen(s);

    if (n < 1 || n > KEY_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(isalnum((unsigned char)s[i]) || s[i] == '-'))
            return false;
    return true;
}

bool vault__valid_uuid(const char *s)
{
    if (strlen(s) != UUID_LEN)
        return false;
    for (int i = 0; i < UUID_LEN; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
            return false;
    }
    return true;
}

RC vault__random_hex(char *out, int n_digits, struct err *e)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[32];

    INVARIANT(n_digits % 2 == 0 && n_digits / 2 <= (int)sizeof bytes);
    TRY(random_bytes(bytes, (size_t)n_digits / 2, e));
    for (int i = 0; i < n_digits; i++)
        out[i] = digits[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
    out[n_digits] = 0;
    return RC_OK;
}

RC vault__random_uuid(char out[UUID_LEN + 1], struct err *e)
{
    char h[33];

    out[0] = 0;
    TRY(vault__random_hex(h, 32, e));
    h[12] = '4';                              /* RFC 9562 5.4: version 4 */
    h[16] = "89ab"[(unsigned char)h[16] % 4]; /* and its variant */
    (void)snprintf(out, UUID_LEN + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", h, h + 8, h + 12, h + 16,
                   h + 20);
    return RC_OK;
}

void vault__tags_free(struct tag *tags, int n)
{
    for (int i = 0; i < n; i++) {
        mem_free(tags[i].name);
        mem_free(tags[i].value);
    }
}

void vault__version_free(struct key_version *v)
{
    if (!v)
        return;
    vault__tags_free(v->tags, v->n_tags);
    buf_fini(&v->sealed);
    mem_free(v);
}

void vault__key_free(struct vkey *k)
{
    if (!k)
        return;
    for (int i = 0; i < k->n_versions; i++)
        vault__version_free(k->versions[i]);
    mem_free(k->versions);
    mem_free(k);
}

struct keyvault *vault__find_vault(struct vault_service *s, const char *name)
{
    for (int i = 0; i < s->n_vaults; i++)
        if (strcasecmp(s->vaults[i]->name, name) == 0)
            return s->vaults[i];
    return NULL;
}

/* Where the key is, or where it would be inserted. Names are compared without case, as the service does. */
static int key_slot(const struct keyvault *v, const char *name, bool *found)
{
    int lo = 0, hi = v->n_keys;

    *found = false;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, c = strcasecmp(v->keys[mid]->name, name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct vkey *vault__find_key(const struct keyvault *v, const char *name)
{
    bool found;
    int at = key_slot(v, name, &found);

    return found && !v->keys[at]->deleted_s ? v->keys[at] : NULL;
}

struct vkey *vault__find_deleted(const struct keyvault *v, const char *name)
{
    bool found;
    int at = key_slot(v, name, &found);

    return found && v->keys[at]->deleted_s ? v->keys[at] : NULL;
}

struct vkey *vault__take_key(struct keyvault *v, const char *name)
{
    bool found;
    int at = key_slot(v, name, &found);

    INVARIANT(found);
    struct vkey *k = v->keys[at];
    v->n_keys--;
    memmove(v->keys + at, v->keys + at + 1, (size_t)(v->n_keys - at) * sizeof(struct vkey *));
    return k;
}

void vault__give_key(struct keyvault *v, struct vkey *k)
{
    bool found;
    int at = key_slot(v, k->name, &found);

    INVARIANT(!found);
    v->keys = mem_realloc(v->keys, ((size_t)v->n_keys + 1) * sizeof(struct vkey *));
    memmove(v->keys + at + 1, v->keys + at, (size_t)(v->n_keys - at) * sizeof(struct vkey *));
    v->keys[at] = k;
    v->n_keys++;
}

struct key_version *vault__find_version(const struct vkey *k, const char *version)
{
    if (k->n_versions == 0)
        return NULL;
    if (!*version)
        return k->versions[k->n_versions - 1];
    for (int i = 0; i < k->n_versions; i++)
        if (strcasecmp(k->versions[i]->id, version) == 0)
            return k->versions[i];
    return NULL;
}

struct keyvault *vault__vault_new(const char *name, struct vault_props *props)
{
    struct keyvault *v = NEW(struct keyvault);

    (void)snprintf(v->name, sizeof v->name, "%s", name);
    v->props = props;
    v->access = vault__access_new();
    return v;
}

void vault__vault_free(struct keyvault *v)
{
    if (!v)
        return;
    for (int i = 0; i < v->n_keys; i++)
        vault__key_free(v->keys[i]);
    mem_free(v->keys);
    vault__access_free(v->access);
    vault__props_unref(v->props);
    mem_free(v);
}

void vault__put_version(struct keyvault *kv, const char *key, struct key_version *v)
{
    bool found;
    int at = key_slot(kv, key, &found);

    if (!found) {
        struct vkey *fresh = NEW(struct vkey);
        (void)snprintf(fresh->name, sizeof fresh->name, "%s", key);
        vault__give_key(kv, fresh);
    }
    struct vkey *k = kv->keys[at];
    k->versions =
        mem_realloc(k->versions, ((size_t)k->n_versions + 1) * sizeof(struct key_version *));
    k->versions[k->n_versions++] = v;
}

void vault__drop_newest(struct keyvault *kv, const char *key)
{
    bool found;
    int at = key_slot(kv, key, &found);

    INVARIANT(found && kv->keys[at]->n_versions > 0);
    struct vkey *k = kv->keys[at];
    vault__version_free(k->versions[--k->n_versions]);
    if (k->n_versions == 0)
        vault__key_free(vault__take_key(kv, key));
}
