/* vault_pem.c - a private key from a PEM text, brought by the vault's owner over the administration socket. */
#include <string.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "vault/vault_admin.h"
#include "vault_priv.h"

/* The same key, from its numbers: refused when they do not belong together, which a PEM text by itself does not say. */
static RC check_rsa(const struct secret *der, struct rsa_public *pub, struct secret **out,
                    struct err *e)
{
    struct secret *numbers[RSA_NUMBER_NR] = { NULL };
    const struct secret *views[RSA_NUMBER_NR];

    TRY(rsa_public_of(der, pub, e));
    TRY(rsa_private_numbers(der, numbers, e));
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        views[i] = numbers[i];
    rc_t rc = rsa_private(pub, views, out, e);
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        secret_free(numbers[i]);
    return rc;
}

static RC check_ec(const struct secret *der, struct ec_public *pub, struct secret **out,
                   struct err *e)
{
    AUTO(secret_freep) struct secret *d = NULL;

    TRY(ec_public_of(der, pub, e));
    TRY(ec_private_number(der, &d, e));
    return ec_private(pub, d, out, e);
}

RC vault__pem_read(struct slice pem, struct key_public *pub, struct secret **der, struct err *e)
{
    AUTO(secret_freep) struct secret *raw = NULL;
    struct err no = { 0 };

    memset(pub, 0, sizeof *pub);
    *der = NULL;
    if (!rsa_private_from_pem(pem, &raw, &no).failed) {
        pub->type = KEY_RSA;
        return check_rsa(raw, &pub->rsa, der, e);
    }
    memset(&no, 0, sizeof no);
    if (!ec_private_from_pem(pem, &raw, &no).failed) {
        pub->type = KEY_EC;
        return check_ec(raw, &pub->ec, der, e);
    }
    FAIL(
        e, ERR_BAD_VALUE,
        "the text holds no private RSA key of 2048, 3072 or 4096 bits, nor an EC key on P-256, P-384, P-521 or "
        "secp256k1, in unencrypted PEM");
}

/* On record as an operation of the keys protocol is: who holds the socket is no way around the log. */
static RC import_locked(struct vault_service *s, const char *vault, const char *key,
                        const char *version, const char *by, struct key_version **v, struct err *e)
    TS_REQUIRES(s->lock)
{
    static const char operation[] = "KeyImport";
    const struct keyvault *kv = vault__find_vault(s, vault);

    if (!kv)
        FAIL(e, ERR_NOT_FOUND, "there is no vault \"%s\"", vault);
    TRY(vault__audit_ready(s, e));
    rc_t rc = vault__publish(s, vault, key, operation, v, e);
    vault__record_own(s, operation, by, kv->name, key, version,
                      !rc.failed                ? ""
                      : e->code == ERR_CONFLICT ? "Conflict"
                                                : "InternalServerError");
    return rc;
}

RC vault_key_import(struct vault_service *s, const char *vault, const char *key, struct slice pem,
                    const char *by, char version[VAULT_KEY_VERSION], struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;
    struct key_version *v = NULL;
    struct key_public pub;

    version[0] = 0;
    if (!vault__valid_key_name(key))
        FAIL(e, ERR_BAD_VALUE, "\"%.130s\" is not a key's name", key);
    TRY(vault__pem_read(pem, &pub, &der, e));
    TRY(vault__version_of(s, vault, key, &pub, der, &v, e));
    memcpy(version, v->id, VAULT_KEY_VERSION);
    mutex_lock(&s->lock);
    rc_t rc = import_locked(s, vault, key, version, by, &v, e);
    mutex_unlock(&s->lock);
    vault__version_free(v);
    if (rc.failed)
        version[0] = 0;
    return rc;
}
