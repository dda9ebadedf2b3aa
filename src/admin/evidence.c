/* evidence.c - see admin/evidence.h. */
#include "admin/evidence.h"

#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "bsonx/bw.h"
#include "crypto/ed25519.h"
#include "crypto/secret.h"

#define ALGORITHM "Ed25519"
#define PEM_BEGIN "-----BEGIN PUBLIC KEY-----\n"
#define PEM_END "-----END PUBLIC KEY-----\n"

enum { KEY_FILE_MAX = 256, LINE_MAX_LEN = 512 };

/* RFC 8410 4: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes } */
static const uint8_t spki[] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                0x2b, 0x65, 0x70, 0x03, 0x21, 0x00 };

/* ---- the key ---- */

static RC make_key(const char *path, struct secret **out, struct err *e)
{
    AUTO(buf_wipe) struct buf text = BUF_INIT;
    AUTO(secret_freep) struct secret *key = NULL;

    TRY(secret_random(ED25519_SEED_LEN, &key, e));
    buf_reserve(&text, 2 * ED25519_SEED_LEN + 2);
    hex_encode(SLICE(secret_view(key), ED25519_SEED_LEN), &text);
    buf_push_u8(&text, '\n');
    TRY(file_write_atomic(path, 0600, buf_view(&text), e));
    *out = TAKE(key);
    return RC_OK;
}

RC evidence_key(const char *path, struct secret **out, struct err *e)
{
    AUTO(buf_wipe) struct buf text = BUF_INIT;
    AUTO(buf_wipe) struct buf seed = BUF_INIT;

    *out = NULL;
    if (!path_exists(path))
        return make_key(path, out, e);
    TRY(file_read(path, KEY_FILE_MAX, &text, e));
    struct slice hex = buf_view(&text);
    if (hex.len && hex.p[hex.len - 1] == '\n')
        hex.len--;
    if (hex.len != 2 * ED25519_SEED_LEN || !hex_decode(hex, &seed))
        FAIL(e, ERR_CONFIG, "the file \"%s\" holds no key for signing", path);
    return secret_from(seed.p, seed.len, out, e);
}

RC evidence_public(const struct secret *key, struct buf *pem, struct err *e)
{
    uint8_t der[sizeof(spki) + ED25519_PUBLIC_LEN];

    memcpy(der, spki, sizeof(spki));
    TRY(ed25519_public(key, der + sizeof(spki), e));
    buf_printf(pem, PEM_BEGIN);
    base64_encode(SLICE(der, sizeof(der)), pem);
    buf_printf(pem, "\n" PEM_END);
    return RC_OK;
}

RC evidence_read_public(struct slice pem, uint8_t out[EVIDENCE_KEY_LEN], struct err *e)
{
    AUTO(buf_fini) struct buf der = BUF_INIT;
    size_t begin = strlen(PEM_BEGIN), end = 1 + strlen(PEM_END);

    memset(out, 0, EVIDENCE_KEY_LEN);
    if (pem.len < begin + end || memcmp(pem.p, PEM_BEGIN, begin) != 0 ||
        memcmp(pem.p + pem.len - end, "\n" PEM_END, end) != 0 ||
        !base64_decode(SLICE(pem.p + begin, pem.len - begin - end), &der) ||
        der.len != sizeof(spki) + EVIDENCE_KEY_LEN || memcmp(der.p, spki, sizeof(spki)) != 0)
        FAIL(e, ERR_CONFIG, "not the PEM of an Ed25519 public key");
    memcpy(out, der.p + sizeof(spki), EVIDENCE_KEY_LEN);
    return RC_OK;
}

/* ---- the last line ---- */

static void write_line(const uint8_t key[ED25519_PUBLIC_LEN], const uint8_t sig[ED25519_SIG_LEN],
                       struct buf *out)
{
    AUTO(buf_fini) struct buf key64 = BUF_INIT, sig64 = BUF_INIT;

    base64_encode(SLICE(key, ED25519_PUBLIC_LEN), &key64);
    base64_encode(SLICE(sig, ED25519_SIG_LEN), &sig64);
    buf_printf(out,
               "{\"signature\":{\"algorithm\":\"" ALGORITHM
               "\",\"publicKey\":\"%s\",\"value\":\"%s\"}}\n",
               buf_cstr(&key64), buf_cstr(&sig64));
}

RC evidence_sign(const struct secret *key, struct buf *text, struct err *e)
{
    uint8_t public_key[ED25519_PUBLIC_LEN], sig[ED25519_SIG_LEN];

    INVARIANT(text->len && text->p[text->len - 1] == '\n');
    TRY(ed25519_public(key, public_key, e));
    TRY(ed25519_sign(key, buf_view(text), sig, e));
    write_line(public_key, sig, text);
    return RC_OK;
}

static bool decode(struct bdoc d, const char *name, uint8_t *out, size_t len)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct bval v = bdoc_get(d, name);

    if (v.type != BT_STRING || !base64_decode(bval_str(v), &bytes) || bytes.len != len)
        return false;
    memcpy(out, bytes.p, len);
    return true;
}

/* The line must be, byte for byte, what write_line() makes of what it says: one signature has one form. */
static bool read_line(struct slice line, uint8_t key[ED25519_PUBLIC_LEN],
                      uint8_t sig[ED25519_SIG_LEN])
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf again = BUF_INIT;
    struct err e = { 0 };
    struct bdoc d;

    if (line.len > LINE_MAX_LEN || memchr(line.p, '\0', line.len))
        return false;
    bool parsed =
        !bdoc_from_json(a, arena_strndup(a, (const char *)line.p, line.len), &d, &e).failed;
    err_reset(&e);
    struct bval v = parsed ? bdoc_get(d, "signature") : bval_new_null();
    if (v.type != BT_DOCUMENT || !decode(bval_doc(v), "publicKey", key, ED25519_PUBLIC_LEN) ||
        !decode(bval_doc(v), "value", sig, ED25519_SIG_LEN))
        return false;
    write_line(key, sig, &again);
    return slice_eq(buf_view(&again), line);
}

RC evidence_verify(struct slice text, const uint8_t trusted[EVIDENCE_KEY_LEN], struct slice *body,
                   struct err *e)
{
    uint8_t key[ED25519_PUBLIC_LEN], sig[ED25519_SIG_LEN];
    size_t at = text.len;
    struct err why = { 0 };

    *body = SLICE_EMPTY;
    if (at && text.p[at - 1] == '\n')
        at--;
    while (at && text.p[at - 1] != '\n')
        at--;
    if (!at || !read_line(SLICE(text.p + at, text.len - at), key, sig))
        FAIL(e, ERR_EVIDENCE_CHANGED, "the last line is not the signature of a report");
    if (memcmp(key, trusted, sizeof(key)) != 0)
        FAIL(e, ERR_EVIDENCE_CHANGED, "another key than the trusted one has signed");
    bool held = !ed25519_verify(trusted, SLICE(text.p, at), sig, &why).failed;
    if (!held && why.code != ERR_BAD_VALUE) {
        *e = why;
        return RC_FAILED;
    }
    err_reset(&why);
    if (!held)
        FAIL(e, ERR_EVIDENCE_CHANGED, "the text is not what was signed");
    *body = SLICE(text.p, at);
    return RC_OK;
}
