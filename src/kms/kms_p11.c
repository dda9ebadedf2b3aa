/* kms_p11.c - a key in a PKCS #11 token (HSM, smart card, SoftHSM) as a key provider. See kms/kms.h, kmsg/kmsg_p11.h.
 *
 * The vendor's module is code that we did not write: it is loaded in a helper process alone, never in the server (kms_needs_process(),
 * kms_helper_main()). A call that hangs is ended by the parent, which ends the helper; one that crashes ends the helper by itself. Both are outages.
 *
 *   RSA private key    wraps outside with its public half, RSA-OAEP-256; RSA-OAEP with SHA-1 where the token does not do better (SoftHSM).
 *                      Unwraps by C_Decrypt.
 *   AES key            AES-KW (RFC 3394): C_WrapKey and C_UnwrapKey of a session object, which is destroyed at once.
 *
 * Every call opens a session and logs in anew, and a module that has run for MODULE_LIFE_US is initialised anew, since modules cache what they once saw (SoftHSM was
 * seen to take an old PIN for as long as it ran): a PIN that was changed, a key that was removed, is noticed. Tokens lock themselves after a few
 * wrong PINs, for good: one that was refused is not tried again until its file says something else, and the last try that a token has is
 * left to people.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "kms/kms.h"
#include "kms_priv.h"
#include "kmsg/kmsg_p11.h"

enum {
    SLOTS_MAX = 64,
    OBJECTS_MAX = 64,
    DATE_LEN = 8,
    KW_LEN = 40,
    NUMBER_MAX = 1 + RSA_BYTES_MAX
};

enum { MODULE_LIFE_US = 10000000 };

static const char ALG_OAEP256[] = "RSA-OAEP-256", ALG_OAEP1[] = "RSA-OAEP", ALG_KW[] = "AES-KW";

struct kms_p11 {
    struct kms_remote remote; /* first */
    struct kmsg_p11_uri uri;
    char *pin_file;
    struct p11_module *module; /* NULL: not loaded yet */
    CK_FUNCTION_LIST *f;       /* its functions */
    /* the last PIN that the token took, and the last that it did not; NULL: none */
    struct secret *taken, *refused;
};

struct session {
    struct kms_p11 *p;
    CK_SESSION_HANDLE h;
    bool open;
};

/* One key of the token. */
struct p11_key {
    CK_OBJECT_HANDLE h;
    CK_KEY_TYPE type; /* CKK_RSA, CKK_AES */
    uint8_t id[KMSG_P11_ID_MAX];
    uint32_t id_len;
};

static struct kms_p11 *p11_of(struct kms_remote *r)
{
    return CONTAINER_OF(r, struct kms_p11, remote);
}

/* ---- what a return value means ---- */

#define PIN_IS_LOCKED "the PIN is locked"
#define PIN_IS_WRONG "the PIN is wrong"
#define PIN_IS_MALFORMED "the PIN is malformed"

static RC refused(struct err *e, const char *what, CK_RV rv)
{
    static const struct {
        CK_RV rv;
        enum err_code code;
        const char *text;
    } known[] = {
        { CKR_PIN_INCORRECT, ERR_KEY_DENIED, PIN_IS_WRONG },
        { CKR_PIN_INVALID, ERR_KEY_DENIED, PIN_IS_MALFORMED },
        { CKR_PIN_LEN_RANGE, ERR_KEY_DENIED, PIN_IS_MALFORMED },
        { CKR_PIN_EXPIRED, ERR_KEY_DENIED, "the PIN has expired" },
        { CKR_PIN_LOCKED, ERR_KEY_DENIED, PIN_IS_LOCKED },
        { CKR_USER_PIN_NOT_INITIALIZED, ERR_KEY_DENIED, "the token has no PIN" },
        { CKR_KEY_FUNCTION_NOT_PERMITTED, ERR_KEY_DENIED, "the key does not allow it" },
        { CKR_KEY_UNEXTRACTABLE, ERR_KEY_DENIED, "the token does not allow it" },
        { CKR_KEY_HANDLE_INVALID, ERR_KEY_NOT_FOUND, "the key is gone" },
        { CKR_OBJECT_HANDLE_INVALID, ERR_KEY_NOT_FOUND, "the key is gone" },
        { CKR_MECHANISM_INVALID, ERR_CONFIG, "the token has no mechanism for it" },
        { CKR_TOKEN_NOT_PRESENT, ERR_KEY_UNREACHABLE, "the token is not there" },
        { CKR_TOKEN_NOT_RECOGNIZED, ERR_KEY_UNREACHABLE, "the token is not there" },
        { CKR_DEVICE_ERROR, ERR_KEY_UNREACHABLE, "the device fails" },
        { CKR_DEVICE_MEMORY, ERR_KEY_UNREACHABLE, "the device is out of memory" },
        { CKR_DEVICE_REMOVED, ERR_KEY_UNREACHABLE, "the device is gone" },
        { CKR_SLOT_ID_INVALID, ERR_KEY_UNREACHABLE, "the slot is gone" },
        { CKR_SESSION_CLOSED, ERR_KEY_UNREACHABLE, "the session was closed" },
        { CKR_SESSION_HANDLE_INVALID, ERR_KEY_UNREACHABLE, "the session was closed" },
        { CKR_SESSION_COUNT, ERR_KEY_THROTTLED, "the token has no session left" },
        { CKR_HOST_MEMORY, ERR_KEY_UNREACHABLE, "the module is out of memory" },
        { CKR_FUNCTION_FAILED, ERR_KEY_UNREACHABLE, "the module fails" },
        { CKR_GENERAL_ERROR, ERR_KEY_UNREACHABLE, "the module fails" },
        { CKR_CRYPTOKI_NOT_INITIALIZED, ERR_KEY_UNREACHABLE, "the module lost its state" },
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].rv == rv)
            FAIL(e, known[i].code, "could not %s: %s (0x%lx)", what, known[i].text, rv);
    FAIL(e, ERR_KEY_BAD_ANSWER, "could not %s: the token answered 0x%lx", what, rv);
}

#define ASK(call, what)                                                                            \
    do {                                                                                           \
        CK_RV ask_rv_ = (call);                                                                    \
        if (ask_rv_ != CKR_OK)                                                                     \
            return refused(e, (what), ask_rv_);                                                    \
    } while (0)

/* ---- the module and its token ---- */

static bool modules_allowed;

void kms__allow_modules(void)
{
    modules_allowed = true;
}

/* A module has one state in a process, whichever of a list's tokens it is asked about. Helpers have one thread. */
static struct p11_module {
    char *path; /* NULL: free */
    CK_FUNCTION_LIST *f;
    bool initialised;
    uint64_t since_us; /* boot time */
} modules[KMS_LIST_MAX];

static RC load_module(const char *path, CK_FUNCTION_LIST **out, struct err *e)
{
    CK_C_GetFunctionList get;
    CK_FUNCTION_LIST *f = NULL;
    char why[128];
    void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!dl) {
        kmsg_printable(dlerror(), why, sizeof why);
        FAIL(e, ERR_CONFIG, "the PKCS #11 module cannot be loaded: %s", why);
    }
    void *symbol = dlsym(dl, "C_GetFunctionList");
    if (!symbol)
        FAIL(e, ERR_CONFIG, "\"%s\" is no PKCS #11 module", path);
    memcpy(&get, &symbol, sizeof get);
    ASK(get(&f), "get the module's functions");
    if (!f || (f->version.major != 2 && f->version.major != 3))
        FAIL(e, ERR_CONFIG, "the PKCS #11 module speaks neither version 2 nor 3");
    *out = f;
    return RC_OK;
}

static RC have_module(struct kms_p11 *p, struct err *e)
{
    size_t i = 0;

    if (!modules_allowed)
        FAIL(e, ERR_INTERNAL, "a PKCS #11 module is loaded in a helper process alone");
    while (i < ARRAY_LEN(modules) && modules[i].path && strcmp(modules[i].path, p->uri.module) != 0)
        i++;
    if (i == ARRAY_LEN(modules))
        FAIL(e, ERR_CONFIG, "more than %d PKCS #11 modules are in use", KMS_LIST_MAX);
    if (!modules[i].path) {
        for (uint32_t k = 0; k < p->uri.n_env; k++)
            if (setenv(p->uri.env[k].name, p->uri.env[k].value, 1) != 0)
                FAIL(e, ERR_INTERNAL, "the module's environment cannot be set");
        TRY(load_module(p->uri.module, &modules[i].f, e));
        modules[i].path = mem_strdup(p->uri.module);
    }
    p->module = &modules[i];
    p->f = modules[i].f;
    return RC_OK;
}

static void forget_module(struct kms_p11 *p)
{
    if (!p->module || !p->module->initialised)
        return;
    (void)p->f->C_Finalize(NULL);
    p->module->initialised = false;
}

static RC start_module(struct kms_p11 *p, struct err *e)
{
    if (!p->module)
        TRY(have_module(p, e));
    if (p->module->initialised && clock_boot_us() - p->module->since_us > MODULE_LIFE_US)
        forget_module(p);
    if (p->module->initialised)
        return RC_OK;
    CK_RV rv = p->f->C_Initialize(NULL);
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return refused(e, "initialise the module", rv);
    p->module->initialised = true;
    p->module->since_us = clock_boot_us();
    return RC_OK;
}

/* Labels and serial numbers are padded with blanks. */
static bool same_padded(const char *want, const unsigned char *have, size_t room)
{
    size_t len = strlen(want);

    if (len > room || memcmp(want, have, len) != 0)
        return false;
    for (size_t i = len; i < room; i++)
        if (have[i] != ' ')
            return false;
    return true;
}

static RC find_slot(struct kms_p11 *p, CK_SLOT_ID *out, CK_TOKEN_INFO *t, struct err *e)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;

    ASK(p->f->C_GetSlotList(CK_TRUE, slots, &n), "list the slots");
    for (CK_ULONG i = 0; i < n && i < SLOTS_MAX; i++) {
        if (p->f->C_GetTokenInfo(slots[i], t) != CKR_OK)
            continue;
        if ((!*p->uri.token || same_padded(p->uri.token, t->label, sizeof t->label)) &&
            (!*p->uri.serial ||
             same_padded(p->uri.serial, t->serialNumber, sizeof t->serialNumber))) {
            *out = slots[i];
            return RC_OK;
        }
    }
    FAIL(e, ERR_KEY_UNREACHABLE, "the token is in none of %lu slots", n);
}

static RC read_pin(const char *path, struct secret **out, struct err *e)
{
    AUTO(buf_wipe) struct buf line = BUF_INIT;

    *out = NULL;
    TRY(kms__read_own(path, &line, e));
    TRY(kms__one_line(path, &line, e));
    if (line.len > SECRET_MAX)
        FAIL(e, ERR_KEY_CREDENTIAL, "the node's own credential \"%s\" is no PIN", path);
    return secret_from(line.p, line.len, out, e);
}

static void keep(struct secret **where, struct secret *pin)
{
    secret_free(*where);
    *where = pin;
}

static RC log_in(struct session *s, CK_FLAGS flags, struct err *e)
{
    AUTO(secret_freep) struct secret *pin = NULL;
    struct kms_p11 *p = s->p;

    if (flags & CKF_USER_PIN_LOCKED)
        FAIL(e, ERR_KEY_DENIED, "could not log in to the token: " PIN_IS_LOCKED);
    TRY(read_pin(p->pin_file, &pin, e));
    if (p->refused && secret_equal(pin, p->refused))
        FAIL(e, ERR_KEY_DENIED, PIN_IS_WRONG ": it was refused, and is not tried again");
    if ((flags & CKF_USER_PIN_FINAL_TRY) && !(p->taken && secret_equal(pin, p->taken)))
        FAIL(e, ERR_KEY_THROTTLED,
             "one more wrong PIN would lock the token: somebody else has to log in first");
    CK_RV rv = p->f->C_Login(s->h, CKU_USER, secret_bytes(pin), secret_len(pin));
    if (rv == CKR_USER_ALREADY_LOGGED_IN) /* which says nothing of this PIN */
        return RC_OK;
    if (rv == CKR_OK) {
        keep(&p->taken, TAKE(pin));
        return RC_OK;
    }
    if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE)
        keep(&p->refused, TAKE(pin));
    return refused(e, "log in to the token", rv);
}

static void session_end(struct session *s)
{
    if (!s->open)
        return;
    (void)s->p->f->C_Logout(s->h);
    (void)s->p->f->C_CloseSession(s->h);
    s->open = false;
}

static RC session_begin(struct kms_p11 *p, struct session *s, struct err *e)
{
    CK_SLOT_ID slot = 0;
    CK_TOKEN_INFO token;

    TRY(start_module(p, e));
    TRY(find_slot(p, &slot, &token, e));
    ASK(p->f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s->h), "open a session");
    s->open = true;
    return log_in(s, token.flags, e);
}

/* ---- keys ---- */

static RC read_attr(struct session *s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE_TYPE type, void *out,
                    size_t room, CK_ULONG *len, struct err *e)
{
    CK_ATTRIBUTE a = { type, out, room };

    ASK(s->p->f->C_GetAttributeValue(s->h, h, &a, 1), "read an attribute of the key");
    if (a.ulValueLen == CK_UNAVAILABLE_INFORMATION || a.ulValueLen > room)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token gave an attribute of a wrong length");
    *len = a.ulValueLen;
    return RC_OK;
}

/* An attribute that the token does not have is false. */
static bool read_bool(struct session *s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE_TYPE type)
{
    CK_BBOOL v = CK_FALSE;
    CK_ULONG len;
    struct err ignored = { 0 };

    return !read_attr(s, h, type, &v, sizeof v, &len, &ignored).failed && len == sizeof v &&
           v != CK_FALSE;
}

static int64_t read_date(struct session *s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE_TYPE type)
{
    char text[DATE_LEN];
    CK_ULONG len;
    int64_t unix_s;
    struct err ignored = { 0 };

    if (read_attr(s, h, type, text, sizeof text, &len, &ignored).failed || len != DATE_LEN ||
        !kmsg_p11_date(text, &unix_s))
        return 0;
    return unix_s;
}

static RC find(struct session *s, CK_OBJECT_CLASS class, const struct slice *id,
               CK_OBJECT_HANDLE found[OBJECTS_MAX], CK_ULONG *n, struct err *e)
{
    const struct kmsg_p11_uri *u = &s->p->uri;
    CK_ATTRIBUTE t[3] = { { CKA_CLASS, &class, sizeof class } };
    CK_ULONG n_t = 1;
    char label[KMSG_P11_TEXT_MAX];

    *n = 0;
    if (*u->object) {
        memcpy(label, u->object, sizeof label);
        t[n_t++] = (CK_ATTRIBUTE){ CKA_LABEL, label, strlen(label) };
    }
    if (id)
        t[n_t++] = (CK_ATTRIBUTE){ CKA_ID, (void *)(uintptr_t)id->p, id->len };
    ASK(s->p->f->C_FindObjectsInit(s->h, t, n_t), "look for the key");
    CK_RV rv = s->p->f->C_FindObjects(s->h, found, OBJECTS_MAX, n);
    (void)s->p->f->C_FindObjectsFinal(s->h);
    ASK(rv, "look for the key");
    if (*n >= OBJECTS_MAX)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token holds more than %d such keys", OBJECTS_MAX - 1);
    return RC_OK;
}

static RC read_key(struct session *s, CK_OBJECT_HANDLE h, struct p11_key *k, struct err *e)
{
    CK_ULONG len;

    *k = (struct p11_key){ .h = h };
    TRY(read_attr(s, h, CKA_KEY_TYPE, &k->type, sizeof k->type, &len, e));
    TRY(read_attr(s, h, CKA_ID, k->id, sizeof k->id, &len, e));
    k->id_len = (uint32_t)len;
    return RC_OK;
}

/* The key of that version, or of the greatest id when version is "". */
static RC pick(struct session *s, const char *version, struct p11_key *out, struct err *e)
{
    static const CK_OBJECT_CLASS classes[] = { CKO_PRIVATE_KEY, CKO_SECRET_KEY };
    AUTO(buf_fini) struct buf id = BUF_INIT;
    bool any = false;

    if (*version && !hex_decode(slice_str(version), &id))
        FAIL(e, ERR_BAD_VALUE, "the key's version is not one of this provider's");
    if (!*version && s->p->uri.id_len)
        buf_push(&id, s->p->uri.id, s->p->uri.id_len);
    struct slice want = buf_view(&id);
    for (size_t c = 0; c < ARRAY_LEN(classes); c++) {
        CK_OBJECT_HANDLE found[OBJECTS_MAX];
        CK_ULONG n;
        TRY(find(s, classes[c], want.len ? &want : NULL, found, &n, e));
        for (CK_ULONG i = 0; i < n; i++) {
            struct p11_key k;
            TRY(read_key(s, found[i], &k, e));
            if ((k.type != CKK_RSA && k.type != CKK_AES) || k.id_len == 0)
                continue;
            if (!any || kmsg_p11_is_later(SLICE(k.id, k.id_len), SLICE(out->id, out->id_len)))
                *out = k;
            any = true;
        }
    }
    if (!any)
        FAIL(e, ERR_KEY_NOT_FOUND, "the token holds no such key");
    return RC_OK;
}

/* A number without the zeroes before it; at most room bytes of it. */
static RC read_number(struct session *s, CK_OBJECT_HANDLE h, CK_ATTRIBUTE_TYPE type, uint8_t *out,
                      size_t room, uint32_t *out_len, struct err *e)
{
    uint8_t raw[NUMBER_MAX];
    CK_ULONG len, from = 0;

    TRY(read_attr(s, h, type, raw, sizeof raw, &len, e));
    while (from < len && raw[from] == 0)
        from++;
    if (len == from || len - from > room)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token gave an attribute of a wrong length");
    memcpy(out, raw + from, len - from);
    *out_len = (uint32_t)(len - from);
    return RC_OK;
}

/* CKA_PUBLIC_EXPONENT may be missing in a private key: then it is in the public one. */
static RC read_public(struct session *s, const struct p11_key *k, struct rsa_public *out,
                      struct err *e)
{
    struct err ignored = { 0 };
    struct slice id = SLICE(k->id, k->id_len);
    CK_OBJECT_HANDLE found[OBJECTS_MAX], h = k->h;
    CK_ULONG n;

    memset(out, 0, sizeof *out);
    if (read_number(s, h, CKA_PUBLIC_EXPONENT, out->e, sizeof out->e, &out->e_len, &ignored)
            .failed) {
        TRY(find(s, CKO_PUBLIC_KEY, &id, found, &n, e));
        if (n == 0)
            FAIL(e, ERR_KEY_NOT_FOUND, "the token does not hold the key's public half");
        h = found[0];
        TRY(read_number(s, h, CKA_PUBLIC_EXPONENT, out->e, sizeof out->e, &out->e_len, e));
    }
    TRY(read_number(s, h, CKA_MODULUS, out->n, sizeof out->n, &out->n_len, e));
    if (rsa_bits(out) < 2048)
        FAIL(e, ERR_CONFIG, "the RSA key has less than 2048 bits");
    return RC_OK;
}

static void version_of(const struct p11_key *k, char out[65])
{
    AUTO(buf_fini) struct buf hex = BUF_INIT;

    hex_encode(SLICE(k->id, k->id_len), &hex);
    (void)snprintf(out, 65, "%s", buf_cstr(&hex));
}

/* ---- unwrapping and wrapping in a session ---- */

static CK_RV decrypt_rsa(struct session *s, const struct p11_key *k, bool sha256_oaep,
                         struct slice in, struct secret *out, CK_ULONG *len)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = {
        .hashAlg = sha256_oaep ? CKM_SHA256 : CKM_SHA_1,
        .mgf = sha256_oaep ? CKG_MGF1_SHA256 : CKG_MGF1_SHA1,
        .source = CKZ_DATA_SPECIFIED,
    };
    CK_MECHANISM m = { CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep };
    CK_RV rv = s->p->f->C_DecryptInit(s->h, &m, k->h);

    *len = secret_len(out);
    return rv == CKR_OK ? s->p->f->C_Decrypt(s->h, (uint8_t *)(uintptr_t)in.p, in.len,
                                             secret_bytes(out), len)
                        : rv;
}

static CK_RV unwrap_aes(struct session *s, const struct p11_key *k, struct slice in,
                        struct secret *out, CK_ULONG *len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &class, sizeof class },   { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_TOKEN, &no, sizeof no },         { CKA_SENSITIVE, &no, sizeof no },
        { CKA_EXTRACTABLE, &yes, sizeof yes },
    };
    CK_MECHANISM m = { CKM_AES_KEY_WRAP, NULL, 0 };
    CK_OBJECT_HANDLE h;
    CK_RV rv = s->p->f->C_UnwrapKey(s->h, &m, k->h, (uint8_t *)(uintptr_t)in.p, in.len, t,
                                    ARRAY_LEN(t), &h);

    if (rv != CKR_OK)
        return rv;
    CK_ATTRIBUTE value = { CKA_VALUE, secret_bytes(out), secret_len(out) };
    rv = s->p->f->C_GetAttributeValue(s->h, h, &value, 1);
    *len = value.ulValueLen;
    (void)s->p->f->C_DestroyObject(s->h, h);
    return rv;
}

static CK_RV wrap_aes(struct session *s, const struct p11_key *k, const struct secret *plain,
                      struct wrapped_key *out)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE t[] = {
        { CKA_CLASS, &class, sizeof class },
        { CKA_KEY_TYPE, &type, sizeof type },
        { CKA_TOKEN, &no, sizeof no },
        { CKA_SENSITIVE, &no, sizeof no },
        { CKA_EXTRACTABLE, &yes, sizeof yes },
        { CKA_VALUE, (void *)(uintptr_t)secret_view(plain), secret_len(plain) },
    };
    CK_MECHANISM m = { CKM_AES_KEY_WRAP, NULL, 0 };
    CK_OBJECT_HANDLE h;
    CK_ULONG len = sizeof out->bytes;
    CK_RV rv = s->p->f->C_CreateObject(s->h, t, ARRAY_LEN(t), &h);

    if (rv != CKR_OK)
        return rv;
    rv = s->p->f->C_WrapKey(s->h, &m, k->h, h, out->bytes, &len);
    (void)s->p->f->C_DestroyObject(s->h, h);
    out->len = (uint32_t)len;
    return rv;
}

/* Whether the token does OAEP with SHA-256 is seen by doing it: mechanism lists do not tell. */
static RC wrap_rsa(struct session *s, const struct p11_key *k, const struct secret *plain,
                   struct wrapped_key *out, struct err *e)
{
    AUTO(secret_freep) struct secret *back = NULL;
    struct rsa_public pub;

    TRY(read_public(s, k, &pub, e));
    TRY(secret_new(RSA_BYTES_MAX, &back, e));
    for (int sha256_oaep = 1; sha256_oaep >= 0; sha256_oaep--) {
        AUTO(buf_fini) struct buf value = BUF_INIT;
        CK_ULONG len;
        TRY(rsa_encrypt(&pub, sha256_oaep ? RSA_PAD_OAEP_SHA256 : RSA_PAD_OAEP_SHA1,
                        SLICE(secret_view(plain), secret_len(plain)), &value, e));
        CK_RV rv = decrypt_rsa(s, k, sha256_oaep, buf_view(&value), back, &len);
        if (sha256_oaep && (rv == CKR_ARGUMENTS_BAD || rv == CKR_MECHANISM_PARAM_INVALID))
            continue;
        ASK(rv, "decrypt with the key");
        if (len != secret_len(plain) || !ct_equal(secret_view(back), secret_view(plain), len))
            FAIL(e, ERR_KEY_BAD_ANSWER, "the token decrypted to something else");
        memcpy(out->bytes, value.p, value.len);
        out->len = (uint32_t)value.len;
        (void)snprintf(out->alg, sizeof out->alg, "%s", sha256_oaep ? ALG_OAEP256 : ALG_OAEP1);
        return RC_OK;
    }
    FAIL(e, ERR_CONFIG, "the token does not decrypt RSA-OAEP");
}

/* ---- the provider ---- */

static RC describe(struct session *s, const struct p11_key *k, struct key_info *out, struct err *e)
{
    struct kms_p11 *p = s->p;
    bool rsa = k->type == CKK_RSA;
    CK_ULONG len = 0, bytes = 0;
    struct rsa_public pub;

    version_of(k, out->version);
    (void)snprintf(out->kid, sizeof out->kid, "%s;id=%s", p->remote.shown, out->version);
    (void)snprintf(out->kty, sizeof out->kty, "%s", rsa ? "RSA-HSM" : "oct-HSM");
    out->enabled = true;
    out->not_before_s = read_date(s, k->h, CKA_START_DATE);
    out->expires_s = read_date(s, k->h, CKA_END_DATE);
    out->server_date_s = clock_real_s();
    out->can_unwrap = read_bool(s, k->h, rsa ? CKA_DECRYPT : CKA_UNWRAP);
    out->can_wrap = rsa || read_bool(s, k->h, CKA_WRAP);
    if (rsa) {
        TRY(read_public(s, k, &pub, e));
        out->bits = rsa_bits(&pub);
        return rsa_public_sha256(&pub, out->public_sha256, e);
    }
    TRY(read_attr(s, k->h, CKA_VALUE_LEN, &bytes, sizeof bytes, &len, e));
    if (bytes != 32)
        FAIL(e, ERR_CONFIG, "the AES key has %lu bytes instead of 32", bytes);
    out->bits = 256;
    const struct slice id[] = { SLICE_LIT("pkcs11:"), slice_str(p->remote.shown),
                                SLICE(k->id, k->id_len) };
    return sha256(id, 3, out->public_sha256, e);
}

/* After a failure the module begins anew: many look for their devices and keys only then. */
static rc_t finish(struct kms_p11 *p, struct session *s, rc_t rc)
{
    session_end(s);
    if (rc.failed)
        forget_module(p);
    return rc;
}

static RC get_key_in(struct session *s, const char *version, struct key_info *out, struct err *e)
{
    struct p11_key k;

    TRY(session_begin(s->p, s, e));
    TRY(pick(s, version, &k, e));
    return describe(s, &k, out, e);
}

static RC p11_get_key(struct kms_remote *remote, const char *version, uint64_t deadline_us,
                      struct key_info *out, struct err *e)
{
    struct session s = { .p = p11_of(remote) };

    (void)deadline_us; /* the parent's */
    return finish(s.p, &s, get_key_in(&s, version, out, e));
}

static RC wrap_in(struct session *s, const char *version, const struct secret *plain,
                  struct wrapped_key *out, struct err *e)
{
    struct p11_key k;

    TRY(session_begin(s->p, s, e));
    TRY(pick(s, version, &k, e));
    version_of(&k, out->version);
    if (k.type == CKK_RSA)
        return wrap_rsa(s, &k, plain, out, e);
    ASK(wrap_aes(s, &k, plain, out), "wrap with the key");
    if (out->len != KW_LEN)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token wrapped to %u bytes instead of %d", out->len,
             KW_LEN);
    (void)snprintf(out->alg, sizeof out->alg, "%s", ALG_KW);
    return RC_OK;
}

static RC p11_wrap(struct kms_remote *remote, const char *version, const struct secret *plain,
                   uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct session s = { .p = p11_of(remote) };

    (void)deadline_us;
    return finish(s.p, &s, wrap_in(&s, version, plain, out, e));
}

static RC unwrap_in(struct session *s, const struct wrapped_key *w, struct secret **out,
                    struct err *e)
{
    AUTO(secret_freep) struct secret *room = NULL;
    struct slice in = SLICE(w->bytes, w->len);
    bool kw = strcmp(w->alg, ALG_KW) == 0;
    struct p11_key k;
    CK_ULONG len = 0;

    TRY(session_begin(s->p, s, e));
    TRY(pick(s, w->version, &k, e));
    if ((k.type == CKK_AES) != kw)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token's key is of another type than the one that wrapped");
    TRY(secret_new(RSA_BYTES_MAX, &room, e));
    CK_RV rv = kw ? unwrap_aes(s, &k, in, room, &len)
                  : decrypt_rsa(s, &k, strcmp(w->alg, ALG_OAEP256) == 0, in, room, &len);
    ASK(rv, "unwrap with the key");
    if (len != KMS_PLAIN_LEN)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token unwrapped to %lu bytes", len);
    return secret_from(secret_view(room), len, out, e);
}

static RC p11_unwrap(struct kms_remote *remote, const struct wrapped_key *w, bool fresh,
                     uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct session s = { .p = p11_of(remote) };

    (void)deadline_us;
    if (fresh)
        forget_module(s.p);
    return finish(s.p, &s, unwrap_in(&s, w, out, e));
}

static bool is_alg(const char *alg)
{
    return strcmp(alg, ALG_OAEP256) == 0 || strcmp(alg, ALG_OAEP1) == 0 || strcmp(alg, ALG_KW) == 0;
}

static void p11_free(struct kms_remote *remote)
{
    struct kms_p11 *p = p11_of(remote);

    forget_module(p); /* but not dlclose(): modules have threads and exit handlers */
    secret_free(p->taken);
    secret_free(p->refused);
    mem_free(p->pin_file);
    mem_free(p);
}

bool kms_is_refused_pin(const struct err *e)
{
    return e->code == ERR_KEY_DENIED &&
           (strstr(e->msg, PIN_IS_WRONG) || strstr(e->msg, PIN_IS_MALFORMED));
}

static const struct kms_remote_ops ops = {
    .name = "pkcs11",
    .is_version = kmsg_p11_is_version,
    .is_alg = is_alg,
    .get_key = p11_get_key,
    .wrap = p11_wrap,
    .unwrap = p11_unwrap,
    .free = p11_free,
};

static RC setup(struct kms_p11 *p, const struct kms_config *c, const char *url, struct err *e)
{
    TRY(kmsg_p11_uri(url, &p->uri, e));
    p->remote.shown = mem_printf("pkcs11:%s=%s;%s", *p->uri.token ? "token" : "serial",
                                 *p->uri.token ? p->uri.token : p->uri.serial,
                                 *p->uri.object ? p->uri.object : "id");
    p->pin_file = mem_strdup(c->token_secret_file);
    if (strcmp(c->token_source, "pin-file") != 0 || !*p->pin_file)
        FAIL(
            e, ERR_CONFIG,
            "a key in a PKCS #11 token needs the token source pin-file and a token-secret-file with the PIN");
    return RC_OK;
}

RC kms__p11_new(const struct kms_config *c, const char *url, struct key_provider **out,
                struct err *e)
{
    struct kms_p11 *p = NEW(struct kms_p11);

    *out = NULL;
    kms__remote_init(&p->remote, &ops);
    if (setup(p, c, url, e).failed) {
        p->remote.table.free(&p->remote.table);
        return RC_FAILED;
    }
    *out = &p->remote.table;
    return RC_OK;
}
