/* scram.c - the SCRAM-SHA-256 conversation, server side.
 *
 *   client-first   n,,n=USER,r=CNONCE                    (n or y: no channel binding; p: refused)
 *   server-first   r=CNONCE SNONCE,s=SALT,i=COUNT
 *   client-final   c=biws,r=CNONCE SNONCE,p=PROOF
 *   server-final   v=SIGNATURE
 *
 * RFC 5802 3: StoredKey = H(ClientKey); ClientProof = ClientKey XOR HMAC(StoredKey, AuthMessage); ServerSignature = HMAC(ServerKey, AuthMessage).
 */
#include "identity/scram.h"

#include <gsasl.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "identity_priv.h"

enum state { SCRAM_CHALLENGED, SCRAM_PROVEN, SCRAM_DONE, SCRAM_FAILED };

struct scram {
    enum state state;
    bool skip_empty, known; /* known: the user exists and its keys are below */
    struct buf db, user;
    struct buf nonce;        /* client's and ours together */
    struct buf gs2;          /* base64 of the GS2 header, which c= must repeat */
    struct buf auth_message; /* client-first-bare , server-first */
    struct secret *stored_key, *server_key;
};

struct creds {
    int64_t iterations;
    struct buf salt;
};

static RC auth_fail(struct err *e, const char *why)
{
    rc_t rc = err_set(e, ERR_AUTHENTICATION_FAILED, __FILE__, __LINE__, "Authentication failed.");

    err_detail(e, "%s", why);
    return rc;
}

/* ---- reading messages ---- */

/* Takes one attribute "k=value" up to the next comma off the front of *in. */
static bool take_attr(struct slice *in, char *key, struct slice *value)
{
    const uint8_t *comma;

    if (in->len < 2 || in->p[1] != '=')
        return false;
    *key = (char)in->p[0];
    comma = memchr(in->p, ',', in->len);
    *value = SLICE(in->p + 2, (comma ? (size_t)(comma - in->p) : in->len) - 2);
    if (comma)
        *in = SLICE(comma + 1, in->len - (size_t)(comma + 1 - in->p));
    else
        *in = SLICE_EMPTY;
    return true;
}

/* RFC 5802 5.1: "=2C" is a comma, "=3D" an equals sign, and no other "=" may stand in a name. */
static bool decode_name(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        if (in.p[i] == 0)
            return false;
        if (in.p[i] != '=') {
            buf_push_u8(out, in.p[i]);
            continue;
        }
        if (in.len - i >= 3 && memcmp(in.p + i, "=2C", 3) == 0)
            buf_push_u8(out, ',');
        else if (in.len - i >= 3 && memcmp(in.p + i, "=3D", 3) == 0)
            buf_push_u8(out, '=');
        else
            return false;
        i += 2;
    }
    return out->len > 0 && utf8_valid(buf_view(out));
}

static bool nonce_is_printable(struct slice n)
{
    for (size_t i = 0; i < n.len; i++)
        if (n.p[i] < 0x21 || n.p[i] > 0x7e || n.p[i] == ',')
            return false;
    return n.len > 0;
}

/* *bare: the message without its GS2 header. */
static RC parse_first(struct scram *s, struct slice in, struct slice *bare, struct err *e)
{
    const uint8_t *first, *second;
    struct slice authzid, value;
    char key;

    if (in.len < 3 || (in.p[0] != 'n' && in.p[0] != 'y') || in.p[1] != ',')
        return auth_fail(e, "the GS2 header asks for channel binding or is malformed");
    first = in.p + 1;
    second = memchr(first + 1, ',', in.len - 2);
    if (!second)
        return auth_fail(e, "the GS2 header is cut short");
    base64_encode(SLICE(in.p, (size_t)(second + 1 - in.p)), &s->gs2);
    authzid = SLICE(first + 1, (size_t)(second - first - 1));
    *bare = SLICE(second + 1, in.len - (size_t)(second + 1 - in.p));
    in = *bare;
    if (!take_attr(&in, &key, &value) || key != 'n' || !decode_name(value, &s->user))
        return auth_fail(e, "the first message does not name a user");
    if (authzid.len) {
        struct buf as = BUF_INIT;
        bool same = authzid.len > 2 && memcmp(authzid.p, "a=", 2) == 0 &&
                    decode_name(SLICE(authzid.p + 2, authzid.len - 2), &as) &&
                    slice_eq(buf_view(&as), buf_view(&s->user));

        buf_fini(&as);
        if (!same)
            return auth_fail(e, "the client wants to act as somebody else");
    }
    if (!take_attr(&in, &key, &value) || key != 'r' || !nonce_is_printable(value))
        return auth_fail(e, "the first message has no nonce");
    buf_push(&s->nonce, value.p, value.len);
    return RC_OK;
}

/* ---- stored credentials ---- */

static bool decode(struct bval v, struct buf *out, size_t min, size_t max)
{
    return v.type == BT_STRING && base64_decode(bval_str(v), out) && out->len >= min &&
           out->len <= max;
}

/* Fills salt, count and keys from a user document; false when it has none for this mechanism. */
static bool read_credentials(struct scram *s, struct bdoc user, struct creds *c)
{
    struct bval v = bdoc_get_path(user, "credentials.SCRAM-SHA-256");
    struct buf stored = BUF_INIT, server = BUF_INIT;
    struct err e = { 0 };
    bool ok;

    if (v.type != BT_DOCUMENT)
        return false;
    ok = bval_is_number(bdoc_get(bval_doc(v), "iterationCount")) &&
         bval_to_i64(bdoc_get(bval_doc(v), "iterationCount"), &c->iterations) &&
         c->iterations >= SCRAM_ITERATIONS_MIN && c->iterations <= INT32_MAX &&
         decode(bdoc_get(bval_doc(v), "salt"), &c->salt, 8, 128) &&
         decode(bdoc_get(bval_doc(v), "storedKey"), &stored, SCRAM_KEY_LEN, SCRAM_KEY_LEN) &&
         decode(bdoc_get(bval_doc(v), "serverKey"), &server, SCRAM_KEY_LEN, SCRAM_KEY_LEN) &&
         !secret_from(stored.p, SCRAM_KEY_LEN, &s->stored_key, &e).failed &&
         !secret_from(server.p, SCRAM_KEY_LEN, &s->server_key, &e).failed;
    buf_wipe(&stored);
    buf_wipe(&server);
    err_reset(&e);
    return ok;
}

bool scram_has_credentials(struct bdoc user)
{
    return bdoc_get_path(user, "credentials.SCRAM-SHA-256").type == BT_DOCUMENT;
}

/* Salt and keys of a user that is not there: the same at every try, and nothing that a proof could fit. */
static RC fake_credentials(struct identity *id, struct scram *s, struct creds *c, struct err *e)
{
    uint8_t mac[SHA256_LEN];
    struct slice parts[] = { SLICE_LIT("cofferdb unknown user"), buf_view(&s->db), SLICE_LIT("\0"),
                             buf_view(&s->user) };

    secret_free(s->stored_key);
    secret_free(s->server_key);
    s->stored_key = s->server_key = NULL;
    TRY(hmac_sha256(identity__salt_key(id), parts, ARRAY_LEN(parts), mac, e));
    buf_clear(&c->salt);
    buf_push(&c->salt, mac, SCRAM_SALT_LEN);
    c->iterations = SCRAM_ITERATIONS;
    TRY(secret_random(SCRAM_KEY_LEN, &s->stored_key, e));
    return secret_random(SCRAM_KEY_LEN, &s->server_key, e);
}

static RC find_credentials(struct identity *id, struct scram *s, struct arena *a, struct creds *c,
                           struct err *e)
{
    struct err why = { 0 };
    struct bdoc user;

    if (identity__load(id, buf_view(&s->db), buf_view(&s->user), a, &user, &why).failed) {
        bool unknown = why.code == ERR_USER_NOT_FOUND;

        if (!unknown)
            return err_take(e, &why);
        err_reset(&why);
    } else {
        s->known = read_credentials(s, user, c);
    }
    return s->known ? RC_OK : fake_credentials(id, s, c, e);
}

/* ---- the conversation ---- */

static RC first_answer(struct identity *id, struct scram *s, struct slice payload,
                       struct slice server_nonce, struct arena *a, struct creds *c,
                       struct buf *reply, struct err *e)
{
    struct slice bare;
    size_t at = reply->len;

    if (payload.len > SCRAM_PAYLOAD_MAX)
        return auth_fail(e, "the first message is too long");
    TRY(parse_first(s, payload, &bare, e));
    buf_push(&s->nonce, server_nonce.p, server_nonce.len);
    TRY(find_credentials(id, s, a, c, e));
    buf_printf(reply, "r=%s,s=", buf_cstr(&s->nonce));
    base64_encode(buf_view(&c->salt), reply);
    buf_printf(reply, ",i=%d", (int)c->iterations);
    buf_push(&s->auth_message, bare.p, bare.len);
    buf_push_u8(&s->auth_message, ',');
    buf_push(&s->auth_message, reply->p + at, reply->len - at);
    return RC_OK;
}

RC scram_begin_with_nonce(struct identity *id, struct slice db, struct slice payload,
                          bool skip_empty, struct slice nonce, struct arena *a, struct scram **out,
                          struct buf *reply, struct err *e)
{
    struct scram *s = NEW(struct scram);
    struct creds c = { 0 };
    rc_t rc;

    *out = NULL;
    s->skip_empty = skip_empty;
    buf_push(&s->db, db.p, db.len);
    rc = first_answer(id, s, payload, nonce, a, &c, reply, e);
    buf_fini(&c.salt);
    if (rc.failed) {
        scram_free(s);
        return rc;
    }
    *out = s;
    return RC_OK;
}

RC scram_begin(struct identity *id, struct slice db, struct slice payload, bool skip_empty,
               struct arena *a, struct scram **out, struct buf *reply, struct err *e)
{
    uint8_t random[24];
    struct buf nonce = BUF_INIT;
    rc_t rc;

    *out = NULL;
    TRY(random_bytes(random, sizeof(random), e));
    base64_encode(SLICE(random, sizeof(random)), &nonce); /* 32 characters, none a comma */
    rc = scram_begin_with_nonce(id, db, payload, skip_empty, buf_view(&nonce), a, out, reply, e);
    buf_fini(&nonce);
    return rc;
}

/* Checks the proof against the stored key in constant time. */
static RC check_proof(struct scram *s, struct slice without_proof, struct slice proof64,
                      struct err *e)
{
    struct buf proof = BUF_INIT;
    uint8_t signature[SHA256_LEN], client_key[SHA256_LEN], hash[SHA256_LEN];
    struct slice parts[] = { buf_view(&s->auth_message), SLICE_LIT(","), without_proof };
    bool right = false;
    rc_t rc = RC_OK;

    if (base64_decode(proof64, &proof) && proof.len == SHA256_LEN) {
        struct slice key = SLICE(client_key, sizeof(client_key));

        rc = hmac_sha256(s->stored_key, parts, ARRAY_LEN(parts), signature, e);
        for (int i = 0; i < SHA256_LEN && !rc.failed; i++)
            client_key[i] = proof.p[i] ^ signature[i];
        if (!rc.failed)
            rc = sha256(&key, 1, hash, e);
        right = !rc.failed && ct_equal(hash, secret_view(s->stored_key), SHA256_LEN);
        mem_wipe(client_key, sizeof(client_key));
    }
    buf_wipe(&proof);
    TRY(rc);
    /* An unknown user's keys are random, so `right` is false for it all the same. */
    return right && s->known ? RC_OK : auth_fail(e, "the proof does not fit");
}

static RC final_answer(struct scram *s, struct slice payload, struct buf *reply, struct err *e)
{
    struct slice in = payload, value, without_proof;
    uint8_t signature[SHA256_LEN];
    char key;

    if (!take_attr(&in, &key, &value) || key != 'c' || !slice_eq(value, buf_view(&s->gs2)))
        return auth_fail(e, "the channel binding is not the one of the first message");
    if (!take_attr(&in, &key, &value) || key != 'r' || !slice_eq(value, buf_view(&s->nonce)))
        return auth_fail(e, "the nonce is not the one that was agreed");
    for (;;) { /* optional extensions, then the proof as the last attribute */
        const uint8_t *start = in.p;

        if (!take_attr(&in, &key, &value))
            return auth_fail(e, "the final message has no proof");
        if (key != 'p')
            continue;
        if (in.len)
            return auth_fail(e, "something follows the proof");
        without_proof = SLICE(payload.p, (size_t)(start - payload.p) - 1);
        break;
    }
    TRY(check_proof(s, without_proof, value, e));
    {
        struct slice parts[] = { buf_view(&s->auth_message), SLICE_LIT(","), without_proof };

        TRY(hmac_sha256(s->server_key, parts, ARRAY_LEN(parts), signature, e));
    }
    buf_push(reply, "v=", 2);
    base64_encode(SLICE(signature, sizeof(signature)), reply);
    return RC_OK;
}

RC scram_continue(struct scram *s, struct slice payload, struct buf *reply, bool *done,
                  struct err *e)
{
    *done = false;
    switch (s->state) {
    case SCRAM_CHALLENGED:
        s->state = SCRAM_FAILED; /* one try a conversation */
        if (payload.len > SCRAM_PAYLOAD_MAX)
            return auth_fail(e, "the final message is too long");
        TRY(final_answer(s, payload, reply, e));
        s->state = s->skip_empty ? SCRAM_DONE : SCRAM_PROVEN;
        *done = s->skip_empty;
        return RC_OK;
    case SCRAM_PROVEN:
        if (payload.len)
            return auth_fail(e, "the last message is not empty");
        s->state = SCRAM_DONE;
        *done = true;
        return RC_OK;
    default: FAIL(e, ERR_PROTOCOL_ERROR, "the SASL conversation is over");
    }
}

void scram_free(struct scram *s)
{
    if (!s)
        return;
    buf_fini(&s->db);
    buf_fini(&s->user);
    buf_fini(&s->nonce);
    buf_fini(&s->gs2);
    buf_fini(&s->auth_message);
    secret_free(s->stored_key);
    secret_free(s->server_key);
    mem_free(s);
}

struct slice scram_db(const struct scram *s)
{
    return buf_view(&s->db);
}

struct slice scram_user(const struct scram *s)
{
    return buf_view(&s->user);
}

/* ---- new passwords ---- */

static void start_gsasl(void)
{
    static Gsasl *ctx; /* kept: its library is used for as long as the process lives */

    if (gsasl_init(&ctx) != GSASL_OK)
        base_panic(__FILE__, __LINE__, "gsasl_init");
}

static void write_b64(struct bw *w, const char *name, const void *p, size_t len)
{
    struct buf b = BUF_INIT;

    base64_encode(SLICE(p, len), &b);
    bw_str_slice(w, name, buf_view(&b));
    buf_wipe(&b);
}

RC scram_write_credentials(const struct secret *password, int iterations, struct bw *w,
                           struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    AUTO(secret_freep) struct secret *plain = NULL, *work = NULL;
    size_t len = secret_len(password);
    uint8_t salt[SCRAM_SALT_LEN];
    char *prepared = NULL, *k;
    int rc;

    INVARIANT(iterations >= SCRAM_ITERATIONS_MIN);
    pthread_once(&once, start_gsasl);
    TRY(secret_new(len + 1, &plain, e)); /* with a NUL after it */
    memcpy(secret_bytes(plain), secret_view(password), len);
    if (memchr(secret_view(plain), 0, len) || !utf8_valid(SLICE(secret_view(plain), len)))
        FAIL(e, ERR_BAD_VALUE, "password is not valid text");
    rc = gsasl_saslprep((const char *)secret_view(plain), /* flags= */ 0, &prepared, NULL);
    if (rc != GSASL_OK)
        FAIL(e, ERR_BAD_VALUE, "password holds characters that SASLprep prohibits");
    if (*prepared == 0) {
        gsasl_free(prepared);
        FAIL(e, ERR_LOC(50687), "Password cannot be empty");
    }
    TRY(random_bytes(salt, sizeof(salt), e));
    TRY(secret_new(4 * (size_t)SCRAM_KEY_LEN, &work, e));
    k = (char *)secret_bytes(work); /* salted password, client key, server key, stored key */
    rc = gsasl_scram_secrets_from_password(GSASL_HASH_SHA256, prepared, (unsigned)iterations,
                                           (const char *)salt, sizeof(salt), k, k + SCRAM_KEY_LEN,
                                           k + 2 * SCRAM_KEY_LEN, k + 3 * SCRAM_KEY_LEN);
    mem_wipe(prepared, strlen(prepared));
    gsasl_free(prepared);
    if (rc != GSASL_OK)
        FAIL(e, ERR_CRYPTO, "could not derive keys from a password: %s", gsasl_strerror(rc));
    bw_doc_begin(w, "credentials");
    bw_doc_begin(w, "SCRAM-SHA-256");
    bw_i32(w, "iterationCount", iterations);
    write_b64(w, "salt", salt, sizeof(salt));
    write_b64(w, "storedKey", k + 3 * SCRAM_KEY_LEN, SCRAM_KEY_LEN);
    write_b64(w, "serverKey", k + 2 * SCRAM_KEY_LEN, SCRAM_KEY_LEN);
    bw_doc_end(w);
    bw_doc_end(w);
    return RC_OK;
}
