/* vault_root_wrapped.c - a root key that lies beside the state, wrapped by a key provider's key: a PKCS #11 token's. docs/formats/vault.md 6.
 *
 * Opened   once, at the start: the token unwraps, and is not asked again while the vault runs.
 * Believed by its MAC, whose key comes from the root key itself: whoever wraps another root with the token's public key has a file that holds, and a state
 *          that does not open under it. Only where there is no state yet could such a file pass for ours, so that one which is found there is refused.
 * Written  before anything is sealed under a new root key; when a root key moves here from its file, only once it has opened the state; when the token
 *          has a newer key, once that has given back what it wrapped. The file is replaced whole, so that one of the two always stands.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/provider.h"
#include "vault_priv.h"

enum {
    FORMAT = 1,
    SALT_LEN = 32,
    SUM_LEN = 16,
    /* offsets */
    OFF_FORMAT = 8,
    OFF_VERSION_LEN = 10,
    OFF_ALG_LEN = 11,
    OFF_WRAPPED_LEN = 12,
    OFF_ZERO = 14,
    OFF_SALT = 16,
    HEADER_LEN = 48,
    END_LEN = SUM_LEN + SHA256_LEN,
    FILE_MAX = 2048,
};
_Static_assert(OFF_SALT + SALT_LEN == HEADER_LEN, "the header ends with the salt");

static const char magic[8] = "CFRVROOT"; /* no NUL */

static char *path_of(const struct vault_service *s)
{
    return mem_printf("%s/root.wrapped", s->state_dir);
}

/* Tells damage from a token that refuses; it is the MAC that proves something. */
static RC checksum(struct slice of, uint8_t out[SUM_LEN], struct err *e)
{
    uint8_t whole[SHA256_LEN];

    TRY(sha256(&of, 1, whole, e));
    memcpy(out, whole, SUM_LEN);
    return RC_OK;
}

static RC mac(const struct secret *root, struct slice file, uint8_t out[SHA256_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;
    struct slice part = SLICE(file.p, file.len - SHA256_LEN);

    TRY(vault__derive_from(root, LABEL_VAULT_ROOT, SLICE(file.p + OFF_SALT, SALT_LEN),
                           SLICE_LIT(""), &k, e));
    return hmac_sha256(k, &part, 1, out, e);
}

RC vault__wrapped_encode(const struct secret *root, const struct wrapped_key *w, struct buf *out,
                         struct err *e)
{
    size_t v = strlen(w->version), a = strlen(w->alg), at = out->len;

    INVARIANT(at == 0 && v > 0 && v < sizeof w->version && a > 0 && a < sizeof w->alg &&
              w->len > 0 && w->len <= WRAP_MAX);
    uint8_t *h = buf_extend(out, HEADER_LEN);
    memset(h, 0, HEADER_LEN);
    memcpy(h, magic, sizeof magic);
    h[OFF_FORMAT + 1] = FORMAT;
    h[OFF_VERSION_LEN] = (uint8_t)v;
    h[OFF_ALG_LEN] = (uint8_t)a;
    h[OFF_WRAPPED_LEN] = (uint8_t)(w->len >> 8);
    h[OFF_WRAPPED_LEN + 1] = (uint8_t)w->len;
    TRY(random_bytes(h + OFF_SALT, SALT_LEN, e));
    buf_push(out, w->version, v);
    buf_push(out, w->alg, a);
    buf_push(out, w->bytes, w->len);
    size_t body = out->len;
    (void)buf_extend(out, END_LEN); /* may move what is before it */
    TRY(checksum(SLICE(out->p, body), out->p + body, e));
    return mac(root, buf_view(out), out->p + body + SUM_LEN, e);
}

static bool printable(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

RC vault__wrapped_decode(struct slice file, struct wrapped_key *out, struct err *e)
{
    uint8_t sum[SUM_LEN];

    memset(out, 0, sizeof *out);
    if (file.len < HEADER_LEN + END_LEN || memcmp(file.p, magic, sizeof magic) != 0)
        FAIL(e, ERR_CORRUPT, "this is no wrapped root key");
    TRY(checksum(SLICE(file.p, file.len - END_LEN), sum, e));
    if (memcmp(sum, file.p + file.len - END_LEN, SUM_LEN) != 0)
        FAIL(e, ERR_CORRUPT, "the wrapped root key is damaged");
    if (get_be16(file.p + OFF_FORMAT) != FORMAT)
        FAIL(e, ERR_UNKNOWN_FORMAT,
             "the wrapped root key has a format that this release does not know");
    size_t v = file.p[OFF_VERSION_LEN], a = file.p[OFF_ALG_LEN],
           w = get_be16(file.p + OFF_WRAPPED_LEN);
    if (v == 0 || v >= sizeof out->version || a == 0 || a >= sizeof out->alg || w == 0 ||
        w > WRAP_MAX || file.len != HEADER_LEN + v + a + w + END_LEN ||
        get_be16(file.p + OFF_ZERO) != 0)
        FAIL(e, ERR_CORRUPT, "the wrapped root key is malformed");
    struct wrapped_key key = { .len = (uint32_t)w };
    memcpy(key.version, file.p + HEADER_LEN, v);
    memcpy(key.alg, file.p + HEADER_LEN + v, a);
    memcpy(key.bytes, file.p + HEADER_LEN + v + a, w);
    if (strlen(key.version) != v || strlen(key.alg) != a || !printable(key.version) ||
        !printable(key.alg))
        FAIL(e, ERR_CORRUPT, "the wrapped root key is malformed");
    *out = key;
    return RC_OK;
}

RC vault__wrapped_check(struct slice file, const struct secret *root, struct err *e)
{
    uint8_t want[SHA256_LEN];

    TRY(mac(root, file, want, e));
    if (!ct_equal(want, file.p + file.len - SHA256_LEN, SHA256_LEN))
        FAIL(e, ERR_CORRUPT, "the wrapped root key was changed, or is not what was wrapped");
    return RC_OK;
}

/* ---- the token ---- */

static uint64_t deadline(const struct vault_config *c)
{
    return clock_mono_us() + c->root_timeout_us;
}

/* What the token cannot give back is never written. */
static RC wrap(struct vault_service *s, const struct vault_config *c, const struct secret *root,
               struct err *e)
{
    struct key_provider *p = c->root_provider;
    AUTO(secret_freep) struct secret *back = NULL;
    AUTO(mem_freep) char *path = path_of(s);
    AUTO(buf_fini) struct buf file = BUF_INIT;
    struct wrapped_key w;

    TRY(p->wrap(p, NULL, root, deadline(c), &w, e));
    TRY(p->unwrap(p, &w, /* fresh= */ false, deadline(c), &back, e));
    if (!secret_equal(back, root))
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token unwrapped something else than it had wrapped");
    TRY(vault__wrapped_encode(root, &w, &file, e));
    TRY(file_write_atomic(path, 0600, buf_view(&file), e));
    (void)snprintf(s->root_version, sizeof s->root_version, "%s", w.version);
    s->root_rewrapped = true;
    log_event(EV_VAULT_ROOT_WRAPPED, KV_STR("version", w.version), KV_STR("algorithm", w.alg));
    return RC_OK;
}

static RC unwrap(struct vault_service *s, const struct vault_config *c, const char *path,
                 struct secret **out, struct err *e)
{
    struct key_provider *p = c->root_provider;
    AUTO(secret_freep) struct secret *root = NULL;
    AUTO(buf_fini) struct buf file = BUF_INIT;
    struct wrapped_key w;

    TRY(file_read(path, FILE_MAX, &file, e));
    TRY(vault__wrapped_decode(buf_view(&file), &w, e));
    TRY(p->unwrap(p, &w, /* fresh= */ false, deadline(c), &root, e));
    if (secret_len(root) != ROOT_LEN)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token unwrapped %zu bytes instead of %d", secret_len(root),
             ROOT_LEN);
    TRY(vault__wrapped_check(buf_view(&file), root, e));
    (void)snprintf(s->root_version, sizeof s->root_version, "%s", w.version);
    *out = TAKE(root);
    return RC_OK;
}

RC vault__wrapped_open(struct vault_service *s, const struct vault_config *c, bool may_create,
                       struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *root = NULL;
    AUTO(mem_freep) char *path = path_of(s);
    bool moves = c->root_move_from && *c->root_move_from;

    *out = NULL;
    if (path_exists(path)) {
        /* a first start that ended here, or a file that somebody else put there: nothing tells */
        if (may_create && !c->adopt)
            FAIL(e, ERR_PIN_MISSING,
                 "a wrapped root key \"%s\" is there, but neither a state nor a pin: remove it, "
                 "or start with --adopt to have a new vault under it",
                 path);
        if (!unwrap(s, c, path, out, e).failed)
            return RC_OK;
        err_wrap(e, "the root key in \"%.200s\"", path); /* what the token said has to fit behind */
        return RC_FAILED;
    }
    if (moves)
        return vault__root_read(c->root_move_from, "the root key file", 077, out, e);
    if (!may_create)
        FAIL(e, ERR_NOT_FOUND,
             "the wrapped root key \"%s\" is gone: without it the vault cannot be opened "
             "(to move a root key from its file to the token, set root-key-file too)",
             path);
    TRY(secret_random(ROOT_LEN, &root, e));
    TRY(wrap(s, c, root, e));
    *out = TAKE(root);
    return RC_OK;
}

/* The token has a newer key, or cannot say. The vault is open: neither is a reason not to serve. */
static void follow(struct vault_service *s, const struct vault_config *c)
{
    struct key_provider *p = c->root_provider;
    struct key_info info;
    struct err e = { 0 };

    if (!p->get_key(p, NULL, deadline(c), &info, &e).failed &&
        (strcmp(info.version, s->root_version) == 0 || !wrap(s, c, s->root, &e).failed))
        return;
    log_err(EV_VAULT_ROOT_NOT_REWRAPPED, &e, NULL, 0);
    err_reset(&e);
}

RC vault__wrapped_settle(struct vault_service *s, const struct vault_config *c, struct err *e)
{
    AUTO(mem_freep) char *path = path_of(s);

    if (!path_exists(path))
        TRY(wrap(s, c, s->root, e));
    else
        follow(s, c);
    if (c->root_move_from && *c->root_move_from && path_exists(c->root_move_from))
        log_event(EV_VAULT_ROOT_FILE_LEFT, KV_STR("rootKeyFile", c->root_move_from));
    return RC_OK;
}
