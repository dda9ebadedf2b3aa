/* vault_audit_segment.c - the bytes of one segment of the audit log, written and read. docs/formats/vault-audit.md has every one of them.
 *
 * Keys      A segment has keys of its own (random salt), and the nonce is a record's index in it: a record that a crash tore is never written again
 *           under its nonce, since the next start begins another segment.
 * Chain     chain_n = SHA-256(chain_n-1 || n || text_n), and chain_n-1 is associated data of record n: none can be left out, moved or put in.
 * End       A record is whole, torn (the file ends inside of it: a crash), or damaged. The check over a record's length tells a cut from a length that
 *           was changed: only who has the key can make a file that ends inside of a record and is not a beginning of what was written.
 */
#include <string.h>

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "vault_priv.h"

enum {
    FORMAT = 1,
    H_FORMAT = 8,
    H_ALG = 10,
    H_ZERO = 12,
    H_STORE = 16,
    H_NUMBER = 32,
    H_SEQ = 40,
    H_CHAIN = 48,
    H_SALT = 80,
    H_CHECK = 112,
    SALT_LEN = 32,
    H_CHECK_LEN = 16,
    F_LEN = 0,
    F_CHECK = 4,
    F_CHECK_LEN = 8,
    FRAME_LEN = 12,
};
_Static_assert(H_SALT + SALT_LEN == H_CHECK, "the key check follows the salt");
_Static_assert(H_CHECK + H_CHECK_LEN == AUDIT_HEADER_LEN, "the header ends with the key check");
_Static_assert(F_CHECK + F_CHECK_LEN == FRAME_LEN, "the text follows the check of its length");
_Static_assert(FRAME_LEN + AUDIT_RECORD_MAX + AEAD_TAG_LEN == AUDIT_FRAME_MAX, "a frame");

static const char magic[8] = "CFRVAUD1";

void vault__audit_keys_fini(struct audit_keys *k)
{
    aead_key_free(k->text);
    secret_free(k->check);
    *k = (struct audit_keys){ 0 };
}

static RC keys_of(struct vault_service *s, const uint8_t *header, struct audit_keys *out,
                  struct err *e)
{
    AUTO(secret_freep) struct secret *text = NULL;
    AUTO(secret_freep) struct secret *check = NULL;
    AUTO(buf_fini) struct buf context = BUF_INIT;
    struct slice salt = SLICE(header + H_SALT, SALT_LEN);

    *out = (struct audit_keys){ 0 };
    buf_push(&context, header, H_CHECK);
    TRY(vault__derive(s, LABEL_VAULT_AUDIT, salt, buf_view(&context), &text, e));
    buf_push(&context, "length", 6);
    TRY(vault__derive(s, LABEL_VAULT_AUDIT, salt, buf_view(&context), &check, e));
    TRY(aead_key_new(text, &out->text, e));
    out->check = TAKE(check);
    return RC_OK;
}

static RC header_check(struct vault_service *s, const uint8_t *header, uint8_t out[H_CHECK_LEN],
                       struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;

    TRY(vault__derive(s, LABEL_KEY_CHECK, SLICE(header + H_SALT, SALT_LEN), SLICE(header, H_CHECK),
                      &k, e));
    memcpy(out, secret_view(k), H_CHECK_LEN);
    return RC_OK;
}

/* Of a record's length, in its place. */
static RC length_check(const struct audit_keys *k, uint64_t index, uint32_t len,
                       uint8_t out[F_CHECK_LEN], struct err *e)
{
    uint8_t part[12], mac[SHA256_LEN];
    struct slice parts = SLICE(part, sizeof part);

    put_be64(part, index);
    put_be32(part + 8, len);
    TRY(hmac_sha256(k->check, &parts, 1, mac, e));
    memcpy(out, mac, F_CHECK_LEN);
    return RC_OK;
}

static void nonce_of(uint64_t index, uint8_t out[AEAD_NONCE_LEN])
{
    memset(out, 0, AEAD_NONCE_LEN);
    put_be64(out + 4, index);
}

static RC move_on(struct audit_at *at, struct slice text, struct err *e)
{
    uint8_t number[8], next[SHA256_LEN];
    struct slice parts[] = { SLICE(at->chain, 32), SLICE(number, 8), text };

    put_be64(number, at->seq + 1);
    TRY(sha256(parts, 3, next, e));
    memcpy(at->chain, next, 32);
    at->seq++;
    return RC_OK;
}

/* ---- writing ---- */

RC vault__audit_begin(struct vault_service *s, uint64_t number, const struct audit_at *at,
                      uint8_t header[AUDIT_HEADER_LEN], struct audit_keys *k, struct err *e)
{
    memset(header, 0, AUDIT_HEADER_LEN);
    memcpy(header, magic, sizeof magic);
    put_be16(header + H_FORMAT, FORMAT);
    put_be16(header + H_ALG, AEAD_ALG_AES_256_GCM);
    memcpy(header + H_STORE, s->store_id, 16);
    put_be64(header + H_NUMBER, number);
    put_be64(header + H_SEQ, at->seq);
    memcpy(header + H_CHAIN, at->chain, 32);
    *k = (struct audit_keys){ 0 };
    TRY(random_bytes(header + H_SALT, SALT_LEN, e));
    TRY(header_check(s, header, header + H_CHECK, e));
    return keys_of(s, header, k, e);
}

RC vault__audit_seal(const struct audit_keys *k, uint64_t index, struct audit_at *at,
                     struct slice text, struct buf *out, struct err *e)
{
    uint8_t aad[32 + FRAME_LEN], nonce[AEAD_NONCE_LEN];

    if (text.len == 0 || text.len > AUDIT_RECORD_MAX)
        FAIL(e, ERR_BAD_VALUE, "the audit record is empty or too long");
    uint8_t *p = buf_extend(out, FRAME_LEN + text.len + AEAD_TAG_LEN);
    put_be32(p + F_LEN, (uint32_t)text.len);
    TRY(length_check(k, index, (uint32_t)text.len, p + F_CHECK, e));
    memcpy(aad, at->chain, 32);
    memcpy(aad + 32, p, FRAME_LEN);
    nonce_of(index, nonce);
    struct aead_seal m = {
        .nonce = nonce,
        .aad = SLICE(aad, sizeof aad),
        .plain = text,
        .out = p + FRAME_LEN,
        .tag = p + FRAME_LEN + text.len,
    };
    TRY(aead_seal(k->text, &m, e));
    return move_on(at, text, e);
}

/* ---- reading ---- */

RC vault__audit_start_of(struct vault_service *s, struct slice segment, uint64_t number,
                         struct audit_at *out, struct err *e)
{
    uint8_t check[H_CHECK_LEN];

    *out = (struct audit_at){ 0 };
    if (segment.len < AUDIT_HEADER_LEN || memcmp(segment.p, magic, sizeof magic) != 0)
        FAIL(e, ERR_CORRUPT, "audit segment %llu has no header", (unsigned long long)number);
    TRY(header_check(s, segment.p, check, e));
    if (!ct_equal(check, segment.p + H_CHECK, sizeof check))
        FAIL(e, ERR_CORRUPT, "the header of audit segment %llu is damaged",
             (unsigned long long)number);
    if (get_be16(segment.p + H_FORMAT) != FORMAT ||
        get_be16(segment.p + H_ALG) != AEAD_ALG_AES_256_GCM || get_be32(segment.p + H_ZERO) != 0)
        FAIL(e, ERR_UNKNOWN_FORMAT,
             "audit segment %llu has a format that this release does not know",
             (unsigned long long)number);
    if (memcmp(segment.p + H_STORE, s->store_id, 16) != 0)
        FAIL(e, ERR_CORRUPT, "audit segment %llu is another vault's", (unsigned long long)number);
    if (get_be64(segment.p + H_NUMBER) != number)
        FAIL(e, ERR_CORRUPT, "audit segment %llu stands in the place of segment %llu",
             (unsigned long long)get_be64(segment.p + H_NUMBER), (unsigned long long)number);
    out->seq = get_be64(segment.p + H_SEQ);
    memcpy(out->chain, segment.p + H_CHAIN, 32);
    return RC_OK;
}

static RC open_record(const struct audit_keys *k, const uint8_t *frame, uint64_t index,
                      uint32_t len, struct audit_at *at, struct buf *out, struct err *e)
{
    uint8_t aad[32 + FRAME_LEN], nonce[AEAD_NONCE_LEN];

    memcpy(aad, at->chain, 32);
    memcpy(aad + 32, frame, FRAME_LEN);
    nonce_of(index, nonce);
    buf_clear(out);
    struct aead_open m = {
        .nonce = nonce,
        .aad = SLICE(aad, sizeof aad),
        .cipher = SLICE(frame + FRAME_LEN, len),
        .tag = frame + FRAME_LEN + len,
        .out = buf_extend(out, len),
    };
    TRY(aead_open(k->text, &m, e));
    return move_on(at, buf_view(out), e);
}

/* The record at the head of left. *len: of its text; w->torn when left ends inside of it. */
static RC measure(const struct audit_keys *k, struct slice left, uint64_t index,
                  struct audit_walk *w, uint32_t *len, struct err *e)
{
    uint8_t check[F_CHECK_LEN];

    *len = 0;
    w->torn = left.len < FRAME_LEN;
    if (w->torn)
        return RC_OK;
    uint32_t n = get_be32(left.p + F_LEN);
    TRY(length_check(k, index, n, check, e));
    if (!ct_equal(check, left.p + F_CHECK, sizeof check) || n == 0 || n > AUDIT_RECORD_MAX)
        FAIL(e, ERR_CORRUPT, "audit record %llu is damaged", (unsigned long long)w->at.seq + 1);
    w->torn = left.len - FRAME_LEN < (size_t)n + AEAD_TAG_LEN;
    *len = n;
    return RC_OK;
}

static RC walk_records(const struct audit_keys *k, struct slice segment, struct audit_walk *w,
                       audit_each_fn each, void *ctx, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    for (uint64_t index = 0; w->good < segment.len; index++) {
        struct slice left = SLICE(segment.p + w->good, segment.len - w->good);
        uint32_t len;
        TRY(measure(k, left, index, w, &len, e));
        if (w->torn)
            return RC_OK;
        if (open_record(k, left.p, index, len, &w->at, &text, e).failed) {
            err_wrap(e, "audit record %llu", (unsigned long long)w->at.seq + 1);
            return RC_FAILED;
        }
        w->good += FRAME_LEN + (size_t)len + AEAD_TAG_LEN;
        if (each && !each(ctx, &w->at, buf_view(&text)))
            return RC_OK;
    }
    return RC_OK;
}

RC vault__audit_walk(struct vault_service *s, struct slice segment, uint64_t number,
                     struct audit_walk *w, audit_each_fn each, void *ctx, struct err *e)
{
    struct audit_keys k;
    struct audit_at start;

    w->good = 0;
    w->torn = false;
    TRY(vault__audit_start_of(s, segment, number, &start, e));
    if (start.seq != w->at.seq || memcmp(start.chain, w->at.chain, 32) != 0)
        FAIL(e, ERR_CORRUPT, "audit segment %llu does not go on where the one before it ends",
             (unsigned long long)number);
    TRY(keys_of(s, segment.p, &k, e));
    w->good = AUDIT_HEADER_LEN;
    rc_t rc = walk_records(&k, segment, w, each, ctx, e);
    vault__audit_keys_fini(&k);
    return rc;
}
