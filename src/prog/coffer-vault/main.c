/* main.c - coffer-vault: the embedded key vault as a process of its own. Wiring only; src/vault does the work. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "bootstrap.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "crypto/wipe.h"
#include "http/http_client.h"
#include "keys/helper.h"
#include "kmsg/kjson.h"
#include "ops.h"
#include "root_token.h"
#include "vault/vault.h"

enum { UIDS_MAX = 32 };

static const struct setting_def rows[] = {
#define SETTING(id, type, name, def, min, max, flags, doc)                                         \
    { name, type, def, min, max, flags, doc },
#include "vault_settings.def"
#undef SETTING
};

/* Before anything secret is in memory: no dumps, nobody attaches, nothing in the environment makes a library write keys down, and the
 * libraries that will hold key bytes overwrite what they release. */
static RC harden(struct err *e)
{
    static const char *const unwanted[] = { "SSLKEYLOGFILE", "OPENSSL_CONF", "OPENSSL_MODULES",
                                            "OPENSSL_ENGINES", "GNUTLS_SYSTEM_PRIORITY_FILE" };
    struct rlimit none = { 0, 0 };
    sigset_t waited;

    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        FAIL(e, ERR_CRYPTO, "cannot make the process undumpable: %s", strerror(errno));
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        FAIL(e, ERR_CRYPTO, "cannot turn core dumps off: %s", strerror(errno));
    for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
        unsetenv(unwanted[i]);
    struct rlimit locked;
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0) {
        locked.rlim_cur = locked.rlim_max;
        /* Refused by some containers: then the soft limit stands, and secret_arena_init() says when it is too low. */
        (void)!setrlimit(RLIMIT_MEMLOCK, &locked);
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    /* blocked here, and so in every thread that follows: main() waits for them */
    sigemptyset(&waited);
    sigaddset(&waited, SIGTERM);
    sigaddset(&waited, SIGINT);
    sigaddset(&waited, SIGHUP);
    if (pthread_sigmask(SIG_SETMASK, &waited, NULL) != 0)
        FAIL(e, ERR_INTERNAL, "cannot set the signal mask");
    kjson_wiping();
    TRY(wipe_install_openssl(e)); /* before libcurl makes OpenSSL allocate */
    return http_client_global_init(/* wiping= */ true, e);
}

static RC start_log(const struct settings *s, struct err *e)
{
    static const char *const levels[LOG_LEVEL_NR] = { "debug", "info", "warn", "error" };
    const char *file = settings_str(s, VS_LOG_FILE), *level = settings_str(s, VS_LOG_LEVEL),
               *format = settings_str(s, VS_LOG_FORMAT);
    struct log_config c = { .fd = 2,
                            .program = "coffer-vault",
                            .json = strcmp(format, "json") == 0 };
    int n = 0;

    while (n < LOG_LEVEL_NR && strcmp(levels[n], level) != 0)
        n++;
    if (n == LOG_LEVEL_NR)
        FAIL(e, ERR_CONFIG, "log-level: \"%s\" is none of debug, info, warn, error", level);
    if (!c.json && strcmp(format, "text") != 0)
        FAIL(e, ERR_CONFIG, "log-format: \"%s\" is neither text nor json", format);
    c.min_level = (enum log_level)n;
    if (*file && (c.fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0)
        return file_err(e, errno, "open", file);
    log_init(&c);
    return RC_OK;
}

static RC read_uids(const char *list, uint32_t out[UIDS_MAX], int *n, struct err *e)
{
    *n = 0;
    while (*(list += strspn(list, ", "))) {
        uint64_t v;
        size_t len = strcspn(list, ", ");
        if (*n == UIDS_MAX || !text_u64(SLICE(list, len), &v) || v > UINT32_MAX)
            FAIL(e, ERR_CONFIG, "token-uids: not a list of at most %d numbers", UIDS_MAX);
        out[(*n)++] = (uint32_t)v;
        list += len;
    }
    return RC_OK;
}

/* Zero says "never"; what is shorter than a second would be taken for it. */
static RC check_lifetimes(const struct settings *s, struct err *e)
{
    uint64_t us = settings_us(s, VS_SIGNING_KEY_LIFETIME);

    if (us > 0 && us < 1000000)
        FAIL(e, ERR_CONFIG, "signing-key-lifetime: a second at least, or 0 for no end");
    us = settings_us(s, VS_AUDIT_KEEP);
    if (us > 0 && us < 1000000)
        FAIL(e, ERR_CONFIG, "audit-keep: a second at least, or 0 for ever");
    return RC_OK;
}

static void admin_closep(struct admin_server **a)
{
    admin_close(*a);
}

static RC listen_admin(const struct admin_ops *ops, const struct settings *s,
                       struct admin_server **out, struct err *e)
{
    AUTO(mem_freep) char *path = bootstrap_path(s, VS_ADMIN_SOCKET, "/admin.sock");

    return admin_listen(path, ops, out, e);
}

/* The path of the credential with the root key; "" when none is asked for. What the manager did not pass is found missing when it is read. */
static RC root_credential(const struct settings *s, char **out, struct err *e)
{
    const char *name = settings_str(s, VS_ROOT_KEY_CREDENTIAL),
               *dir = getenv("CREDENTIALS_DIRECTORY");

    *out = NULL;
    if (*name && *settings_str(s, VS_ROOT_KEY_FILE))
        FAIL(e, ERR_CONFIG, "root-key-file and root-key-credential: only one of them can be set");
    if (*name && (*name == '.' || strchr(name, '/')))
        FAIL(e, ERR_CONFIG, "root-key-credential: \"%s\" is not a credential's name", name);
    if (*name && (!dir || *dir != '/'))
        FAIL(e, ERR_CONFIG,
             "root-key-credential: the service manager passed no credentials "
             "(CREDENTIALS_DIRECTORY is not set)");
    *out = *name ? mem_printf("%s/%s", dir, name) : mem_strdup("");
    return RC_OK;
}

/* The token is asked by the start alone: nothing of its helper is left behind. */
static RC open_vault(const struct settings *s, const char *argv0, struct vault_config *c,
                     struct vault_service **out, struct err *e)
{
    AUTO(root_token_fini) struct root_token token = { .provider = NULL };

    TRY(root_token_init(&token, s, argv0, e));
    c->root_provider = token.provider;
    c->root_timeout_us = settings_us(s, VS_ROOT_KEY_TIMEOUT);
    c->root_move_from = token.provider ? settings_str(s, VS_ROOT_KEY_FILE) : "";
    rc_t rc = vault_open(c, out, e);
    root_token_note(&token, s, e);
    c->root_provider = NULL;
    return rc;
}

static RC serve(const struct settings *s, const char *argv0, struct err *e)
{
    AUTO(vault_closep) struct vault_service *v = NULL;
    AUTO(admin_closep) struct admin_server *admin = NULL;
    struct ops_ctx ops_ctx = { .settings = s };
    struct admin_ops ops = ops_table(&ops_ctx);
    AUTO(mem_freep) char *root = bootstrap_path(s, VS_ROOT_KEY_FILE, ".keys/root.key");
    AUTO(mem_freep) char *credential = NULL;
    uint32_t uids[UIDS_MAX];
    int n_uids, signal_nr = 0;
    sigset_t waited;

    TRY(check_lifetimes(s, e));
    TRY(read_uids(settings_str(s, VS_TOKEN_UIDS), uids, &n_uids, e));
    TRY(root_credential(s, &credential, e));
    struct vault_config c = {
        .address = settings_str(s, VS_LISTEN),
        .port = (uint16_t)settings_i64(s, VS_PORT),
        .token_port = (uint16_t)settings_i64(s, VS_TOKEN_PORT),
        .state_dir = settings_str(s, VS_STATE_DIR),
        .root_key_file = root,
        .root_credential = credential,
        .pin_file = settings_str(s, VS_PIN_FILE),
        .domain = settings_str(s, VS_DOMAIN),
        .login_host = settings_str(s, VS_LOGIN_HOST),
        .tenant = settings_str(s, VS_TENANT_ID),
        .region = settings_str(s, VS_REGION),
        .token_lifetime_s = (uint32_t)(settings_us(s, VS_TOKEN_LIFETIME) / 1000000),
        .client_token_lifetime_s = (uint32_t)(settings_us(s, VS_CLIENT_TOKEN_LIFETIME) / 1000000),
        .signing_key_lifetime_s = (int64_t)(settings_us(s, VS_SIGNING_KEY_LIFETIME) / 1000000),
        .federation_ca_file = settings_str(s, VS_FEDERATION_CA_FILE),
        .federation_refresh_s = (uint32_t)(settings_us(s, VS_FEDERATION_REFRESH) / 1000000),
        .audit_keep_s = (int64_t)(settings_us(s, VS_AUDIT_KEEP) / 1000000),
        .audit_keep_bytes = (uint64_t)settings_i64(s, VS_AUDIT_KEEP_SIZE),
        .rotation_check_ms = (uint64_t)(settings_us(s, VS_ROTATION_CHECK) / 1000),
        .adopt = settings_bool(s, VS_ADOPT),
        .token_uids = uids,
        .n_token_uids = n_uids,
    };
    TRY(open_vault(s, argv0, &c, &v, e));
    TRY(bootstrap_make(s, v, e));
    TRY(vault_serve(v, e));
    ops_ctx.vault = v;
    TRY(listen_admin(&ops, s, &admin, e));
    TRY(bootstrap_tell(s, v, e));
    if (!*credential && !*settings_str(s, VS_ROOT_KEY_PKCS11) &&
        path_same_device(settings_str(s, VS_STATE_DIR), root))
        log_event(EV_VAULT_SAME_DEVICE, KV_STR("rootKeyFile", root));
    AUTO(mem_freep) char *ca = bootstrap_path(s, VS_CA_FILE, ".ca.pem");
    log_event(EV_READY, KV_I64("port", vault_port(v)), KV_I64("tokenPort", vault_token_port(v)),
              KV_STR("tenant", vault_tenant(v)), KV_STR("caFile", ca));
    sigemptyset(&waited);
    sigaddset(&waited, SIGTERM);
    sigaddset(&waited, SIGINT);
    while (sigwait(&waited, &signal_nr) != 0)
        ;
    log_event0(EV_STOPPING);
    return RC_OK;
}

static RC run(struct settings *s, int argc, char **argv, bool *done, struct err *e)
{
    bool help = false, version = false;
    int rest = argc;

    TRY(settings_parse_args(s, argc, argv, &rest, &help, &version, e));
    *done = help || version;
    if (help) {
        printf(
            "coffer-vault: an embedded key vault that speaks the Azure Key Vault keys protocol\n\n");
        settings_print_help(s, stdout);
    } else if (version) {
        printf("coffer-vault %s\n", COFFER_VERSION);
    }
    if (*done)
        return RC_OK;
    if (rest < argc)
        FAIL(e, ERR_CONFIG, "\"%s\" is no flag; try --help", argv[rest]);
    TRY(start_log(s, e));
    log_event(EV_STARTING, KV_STR("version", COFFER_VERSION));
    TRY(secret_arena_init((size_t)settings_i64(s, VS_KEY_MEMORY), e));
    TRY(crypto_init(e));
    return serve(s, argv[0], e);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], HELPER_ARG) == 0)
        return root_token_helper();
    struct settings *s = settings_new(rows, VS_NR);
    struct err e = { 0 };
    bool done = false;

    fault_init_from_env();
    bool failed = harden(&e).failed || run(s, argc, argv, &done, &e).failed;
    if (failed) {
        log_err(EV_START_FAILED, &e, NULL, 0);
        fprintf(stderr, "coffer-vault: %s\n", e.msg);
    } else if (!done) {
        log_event0(EV_STOPPED);
    }
    settings_free(s);
    return failed ? 1 : 0;
}
