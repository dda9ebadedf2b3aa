/* vaultfix.h - a vault in this process for a test, on ports and directories of its own, and a client of it. */
#ifndef VAULT_T_VAULTFIX_H
#define VAULT_T_VAULTFIX_H

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms/kms.h"
#include "kmsg/kjson.h"
#include "unit.h"
#include "vault/vault.h"

struct vaultfix {
    char dir[64];
    char *state_dir, *root_key, *ca_file, *node_secret, *operator_secret;
    struct vault_config config;
    struct vault_service *vault;
    struct http_client *client, *token_client;
    char *url;                   /* https://main.vault.localhost:PORT */
    char *token_op, *token_node; /* bearer tokens */
};

static inline void vaultfix_init_process(void)
{
    struct err e = { 0 };

    /* Refusals and injected faults are logged as errors: only shown when asked for. */
    int fd = getenv("COFFER_TEST_LOG") ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct log_config quiet = { .fd = fd, .min_level = LOG_INFO, .program = "test" };
    log_init(&quiet);
    CHECK_RC_OK(secret_arena_init(1 << 20, &e), &e);
    CHECK_RC_OK(crypto_init(&e), &e);
    CHECK_RC_OK(http_client_global_init(false, &e), &e);
}

static inline void vaultfix_dirs(struct vaultfix *f)
{
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/coffer-vault-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->state_dir = mem_printf("%s/state", f->dir);
    f->root_key = mem_printf("%s/keys/root.key", f->dir);
    f->ca_file = mem_printf("%s/ca.pem", f->dir);
    f->node_secret = mem_printf("%s/node.secret", f->dir);
    f->operator_secret = mem_printf("%s/operator.secret", f->dir);
    f->config = (struct vault_config){
        .address = "127.0.0.1",
        .state_dir = f->state_dir,
        .root_key_file = f->root_key,
        .domain = "vault.localhost",
        .login_host = "login.localhost",
        .tenant = "",
        .region = "local",
        .token_lifetime_s = 3600,
        .client_token_lifetime_s = 600,
        .federation_ca_file = "",
        .federation_refresh_s = 300,
        .rotation_check_ms = 3600000,
    };
}

static inline void vaultfix_identity(struct vaultfix *f, const char *name, const char *role,
                                     const char *file)
{
    struct buf secret = BUF_INIT;
    struct err e = { 0 };

    CHECK_RC_OK(vault_ensure_identity(f->vault, name, false, &secret, &e), &e);
    if (secret.len)
        CHECK_RC_OK(file_write_atomic(file, 0600, buf_view(&secret), &e), &e);
    buf_wipe(&secret);
    CHECK_RC_OK(vault_grant(f->vault, "main", name, role, &e), &e);
}

/* The token that the App Service endpoint gives for the credential in file. */
static inline char *vaultfix_token(struct vaultfix *f, const char *file)
{
    struct buf secret = BUF_INIT;
    struct http_answer a;
    struct err e = { 0 };
    json_t *j;

    CHECK_RC_OK(file_read(file, 4096, &secret, &e), &e);
    char *url = mem_printf(
        "http://127.0.0.1:%u/msi/token?api-version=2019-08-01&resource=https%%3A%%2F%%2Fvault.localhost",
        vault_token_port(f->vault));
    char *header = mem_printf("X-IDENTITY-HEADER: %s", buf_cstr(&secret));
    const char *headers[] = { header, NULL };
    struct http_call q = {
        .method = "GET", .url = url, .headers = headers, .deadline_us = clock_mono_us() + 5000000
    };
    http_client_call(f->token_client, &q, &a);
    assert_int_equal(a.outcome, HTTP_OUT_ANSWER);
    assert_int_equal(a.status, 200);
    CHECK_RC_OK(kjson_load(buf_view(&a.body), 4, &j, &e), &e);
    char *token = mem_strdup(kjson_str(j, "access_token"));
    json_decref(j);
    http_answer_fini(&a);
    buf_wipe(&secret);
    mem_free(url);
    mem_free(header);
    return token;
}

static inline void vaultfix_serve(struct vaultfix *f)
{
    struct err e = { 0 };

    CHECK_RC_OK(vault_serve(f->vault, &e), &e);
    CHECK_RC_OK(file_write_atomic(f->ca_file, 0644, vault_ca_pem(f->vault), &e), &e);
    struct http_client_config tls = { .ca_file = f->ca_file }, plain = { .allow_http = true };
    CHECK_RC_OK(http_client_new(&tls, &f->client, &e), &e);
    CHECK_RC_OK(http_client_new(&plain, &f->token_client, &e), &e);
    f->url = mem_printf("https://main.vault.localhost:%u", vault_port(f->vault));
    f->token_op = vaultfix_token(f, f->operator_secret);
    f->token_node = vaultfix_token(f, f->node_secret);
}

static inline struct vaultfix *vaultfix_start(void)
{
    struct vaultfix *f = NEW(struct vaultfix);
    struct err e = { 0 };

    vaultfix_dirs(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    CHECK_RC_OK(vault_ensure_vault(f->vault, "main", &e), &e);
    CHECK_RC_OK(vault_ensure_key(f->vault, "main", "data", 2048, &e), &e);
    vaultfix_identity(f, "node", "Key Vault Crypto Service Encryption User", f->node_secret);
    vaultfix_identity(f, "operator", "crypto-officer", f->operator_secret);
    vaultfix_serve(f);
    return f;
}

/* Ends the service; files stay. */
static inline void vaultfix_down(struct vaultfix *f)
{
    http_client_free(f->client);
    http_client_free(f->token_client);
    vault_close(f->vault);
    mem_free(f->url);
    mem_free(f->token_op);
    mem_free(f->token_node);
    f->client = f->token_client = NULL;
    f->vault = NULL;
    f->url = f->token_op = f->token_node = NULL;
}

static inline int vaultfix_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void vaultfix_stop(struct vaultfix *f)
{
    vaultfix_down(f);
    assert_int_equal(nftw(f->dir, vaultfix_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
    mem_free(f->state_dir);
    mem_free(f->root_key);
    mem_free(f->ca_file);
    mem_free(f->node_secret);
    mem_free(f->operator_secret);
    mem_free(f);
}

/* A provider for a key of the vault, as the identity whose credential is in secret_file. */
static inline struct key_provider *vaultfix_provider(struct vaultfix *f, const char *key,
                                                     const char *secret_file)
{
    struct err e = { 0 };
    struct key_provider *p;
    char *url = mem_printf("%s/keys/%s", f->url, key);
    char *endpoint = mem_printf("http://127.0.0.1:%u/msi/token", vault_token_port(f->vault));
    struct kms_azure_config c = {
        .key_url = url,
        .ca_file = f->ca_file,
        .audience = "https://vault.localhost",
        .token_source = KMS_TOKEN_APP_SERVICE,
        .token_endpoint = endpoint,
        .token_secret_file = secret_file,
        .client_id = "",
    };

    CHECK_RC_OK(kms_azure_new(&c, &p, &e), &e);
    mem_free(url);
    mem_free(endpoint);
    return p;
}

/* One call as the bearer of token (NULL: none); the answer's status, its JSON in *out (NULL when there is none). */
static inline int vaultfix_call(struct vaultfix *f, const char *method, const char *path,
                                const char *token, const char *body, json_t **out)
{
    struct http_answer a;
    struct err e = { 0 };
    char *url = mem_printf("%s%s", f->url, path);
    char *header = token ? mem_printf("Authorization: Bearer %s", token) : NULL;
    const char *headers[] = { header, NULL };
    struct http_call q = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = slice_str(body),
        .content_type = "application/json",
        .deadline_us = clock_mono_us() + 20000000,
        .max_body = 4 << 20,
    };

    http_client_call(f->client, &q, &a);
    if (a.outcome != HTTP_OUT_ANSWER)
        fail_msg("%s %s: %s: %s", method, path, http_outcome_name(a.outcome), a.detail);
    if (out) {
        *out = NULL;
        if (a.body.len)
            CHECK_RC_OK(kjson_load(buf_view(&a.body), 12, out, &e), &e);
    }
    int status = a.status;
    http_answer_fini(&a);
    mem_free(url);
    mem_free(header);
    return status;
}

/* A call of another vault of the same process, by its host name, as the operator. */
static inline int vaultfix_call_at(struct vaultfix *f, const char *vault, const char *method,
                                   const char *path, const char *body, json_t **out)
{
    char *was = f->url;

    f->url = mem_printf("https://%s.vault.localhost:%u", vault, vault_port(f->vault));
    int status = vaultfix_call(f, method, path, f->token_op, body, out);
    mem_free(f->url);
    f->url = was;
    return status;
}

/* For cmocka: a vault for each test; what faults a test armed end with it. */
static inline int vaultfix_setup(void **state)
{
    *state = vaultfix_start();
    return 0;
}

static inline int vaultfix_teardown(void **state)
{
    fault_disarm_all();
    vaultfix_stop(*state);
    return 0;
}

#endif
