/* test_keys.c - keys of both types, made and brought along, and what they sign: over real HTTPS. The keys and signatures are those of
 * RFC 7515 A.2 and A.3. */
#include "base/fault.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "vault/vault_admin.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"

#define RSA_PUBLIC                                                                                 \
    "\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\""
#define RSA_PRIVATE                                                                                \
    "\"d\":\"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ\",\"p\":\"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc\",\"q\":\"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc\",\"dp\":\"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0\",\"dq\":\"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU\",\"qi\":\"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U\""
#define RSA_SIGNATURE                                                                              \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define EC_PUBLIC                                                                                  \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define EC_PRIVATE "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\""
#define EC_SIGNATURE                                                                               \
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define PAYLOAD                                                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static int call(struct vaultfix *f, const char *method, const char *path, const char *body,
                json_t **out)
{
    return vaultfix_call(f, method, path, f->token_op, body, out);
}

static char *digest_of(const char *text)
{
    struct slice part = slice_str(text);
    struct buf b = BUF_INIT;
    uint8_t hash[32];
    struct err e = { 0 };

    CHECK_RC_OK(sha256(&part, 1, hash, &e), &e);
    base64url_encode(SLICE(hash, 32), &b);
    char *out = mem_strdup(buf_cstr(&b));
    buf_fini(&b);
    return out;
}

/* What the vault says to a signature; -1 when it is refused. */
static int verify(struct vaultfix *f, const char *key, const char *alg, const char *digest,
                  const char *signature)
{
    char *path = mem_printf("/keys/%s//verify" V, key),
         *body = mem_printf("{\"alg\":\"%s\",\"digest\":\"%s\",\"value\":\"%s\"}", alg, digest,
                            signature);
    bool holds = false;
    json_t *j;
    int status = call(f, "POST", path, body, &j);

    assert_int_equal(status == 200, kjson_bool(j, "value", &holds));
    json_decref(j);
    mem_free(path);
    mem_free(body);
    return status == 200 ? holds : -1;
}

static char *sign(struct vaultfix *f, const char *key, const char *alg, const char *digest)
{
    char *path = mem_printf("/keys/%s//sign" V, key),
         *body = mem_printf("{\"alg\":\"%s\",\"value\":\"%s\"}", alg, digest), *out = NULL;
    json_t *j;

    if (call(f, "POST", path, body, &j) == 200) {
        out = mem_strdup(kjson_str(j, "value"));
        assert_non_null(strstr(kjson_str(j, "kid"), key));
    }
    json_decref(j);
    mem_free(path);
    mem_free(body);
    return out;
}

static void every_algorithm_signs_with_its_keys_alone(void **state)
{
    static const struct {
        const char *key, *create;
    } keys[] = {
        { "rsa", "{\"kty\":\"RSA\"}" },
        { "p256", "{\"kty\":\"EC\"}" },
        { "p384", "{\"kty\":\"EC\",\"crv\":\"P-384\"}" },
        { "p521", "{\"kty\":\"EC\",\"crv\":\"P-521\"}" },
        { "p256k", "{\"kty\":\"EC\",\"crv\":\"P-256K\"}" },
    };
    static const struct {
        const char *alg, *key;
        int len;
    } algs[] = {
        { "RS256", "rsa", 32 },  { "RS384", "rsa", 48 },    { "RS512", "rsa", 64 },
        { "PS256", "rsa", 32 },  { "PS384", "rsa", 48 },    { "PS512", "rsa", 64 },
        { "RSNULL", "rsa", 20 }, { "ES256", "p256", 32 },   { "ES384", "p384", 48 },
        { "ES512", "p521", 64 }, { "ES256K", "p256k", 32 },
    };
    struct vaultfix *f = *state;

    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        char *path = mem_printf("/keys/%s/create" V, keys[k].key);
        assert_int_equal(call(f, "POST", path, keys[k].create, NULL), 200);
        mem_free(path);
    }
    for (size_t a = 0; a < ARRAY_LEN(algs); a++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            struct buf text = BUF_INIT;
            uint8_t digest[64];
            memset(digest, (int)a + 1, sizeof digest);
            base64url_encode(SLICE(digest, algs[a].len), &text);
            char *sig = sign(f, keys[k].key, algs[a].alg, buf_cstr(&text));
            bool fits = strcmp(keys[k].key, algs[a].key) == 0;
            if (fits != (sig != NULL))
                fail_msg("%s with %s", algs[a].alg, keys[k].key);
            if (sig) {
                assert_int_equal(verify(f, keys[k].key, algs[a].alg, buf_cstr(&text), sig), 1);
                sig[0] = sig[0] == 'A' ? 'B' : 'A';
                assert_int_equal(verify(f, keys[k].key, algs[a].alg, buf_cstr(&text), sig), 0);
                assert_int_equal(verify(f, keys[k].key, algs[a].alg, buf_cstr(&text), "AAAA"), 0);
            } else {
                assert_int_equal(verify(f, keys[k].key, algs[a].alg, buf_cstr(&text), "AAAA"), -1);
            }
            mem_free(sig);
            if (fits && strcmp(algs[a].alg, "RSNULL") != 0) /* too short a digest */
                assert_null(sign(f, keys[k].key, algs[a].alg, "AAAA"));
            buf_fini(&text);
        }
}

static void keys_that_are_brought_are_the_same_keys(void **state)
{
    struct vaultfix *f = *state;
    json_t *j;

    assert_int_equal(call(f, "PUT", "/keys/brought" V,
                          "{\"key\":{" RSA_PUBLIC "," RSA_PRIVATE
                          ",\"key_ops\":[\"sign\",\"verify\"]},\"tags\":{\"from\":\"rfc7515\"}}",
                          &j),
                     200);
    assert_null(kjson_str(kjson_obj(j, "key"), "d"));
    assert_int_equal(json_array_size(kjson_arr(kjson_obj(j, "key"), "key_ops")), 2);
    assert_string_equal(kjson_str(kjson_obj(j, "tags"), "from"), "rfc7515");
    json_decref(j);
    char *rsa_digest = digest_of("eyJhbGciOiJSUzI1NiJ9." PAYLOAD),
         *ec_digest = digest_of("eyJhbGciOiJFUzI1NiJ9." PAYLOAD);
    char *sig = sign(f, "brought", "RS256", rsa_digest);
    assert_string_equal(sig, RSA_SIGNATURE);
    mem_free(sig);
    assert_int_equal(verify(f, "brought", "RS256", rsa_digest, RSA_SIGNATURE), 1);
    /* the same name: a new version, of another type */
    assert_int_equal(call(f, "PUT", "/keys/brought" V, "{\"key\":{" EC_PUBLIC "," EC_PRIVATE "}}",
                          NULL),
                     200);
    assert_int_equal(verify(f, "brought", "ES256", ec_digest, EC_SIGNATURE), 1);
    assert_int_equal(verify(f, "brought", "ES256", rsa_digest, EC_SIGNATURE), 0);
    /* both are there after a restart */
    vaultfix_down(f);
    struct err e = { 0 };
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(verify(f, "brought", "ES256", ec_digest, EC_SIGNATURE), 1);
    assert_int_equal(call(f, "GET", "/keys/brought/versions" V, NULL, &j), 200);
    assert_int_equal(json_array_size(kjson_arr(j, "value")), 2);
    json_decref(j);
    mem_free(rsa_digest);
    mem_free(ec_digest);
}

static void what_is_no_key_is_refused(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int status;
    } cases[] = {
        { "PUT", "/keys/k" V, "{}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":1}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{}}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{" RSA_PUBLIC "}}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{" EC_PUBLIC "}}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{" EC_PUBLIC ",\"d\":\"AQ\"}}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{" EC_PUBLIC ",\"d\":\"!\"}}", 400 },
        { "PUT", "/keys/k" V, "{\"Hsm\":true,\"key\":{" EC_PUBLIC "," EC_PRIVATE "}}", 400 },
        { "PUT", "/keys/k" V, "{\"key\":{" EC_PUBLIC "," EC_PRIVATE ",\"key_ops\":[\"encrypt\"]}}",
          400 },
        { "PUT", "/keys/k" V,
          "{\"attributes\":{\"exportable\":true},\"key\":{" EC_PUBLIC "," EC_PRIVATE "}}", 400 },
        { "PUT", "/keys/" V, "{\"key\":{" EC_PUBLIC "," EC_PRIVATE "}}", 400 },
        { "POST", "/keys/k/create" V, "{\"kty\":\"EC-HSM\"}", 400 },
        { "POST", "/keys/k/create" V, "{\"kty\":\"EC\",\"crv\":\"P-192\"}", 400 },
        { "POST", "/keys/k/create" V, "{\"kty\":\"EC\",\"crv\":1}", 400 },
        { "POST", "/keys/k/create" V, "{\"kty\":\"EC\",\"key_size\":256}", 400 },
        { "POST", "/keys/k/create" V, "{\"kty\":\"EC\",\"key_ops\":[\"wrapKey\"]}", 400 },
        { "POST", "/keys/data//sign" V, "{\"value\":\"AAAA\"}", 400 },
        { "POST", "/keys/data//sign" V, "{\"alg\":\"RS256\"}", 400 },
        { "POST", "/keys/data//sign" V, "{\"alg\":\"none\",\"value\":\"AAAA\"}", 400 },
        { "POST", "/keys/data//verify" V, "{\"alg\":\"RS256\",\"digest\":\"AAAA\"}", 400 },
        { "POST", "/keys/nope//sign" V, "{\"alg\":\"RS256\",\"value\":\"AAAA\"}", 404 },
    };
    struct vaultfix *f = *state;
    json_t *j;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = call(f, cases[i].method, cases[i].path, cases[i].body, NULL);
        if (status != cases[i].status)
            fail_msg("case %zu: %s %.80s: %d", i, cases[i].path, cases[i].body, status);
    }
    assert_int_equal(vaultfix_call(f, "PUT", "/keys/k" V, f->token_node,
                                   "{\"key\":{" EC_PUBLIC "," EC_PRIVATE "}}", NULL),
                     403);
    assert_int_equal(call(f, "GET", "/keys/k/versions" V, NULL, &j), 200);
    assert_int_equal(json_array_size(kjson_arr(j, "value")), 0);
    json_decref(j);
    /* nor can a curve's key be made to encrypt later, or do it */
    assert_int_equal(call(f, "POST", "/keys/ec/create" V, "{\"kty\":\"EC\"}", NULL), 200);
    assert_int_equal(call(f, "PATCH", "/keys/ec/" V, "{\"key_ops\":[\"decrypt\"]}", NULL), 400);
    assert_int_equal(call(f, "POST", "/keys/ec//wrapkey" V,
                          "{\"alg\":\"RSA-OAEP-256\",\"value\":\"AAAA\"}", NULL),
                     403);
    assert_int_equal(call(f, "PATCH", "/keys/ec/" V, "{\"attributes\":{\"exp\":1600000000}}", NULL),
                     200);
    char *digest = digest_of("x");
    assert_null(sign(f, "ec", "ES256", digest)); /* expired: no more signatures */
    assert_int_equal(verify(f, "ec", "ES256", digest, EC_SIGNATURE), 0); /* but checks */
    mem_free(digest);
}

/* The key of RFC 7515 A.3 in PEM, as PKCS #8 and as RFC 5915 has it. */
static const char *const ec_pem[] = {
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
    "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
    "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
    "-----END PRIVATE KEY-----\n",
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\n"
    "AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n"
    "focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
    "-----END EC PRIVATE KEY-----\n",
};
static const char *const bad_pem[] = {
    "",
    "words",
    "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    /* of P-224 */
    "-----BEGIN PRIVATE KEY-----\n"
    "MHgCAQAwEAYHKoZIzj0CAQYFK4EEACEEYTBfAgEBBBwAjpsQnnGQmL+YBIffH113\n"
    "6cspYG6+0iY7X1fCoTwDOgAEYQzzlXV8QfBQB/U6vccLQWAeUvQB4ynnZ+zV+EBh\n"
    "S6A45+fkbWB9siVcT7qAbOFPs74xtM8XqiM=\n"
    "-----END PRIVATE KEY-----\n",
    /* encrypted */
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBCKL4wkMYZo7wvhlUmx\n"
    "u+pVAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQB3wqjvkxR144W6QI\n"
    "QFx7+ASBkKzi7cLmLGDXsOOmzgIj/xDdFbUsXO9yhFiwH0DclIm247/8EIgR0kcU\n"
    "eW5fkN1lQcx7ALtXNbJSJQqCN1OdpqAuTpORMOHvsZ3t7zEADH8Cj1TsvobCVO+s\n"
    "3rFEBmVNFnuyVW/kSUXk8WwTitL6NS1VAhzN36gcoAZfBFEzvaJJbokZiTm9zNHn\n"
    "7f3VSN7H2w==\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n",
    /* a private number with another one's point */
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\n"
    "AwEHoUQDQgAEvdNqKd4IGoIMyxJBoUAdiIB6S6OMd111+OgoyOmcmDGiQyIK6MQY\n"
    "ML5ROfDKQOU5cq+/1EsYA3fZA1k9+KK7Vg==\n"
    "-----END EC PRIVATE KEY-----\n",
};

static void keys_in_pem_are_the_same_keys(void **state)
{
    struct vaultfix *f = *state;
    char version[VAULT_KEY_VERSION], *digest = digest_of("eyJhbGciOiJFUzI1NiJ9." PAYLOAD);
    json_t *j;

    for (size_t i = 0; i < ARRAY_LEN(ec_pem); i++) {
        struct err e = { 0 };
        CHECK_RC_OK(vault_key_import(f->vault, "main", "pem", slice_str(ec_pem[i]), "uid 0",
                                     version, &e),
                    &e);
        assert_int_equal(strlen(version), VERSION_LEN);
        assert_int_equal(call(f, "GET", "/keys/pem/" V, NULL, &j), 200);
        const json_t *key = kjson_obj(j, "key");
        assert_non_null(strstr(kjson_str(key, "kid"), version));
        assert_string_equal(kjson_str(key, "x"), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
        assert_string_equal(kjson_str(key, "y"), "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        json_decref(j);
        assert_int_equal(verify(f, "pem", "ES256", digest, EC_SIGNATURE), 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad_pem); i++) {
        struct err e = { 0 };
        CHECK_RC_FAILS(vault_key_import(f->vault, "main", "bad", slice_str(bad_pem[i]), "uid 0",
                                        version, &e),
                       &e, ERR_BAD_VALUE);
        assert_string_equal(version, "");
    }
    assert_int_equal(call(f, "GET", "/keys/bad/" V, NULL, NULL), 404);
    struct err no_vault = { 0 }, no_name = { 0 }, no_room = { 0 };
    CHECK_RC_FAILS(vault_key_import(f->vault, "none", "k", slice_str(ec_pem[0]), "uid 0", version,
                                    &no_vault),
                   &no_vault, ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_key_import(f->vault, "main", "k_1", slice_str(ec_pem[0]), "uid 0", version,
                                    &no_name),
                   &no_name, ERR_BAD_VALUE);
    fault_arm("file.write", "ENOSPC", 0, -1);
    assert_true(
        vault_key_import(f->vault, "main", "k", slice_str(ec_pem[0]), "uid 0", version, &no_room)
            .failed);
    fault_disarm_all();
    assert_string_equal(version, "");
    assert_int_equal(call(f, "GET", "/keys/k/" V, NULL, NULL), 404);
    /* nothing is taken in that cannot be put on record */
    struct err full = { 0 }, unrecorded = { 0 };
    fault_arm("audit.room", "ENOSPC", 0, -1);
    while (!vault__audit_ready(f->vault, &full).failed)
        ;
    CHECK_RC_FAILS(vault_key_import(f->vault, "main", "k", slice_str(ec_pem[0]), "uid 0", version,
                                    &unrecorded),
                   &unrecorded, ERR_DISK_FULL);
    fault_disarm_all();
    assert_string_equal(version, "");
    assert_int_equal(call(f, "GET", "/keys/k/" V, NULL, NULL), 404);
    mem_free(digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_algorithm_signs_with_its_keys_alone, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(keys_that_are_brought_are_the_same_keys, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_key_is_refused, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(keys_in_pem_are_the_same_keys, vaultfix_setup,
                                        vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
