/* header.c - the 128 bytes at the head of every file, and the keys that they lead to.
 *
 *    0  8 magic            16  4 chunk           80  8 key check
 *    8  1 format           20  4 zero            88  8 zero
 *    9  1 algorithm        24  8 number          96 32 MAC
 *   10  1 layout           32 16 store id       128
 *   11  1 role             48 32 salt
 *   12  4 key generation
 *
 * Numbers are big-endian. The file's keys are derived from the SMK of its generation with the salt and bytes 0 to 95, so whatever stands in the clear
 * is bound to them. The key check depends on the SMK and the store id alone and is left out of the MAC. So a wrong key fails both, and damage fails one.
 */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/keyring.h"
#include "store_priv.h"

static const uint8_t magic[8] = { 'C', 'O', 'F', 'F', 'E', 'R', 'D', 'B' };
enum { FORMAT = 1 };
enum {
    AT_FORMAT = 8,
    AT_ALG = 9,
    AT_LAYOUT = 10,
    AT_ROLE = 11,
    AT_GEN = 12,
    AT_CHUNK = 16,
    AT_ZERO1 = 20,
    AT_NUMBER = 24,
    AT_ID = 32,
    AT_SALT = 48,
    AT_CHECK = 80,
    AT_ZERO2 = 88,
    AT_MAC = 96
};
static_assert(AT_ID + STORE_ID_LEN == AT_SALT && AT_SALT + STORE__SALT_LEN == AT_CHECK,
              "offset table");
static_assert(AT_CHECK + STORE__CHECK_LEN == AT_ZERO2 &&
                  AT_MAC + STORE__MAC_LEN == STORE__HEADER_LEN,
              "offset table");

uint8_t store__build_alg(void)
{
    static_assert((int)STORE__ALG_AES_256_GCM == (int)AEAD_ALG_AES_256_GCM &&
                      (int)STORE__ALG_NULL == (int)AEAD_ALG_NULL,
                  "one numbering");
    return (uint8_t)aead_algorithm();
}

enum store__layout store__role_layout(enum store__role role)
{
    return role == STORE__TABLE ? STORE__BLOCK : STORE__STREAM;
}

bool store__role_numbered(enum store__role role)
{
    return role == STORE__TABLE || role == STORE__JOURNAL ||
           role == STORE__MANIFEST; /* OPTIONS get another number at their renaming */
}

static RC key_check(struct keyring *keys, uint32_t gen, const uint8_t *id,
                    uint8_t out[STORE__CHECK_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *s = NULL;

    TRY(keyring_derive(keys, gen, LABEL_KEY_CHECK, SLICE(id, STORE_ID_LEN), SLICE_EMPTY, &s, e));
    memcpy(out, secret_view(s), STORE__CHECK_LEN);
    return RC_OK;
}

static RC header_mac(struct keyring *keys, uint32_t gen, const uint8_t *raw,
                     uint8_t out[STORE__MAC_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *s = NULL;
    const struct slice parts[] = { SLICE(raw, AT_CHECK), SLICE(raw + AT_ZERO2, AT_MAC - AT_ZERO2) };

    TRY(keyring_derive(keys, gen, LABEL_HEADER_MAC, SLICE(raw + AT_SALT, STORE__SALT_LEN),
                       SLICE(raw, AT_CHECK), &s, e));
    return hmac_sha256(s, parts, 2, out, e);
}

RC store__header_make(const struct store__seal *s, enum store__role role, uint64_t number,
                      uint8_t raw[STORE__HEADER_LEN], struct store__header *h, struct err *e)
{
    uint32_t gen = keyring_current(s->keys);

    memset(h, 0, sizeof(*h));
    memset(raw, 0, STORE__HEADER_LEN);
    if (gen == 0)
        FAIL(e, ERR_KEY_LOCKED, "no key generation is current");
    memcpy(raw, magic, sizeof(magic));
    raw[AT_FORMAT] = FORMAT;
    raw[AT_ALG] = s->alg;
    raw[AT_LAYOUT] = (uint8_t)store__role_layout(role);
    raw[AT_ROLE] = (uint8_t)role;
    put_be32(raw + AT_GEN, gen);
    put_be32(raw + AT_CHUNK, role == STORE__TABLE ? STORE__CHUNK : 0);
    put_be64(raw + AT_NUMBER, store__role_numbered(role) ? number : 0);
    memcpy(raw + AT_ID, s->id, STORE_ID_LEN);
    TRY(random_bytes(raw + AT_SALT, STORE__SALT_LEN, e));
    TRY(key_check(s->keys, gen, s->id, raw + AT_CHECK, e));
    TRY(header_mac(s->keys, gen, raw, raw + AT_MAC, e));
    return store__header_parse(SLICE(raw, STORE__HEADER_LEN), "new file", h, e);
}

bool store__header_current(const struct store__seal *s, const struct store__header *h)
{
    return keyring_current(s->keys) == h->gen;
}

RC store__header_parse(struct slice raw, const char *name, struct store__header *h, struct err *e)
{
    static const uint8_t zero[8] = { 0 };
    const uint8_t *p = raw.p;

    memset(h, 0, sizeof(*h));
    if (raw.len < STORE__HEADER_LEN)
        FAIL(e, ERR_CORRUPT, "file \"%s\" is shorter than its header", name);
    if (memcmp(p, magic, sizeof(magic)) != 0)
        FAIL(e, ERR_FOREIGN_FILE, "file \"%s\" is not an encrypted file of this product", name);
    if (p[AT_FORMAT] != FORMAT)
        FAIL(e, ERR_UNKNOWN_FORMAT, "file \"%s\" has format %u, known is %d", name, p[AT_FORMAT],
             FORMAT);
    if (p[AT_ALG] != STORE__ALG_AES_256_GCM && p[AT_ALG] != STORE__ALG_NULL)
        FAIL(e, ERR_UNKNOWN_FORMAT, "file \"%s\" has algorithm %u", name, p[AT_ALG]);
    h->alg = p[AT_ALG];
    h->layout = p[AT_LAYOUT];
    h->role = p[AT_ROLE];
    h->gen = get_be32(p + AT_GEN);
    h->chunk = get_be32(p + AT_CHUNK);
    h->number = get_be64(p + AT_NUMBER);
    memcpy(h->id, p + AT_ID, STORE_ID_LEN);
    memcpy(h->salt, p + AT_SALT, STORE__SALT_LEN);
    memcpy(h->check, p + AT_CHECK, STORE__CHECK_LEN);
    memcpy(h->mac, p + AT_MAC, STORE__MAC_LEN);
    if (h->role == 0 || h->role >= STORE__ROLE_NR ||
        h->layout != (uint8_t)store__role_layout((enum store__role)h->role) ||
        h->chunk != (h->role == STORE__TABLE ? STORE__CHUNK : 0) ||
        memcmp(p + AT_ZERO1, zero, 4) != 0 || memcmp(p + AT_ZERO2, zero, 8) != 0)
        FAIL(e, ERR_CORRUPT, "the header of file \"%s\" is damaged", name);
    return RC_OK;
}

RC store__header_verify(struct keyring *keys, uint8_t alg, const uint8_t *want_id, struct slice raw,
                        const char *name, struct store__header *h, struct err *e)
{
    uint8_t check[STORE__CHECK_LEN], mac[STORE__MAC_LEN];
    bool check_ok, mac_ok;

    TRY(store__header_parse(raw, name, h, e));
    if (h->alg != alg)
        FAIL(e, ERR_UNKNOWN_FORMAT, "file \"%s\" was written by a build with %s, this one has %s",
             name, h->alg == STORE__ALG_NULL ? "the null cipher" : "AES-256-GCM",
             alg == STORE__ALG_NULL ? "the null cipher" : "AES-256-GCM");
    if (want_id && memcmp(h->id, want_id, STORE_ID_LEN) != 0)
        FAIL(e, ERR_FOREIGN_FILE, "file \"%s\" belongs to another store", name);
    if (!keyring_has(keys, h->gen))
        FAIL(e, ERR_MISSING_GENERATION,
             "file \"%s\" is under key generation %u, which is not at hand", name, h->gen);
    TRY(key_check(keys, h->gen, h->id, check, e));
    TRY(header_mac(keys, h->gen, raw.p, mac, e));
    check_ok = ct_equal(check, h->check, sizeof(check));
    mac_ok = ct_equal(mac, h->mac, sizeof(mac));
    if (!check_ok && !mac_ok)
        FAIL(e, ERR_WRONG_KEY, "file \"%s\" is not under this key", name);
    if (!check_ok || !mac_ok)
        FAIL(e, ERR_CORRUPT, "the header of file \"%s\" is damaged", name);
    return RC_OK;
}

RC store__header_expect(const struct store__header *h, enum store__role role, uint64_t number,
                        const char *name, struct err *e)
{
    if (h->role != (uint8_t)role)
        FAIL(e, ERR_CORRUPT, "file \"%s\" was written for another purpose (%u)", name, h->role);
    if (store__role_numbered(role) && h->number != number)
        FAIL(e, ERR_CORRUPT, "file \"%s\" was written as number %llu", name,
             (unsigned long long)h->number);
    return RC_OK;
}

RC store__keys_derive(struct keyring *keys, const struct store__header *h,
                      const uint8_t raw[STORE__HEADER_LEN], struct store__keys *k, struct err *e)
{
    const struct slice context = SLICE(raw, AT_MAC), salt = SLICE(h->salt, STORE__SALT_LEN),
                       part = SLICE_LIT("cofferdb frame mark");
    enum key_label label = h->role == STORE__TABLE    ? LABEL_BLOCK_FILE
                           : h->role == STORE__ANCHOR ? LABEL_ANCHOR
                                                      : LABEL_STREAM_FILE;
    AUTO(secret_freep) struct secret *data = NULL;
    AUTO(secret_freep) struct secret *nonce = NULL;
    uint8_t mark[SHA256_LEN];

    memset(k, 0, sizeof(*k));
    TRY(keyring_derive(keys, h->gen, label, salt, context, &data, e));
    if (h->layout == STORE__STREAM) {
        TRY(keyring_derive(keys, h->gen, LABEL_STREAM_NONCE, salt, context, &nonce, e));
        TRY(hmac_sha256(nonce, &part, 1, mark, e));
        memcpy(k->mark, mark, sizeof(k->mark));
    }
    TRY(aead_key_new(data, &k->data, e));
    k->nonce = TAKE(nonce);
    memcpy(k->mac, h->mac, sizeof(k->mac));
    return RC_OK;
}

void store__keys_fini(struct store__keys *k)
{
    aead_key_freep(&k->data);
    secret_freep(&k->nonce);
}
