/* vault_seal.c - what of the vault lies on the disk, and under which key. docs/formats/vault.md has every byte.
 *
 * Nonces   Each seal draws a random 256-bit salt and derives a key for this one message, so that the nonce is constant.
 * Order    A save writes the state (temp file, sync, rename) with counter n+1 and then the pin with n+1. A crash between the two
 *          leaves a pin one behind, which is accepted and set right; a state behind its pin is an old copy and refused.
 * Failure  A save that fails may have reached the disk all the same (the sync after a rename, the pin): its caller takes the change
 *          back in memory, and the next save writes what memory holds. Until then a restart shows the change.
 */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/label.h"
#include "vault_priv.h"

enum {
    SALT_LEN = 32,
    FORMAT = 1,
    ALG_AES_256_GCM = 1,
    /* offsets of the state file's header */
    OFF_MAGIC = 0,
    OFF_FORMAT = 8,
    OFF_ALG = 10,
    OFF_ZERO = 12,
    OFF_STORE = 16,
    OFF_COUNTER = 32,
    OFF_LEN = 40,
    OFF_SALT = 48,
    OFF_CHECK = 80,
    HEADER_LEN = 96,
    CHECK_LEN = 16,
    /* offsets of the pin */
    PIN_STORE = 8,
    PIN_COUNTER = 24,
    PIN_MAC = 32,
    PIN_LEN = 64,
};
_Static_assert(OFF_SALT + SALT_LEN == OFF_CHECK, "the key check follows the salt");
_Static_assert(OFF_CHECK + CHECK_LEN == HEADER_LEN, "the header ends with the key check");

static const char state_magic[8] = "CFRVAULT";
static const char pin_magic[8] = "CFRVPIN1";
static const uint8_t zero_nonce[AEAD_NONCE_LEN];

RC vault__derive_from(const struct secret *root, enum key_label label, struct slice salt,
                      struct slice context, struct secret **out, struct err *e)
{
    AUTO(buf_fini) struct buf info = BUF_INIT;

    buf_push(&info, "cofferdb/1", 10);
    buf_push_be16(&info, (uint16_t)label);
    buf_push(&info, context.p, context.len);
    return hkdf_sha256(root, salt, buf_view(&info), AEAD_KEY_LEN, out, e);
}

RC vault__derive(struct vault_service *s, enum key_label label, struct slice salt,
                 struct slice context, struct secret **out, struct err *e)
{
    return vault__derive_from(s->root, label, salt, context, out, e);
}

static RC derive_aead(struct vault_service *s, enum key_label label, struct slice salt,
                      struct slice context, struct aead_key **out, struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;

    *out = NULL;
    TRY(vault__derive(s, label, salt, context, &k, e));
    return aead_key_new(k, out, e);
}

/* salt(32) || tag(16) || cipher text */
RC vault__seal_key(struct vault_service *s, struct slice context, const struct secret *plain,
                   struct buf *out, struct err *e)
{
    AUTO(aead_key_freep) struct aead_key *k = NULL;
    uint8_t salt[SALT_LEN];
    size_t at = out->len;

    TRY(random_bytes(salt, sizeof salt, e));
    TRY(derive_aead(s, LABEL_VAULT_KEY, SLICE(salt, sizeof salt), context, &k, e));
    buf_push(out, salt, sizeof salt);
    uint8_t *p = buf_extend(out, AEAD_TAG_LEN + secret_len(plain));
    struct aead_seal m = {
        .nonce = zero_nonce,
        .aad = context,
        .plain = SLICE(secret_view(plain), secret_len(plain)),
        .out = p + AEAD_TAG_LEN,
        .tag = p,
    };
    if (aead_seal(k, &m, e).failed) {
        out->len = at;
        return RC_FAILED;
    }
    return RC_OK;
}

RC vault__unseal_key(struct vault_service *s, struct slice context, struct slice sealed,
                     struct secret **out, struct err *e)
{
    AUTO(aead_key_freep) struct aead_key *k = NULL;
    AUTO(secret_freep) struct secret *plain = NULL;

    *out = NULL;
    if (sealed.len <= SALT_LEN + AEAD_TAG_LEN)
        FAIL(e, ERR_CORRUPT, "a sealed key is too short");
    TRY(derive_aead(s, LABEL_VAULT_KEY, SLICE(sealed.p, SALT_LEN), context, &k, e));
    size_t len = sealed.len - SALT_LEN - AEAD_TAG_LEN;
    TRY(secret_new(len, &plain, e));
    struct aead_open m = {
        .nonce = zero_nonce,
        .aad = context,
        .cipher = SLICE(sealed.p + SALT_LEN + AEAD_TAG_LEN, len),
        .tag = sealed.p + SALT_LEN,
        .out = secret_bytes(plain),
    };
    TRY(aead_open(k, &m, e));
    *out = TAKE(plain);
    return RC_OK;
}

static RC key_check(struct vault_service *s, const uint8_t *header, uint8_t out[CHECK_LEN],
                    struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;

    TRY(vault__derive(s, LABEL_KEY_CHECK, SLICE(header + OFF_SALT, SALT_LEN),
                      SLICE(header, OFF_CHECK), &k, e));
    memcpy(out, secret_view(k), CHECK_LEN);
    return RC_OK;
}

static RC pin_mac(struct vault_service *s, const uint8_t *pin, uint8_t out[SHA256_LEN],
                  struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;
    struct slice part = SLICE(pin, PIN_MAC);

    TRY(vault__derive(s, LABEL_PIN, SLICE(pin + PIN_STORE, 16), SLICE_LIT("vault"), &k, e));
    return hmac_sha256(k, &part, 1, out, e);
}

static RC pin_write(struct vault_service *s, uint64_t counter, struct err *e)
{
    uint8_t pin[PIN_LEN];

    memcpy(pin, pin_magic, sizeof pin_magic);
    memcpy(pin + PIN_STORE, s->store_id, 16);
    put_be64(pin + PIN_COUNTER, counter);
    TRY(pin_mac(s, pin, pin + PIN_MAC, e));
    TRY(file_write_atomic(s->pin_file, 0600, SLICE(pin, sizeof pin), e));
    s->pinned = counter;
    return RC_OK;
}

static RC pin_read(struct vault_service *s, uint8_t store_id[16], uint64_t *counter, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    uint8_t mac[SHA256_LEN];

    TRY(file_read(s->pin_file, PIN_LEN, &b, e));
    if (b.len != PIN_LEN || memcmp(b.p, pin_magic, sizeof pin_magic) != 0)
        FAIL(e, ERR_CORRUPT, "the pin \"%s\" is damaged", s->pin_file);
    TRY(pin_mac(s, b.p, mac, e));
    if (!ct_equal(mac, b.p + PIN_MAC, SHA256_LEN))
        FAIL(e, ERR_CORRUPT, "the pin \"%s\" is damaged, forged, or of another root key",
             s->pin_file);
    memcpy(store_id, b.p + PIN_STORE, 16);
    *counter = get_be64(b.p + PIN_COUNTER);
    return RC_OK;
}

RC vault__pin_first(struct vault_service *s, struct err *e)
{
    uint8_t store_id[16];
    uint64_t pinned;

    if (path_exists(s->pin_file)) {
        TRY(pin_read(s, store_id, &pinned, e));
        if (pinned > 0)
            FAIL(e, ERR_STALE,
                 "the vault's state \"%s\" is gone, and number %llu of it was written",
                 s->state_file, (unsigned long long)pinned);
    }
    return pin_write(s, 0, e);
}

static RC pin_check(struct vault_service *s, struct err *e)
{
    uint8_t store_id[16];
    uint64_t pinned;

    if (!path_exists(s->pin_file))
        FAIL(e, ERR_PIN_MISSING,
             "the pin \"%s\" is gone: the vault cannot tell whether its state is the newest",
             s->pin_file);
    TRY(pin_read(s, store_id, &pinned, e));
    if (memcmp(store_id, s->store_id, 16) != 0)
        FAIL(e, ERR_STALE, "the pin \"%s\" belongs to another vault", s->pin_file);
    if (s->counter < pinned)
        FAIL(e, ERR_STALE,
             "the vault's state is an old copy: it is number %llu, and number %llu was written",
             (unsigned long long)s->counter, (unsigned long long)pinned);
    if (s->counter > pinned + 1)
        FAIL(e, ERR_STALE, "the pin \"%s\" is an old copy: it says %llu, the state is number %llu",
             s->pin_file, (unsigned long long)pinned, (unsigned long long)s->counter);
    s->pinned = pinned;
    return s->counter == pinned ? RC_OK : pin_write(s, s->counter, e);
}

RC vault__file_save(struct vault_service *s, struct slice plain, struct err *e)
{
    AUTO(aead_key_freep) struct aead_key *k = NULL;
    AUTO(buf_fini) struct buf out = BUF_INIT;
    if (s->pinned < s->counter) /* the last save got no further than the state */
        TRY(pin_write(s, s->counter, e));
    uint8_t *h = buf_extend(&out, HEADER_LEN);
    memset(h, 0, HEADER_LEN);
    memcpy(h + OFF_MAGIC, state_magic, sizeof state_magic);
    h[OFF_FORMAT + 1] = FORMAT;
    h[OFF_ALG + 1] = ALG_AES_256_GCM;
    memcpy(h + OFF_STORE, s->store_id, 16);
    put_be64(h + OFF_COUNTER, s->counter + 1);
    put_be64(h + OFF_LEN, plain.len);
    TRY(random_bytes(h + OFF_SALT, SALT_LEN, e));
    TRY(key_check(s, h, h + OFF_CHECK, e));
    TRY(derive_aead(s, LABEL_VAULT_STATE, SLICE(h + OFF_SALT, SALT_LEN), SLICE(h, OFF_CHECK), &k,
                    e));
    uint8_t *body = buf_extend(&out, plain.len + AEAD_TAG_LEN); /* may move the header */
    struct aead_seal m = {
        .nonce = zero_nonce,
        .aad = SLICE(out.p, HEADER_LEN),
        .plain = plain,
        .out = body,
        .tag = body + plain.len,
    };
    TRY(aead_seal(k, &m, e));
    TRY(file_write_atomic(s->state_file, 0600, buf_view(&out), e));
    s->counter++;
    return pin_write(s, s->counter, e);
}

static RC check_header(struct vault_service *s, const struct buf *b, struct err *e)
{
    uint8_t check[CHECK_LEN];

    if (b->len < HEADER_LEN + AEAD_TAG_LEN || memcmp(b->p, state_magic, sizeof state_magic) != 0)
        FAIL(e, ERR_CORRUPT, "\"%s\" is not a vault's state", s->state_file);
    if (get_be16(b->p + OFF_FORMAT) != FORMAT || get_be16(b->p + OFF_ALG) != ALG_AES_256_GCM)
        FAIL(e, ERR_UNKNOWN_FORMAT, "\"%s\" has a format that this release does not know",
             s->state_file);
    if (get_be64(b->p + OFF_LEN) != b->len - HEADER_LEN - AEAD_TAG_LEN)
        FAIL(e, ERR_CORRUPT, "\"%s\" does not have the length that it says", s->state_file);
    TRY(key_check(s, b->p, check, e));
    if (!ct_equal(check, b->p + OFF_CHECK, CHECK_LEN))
        FAIL(e, ERR_WRONG_KEY,
             "\"%s\" was written under another root key, or its header is damaged", s->state_file);
    return RC_OK;
}

RC vault__file_load(struct vault_service *s, bool adopt, struct buf *plain, struct err *e)
{
    AUTO(aead_key_freep) struct aead_key *k = NULL;
    AUTO(buf_fini) struct buf b = BUF_INIT;

    TRY(file_read(s->state_file, STATE_BYTES_MAX, &b, e));
    TRY(check_header(s, &b, e));
    TRY(derive_aead(s, LABEL_VAULT_STATE, SLICE(b.p + OFF_SALT, SALT_LEN), SLICE(b.p, OFF_CHECK),
                    &k, e));
    size_t len = b.len - HEADER_LEN - AEAD_TAG_LEN;
    uint8_t *p = buf_extend(plain, len);
    struct aead_open m = {
        .nonce = zero_nonce,
        .aad = SLICE(b.p, HEADER_LEN),
        .cipher = SLICE(b.p + HEADER_LEN, len),
        .tag = b.p + HEADER_LEN + len,
        .out = p,
    };
    if (aead_open(k, &m, e).failed) {
        buf_clear(plain);
        return RC_FAILED;
    }
    memcpy(s->store_id, b.p + OFF_STORE, 16);
    s->counter = get_be64(b.p + OFF_COUNTER);
    return adopt ? pin_write(s, s->counter, e) : pin_check(s, e);
}

/* ---- a key's backup: header(48), cipher text, tag ---- */

enum { BACKUP_SALT = 16, BACKUP_HEADER = 48 };
static const char backup_magic[8] = "CFRVBKUP";

static RC backup_key(struct vault_service *s, const uint8_t *header, struct aead_key **out,
                     struct err *e)
{
    return derive_aead(s, LABEL_VAULT_BACKUP, SLICE(header + BACKUP_SALT, SALT_LEN),
                       SLICE(header, BACKUP_HEADER), out, e);
}

RC vault__backup_seal(struct vault_service *s, struct slice text, struct buf *out, struct err *e)
{
    AUTO(aead_key_freep) struct aead_key *k = NULL;
    AUTO(buf_fini) struct buf blob = BUF_INIT;
    uint8_t *h = buf_extend(&blob, BACKUP_HEADER);

    memset(h, 0, BACKUP_HEADER);
    memcpy(h, backup_magic, sizeof backup_magic);
    h[OFF_FORMAT + 1] = FORMAT;
    h[OFF_ALG + 1] = ALG_AES_256_GCM;
    TRY(random_bytes(h + BACKUP_SALT, SALT_LEN, e));
    TRY(backup_key(s, h, &k, e));
    uint8_t *body = buf_extend(&blob, text.len + AEAD_TAG_LEN); /* may move the header */
    struct aead_seal m = {
        .nonce = zero_nonce,
        .aad = SLICE(blob.p, BACKUP_HEADER),
        .plain = text,
        .out = body,
        .tag = body + text.len,
    };
    TRY(aead_seal(k, &m, e));
    buf_push(out, blob.p, blob.len);
    return RC_OK;
}

RC vault__backup_unseal(struct vault_service *s, struct slice blob, struct buf *text, struct err *e)
{
    AUTO(aead_key_freep) struct aead_key *k = NULL;

    if (blob.len <= BACKUP_HEADER + AEAD_TAG_LEN ||
        memcmp(blob.p, backup_magic, sizeof backup_magic) != 0 ||
        get_be16(blob.p + OFF_FORMAT) != FORMAT || get_be16(blob.p + OFF_ALG) != ALG_AES_256_GCM)
        FAIL(e, ERR_CORRUPT, "this is no backup of a key");
    TRY(backup_key(s, blob.p, &k, e));
    size_t len = blob.len - BACKUP_HEADER - AEAD_TAG_LEN;
    struct aead_open m = {
        .nonce = zero_nonce,
        .aad = SLICE(blob.p, BACKUP_HEADER),
        .cipher = SLICE(blob.p + BACKUP_HEADER, len),
        .tag = blob.p + BACKUP_HEADER + len,
        .out = buf_extend(text, len),
    };
    if (aead_open(k, &m, e).failed) {
        buf_clear(text);
        return RC_FAILED;
    }
    return RC_OK;
}
