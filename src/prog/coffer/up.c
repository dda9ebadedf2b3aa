/* up.c - `coffer up` and `coffer down`: a whole installation on loopback.
 *
 * The order: the vault (with a vault, a key and two identities in it), the node whose key the service manages, the node whose key
 * the customer manages; then each node's first user, made through the localhost exception; then run.env. Every step that finds its
 * work done does nothing, so a second `coffer up` is harmless. It refuses to go on where it would have to guess: a port that
 * somebody else uses, a user whose password is gone.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "child.h"
#include "coffer.h"
#include "mongo.h"

#define VAULT_NAME "main"
#define KEY_NAME "coffer-cmk"
#define NODE_IDENTITY "node"
#define CUSTOMER_IDENTITY "customer"
#define ADMIN_USER "admin"

enum {
    ARGS_MAX = 64,
    PASSWORD_BYTES = 24,
    HELLO_TIMEOUT_MS = 5000,
    CODE_USER_EXISTS = 51003,
    POLL_US = 50000
};

/* What is known about a running program. */
struct running {
    pid_t pid;
    int port;
    bool started; /* by this very command */
};

/* From the facts file that coffer-vault writes (src/vault/README.md lists its members). */
struct vault_facts {
    char *vault_url, *key_id, *key_url, *imds_endpoint, *app_endpoint, *audience, *ca_file;
    char *node_id, *node_secret_file, *customer_id;
};

struct args {
    char *v[ARGS_MAX];
    int n;
};

static void arg(struct args *a, char *text)
{
    INVARIANT(a->n < ARGS_MAX - 1);
    a->v[a->n++] = text;
}

/* flag(): "--name=value". */
static void flag(struct args *a, const char *name, const char *value)
{
    arg(a, mem_printf("--%s=%s", name, value));
}

static void flag_number(struct args *a, const char *name, int64_t value)
{
    arg(a, mem_printf("--%s=%lld", name, (long long)value));
}

/* flag_path(): --name=HOME/program/leaf */
static void flag_path(struct args *a, const struct coffer *c, const char *name, const char *program,
                      const char *leaf)
{
    AUTO(mem_freep) char *path = coffer_path(c, program, leaf);
    flag(a, name, path);
}

static void args_fini(struct args *a)
{
    for (int i = 0; i < a->n; i++)
        mem_free(a->v[i]);
}

static RC read_port(const char *path, int *port, struct err *e)
{
    AUTO(mem_freep) char *text = NULL;
    int64_t n;

    TRY(coffer_read_text(path, &text, e));
    if (!text_i64(slice_str(text), &n) || n < 1 || n > 65535)
        FAIL(e, ERR_OPERATION_FAILED, "%s holds no port", path);
    *port = (int)n;
    return RC_OK;
}

/* run(): start the program unless it runs already; wait until ready_leaf is there, then read the port. */
static RC run(const struct coffer *c, const char *program, struct args *a, const char *ready_leaf,
              struct running *out, struct err *e)
{
    AUTO(mem_freep) char *pid_file = coffer_path(c, program, "pid");
    AUTO(mem_freep) char *port_file = coffer_path(c, program, "port");
    AUTO(mem_freep) char *ready_file = coffer_path(c, program, ready_leaf);
    AUTO(mem_freep) char *output = coffer_path(c, program, "output");
    AUTO(mem_freep) char *log = coffer_path(c, program, "log");
    uint64_t timeout_ms = settings_us(c->settings, CS_UP_TIMEOUT) / 1000;

    out->pid = child_find(pid_file);
    out->started = out->pid == 0;
    if (out->started) {
        /* Left by a run that was killed: they would say "ready" too early. */
        (void)unlink(ready_file);
        (void)unlink(port_file);
        a->v[a->n] = NULL;
        TRY(child_start(a->v, output, pid_file, &out->pid, e));
    }
    TRY(child_wait_file(out->pid, ready_file, output, log, timeout_ms, e));
    return read_port(port_file, &out->port, e);
}

/* check_port(): a program that is to be started must find its port free. */
static RC check_port(const struct coffer *c, const char *program, int setting, struct err *e)
{
    AUTO(mem_freep) char *pid_file = coffer_path(c, program, "pid");
    int64_t port = settings_i64(c->settings, setting);

    if (port == 0 || child_find(pid_file))
        return RC_OK;
    return child_port_free(settings_def(c->settings, setting)->name, port, e);
}

static RC make_dirs(const struct coffer *c, const char *program, struct err *e)
{
    AUTO(mem_freep) char *dir = coffer_path(c, program, NULL);
    return dir_make(dir, 0700, e);
}

static RC fact(struct bdoc d, const char *path, char **out, struct err *e)
{
    struct bval v = bdoc_get_path(d, path);

    if (v.type != BT_STRING)
        FAIL(e, ERR_OPERATION_FAILED, "the vault's description lacks \"%s\"", path);
    struct slice s = bval_str(v);
    *out = mem_strndup((const char *)s.p, s.len);
    return RC_OK;
}

static void facts_fini(struct vault_facts *f)
{
    char **all[] = { &f->vault_url,        &f->key_id,     &f->key_url, &f->imds_endpoint,
                     &f->app_endpoint,     &f->audience,   &f->ca_file, &f->node_id,
                     &f->node_secret_file, &f->customer_id };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        mem_free(*all[i]);
}

static RC read_facts(const struct coffer *c, struct vault_facts *f, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(mem_freep) char *path = coffer_path(c, "vault", "facts.json");
    AUTO(mem_freep) char *text = NULL;
    struct bdoc d;

    TRY(coffer_read_text(path, &text, e));
    TRY(bdoc_from_json(a, text, &d, e));
    TRY(fact(d, "vaults." VAULT_NAME ".url", &f->vault_url, e));
    TRY(fact(d, "vaults." VAULT_NAME ".keys." KEY_NAME ".url", &f->key_url, e));
    TRY(fact(d, "vaults." VAULT_NAME ".keys." KEY_NAME ".kid", &f->key_id, e));
    TRY(fact(d, "imdsEndpoint", &f->imds_endpoint, e));
    TRY(fact(d, "appServiceEndpoint", &f->app_endpoint, e));
    TRY(fact(d, "audience", &f->audience, e));
    TRY(fact(d, "caFile", &f->ca_file, e));
    TRY(fact(d, "identities." NODE_IDENTITY ".clientId", &f->node_id, e));
    TRY(fact(d, "identities." NODE_IDENTITY ".secretFile", &f->node_secret_file, e));
    return fact(d, "identities." CUSTOMER_IDENTITY ".clientId", &f->customer_id, e);
}

static RC start_vault(const struct coffer *c, struct vault_facts *f, struct running *out,
                      struct err *e)
{
    struct args a = { 0 };

    TRY(make_dirs(c, "vault", e));
    TRY(check_port(c, "vault", CS_VAULT_PORT, e));
    TRY(check_port(c, "vault", CS_TOKEN_PORT, e));
    arg(&a, mem_printf("%s/coffer-vault", c->bin_dir));
    flag_path(&a, c, "state-dir", "vault", "state");
    flag_path(&a, c, "root-key-file", "vault", "keys/root.key");
    flag_path(&a, c, "ca-file", "vault", "ca.pem");
    flag_path(&a, c, "credential-dir", "vault", "credentials");
    flag_path(&a, c, "facts-file", "vault", "facts.json");
    flag_path(&a, c, "log-file", "vault", "log");
    flag_path(&a, c, "port-file", "vault", "port");
    flag(&a, "log-format", "json");
    flag_number(&a, "port", settings_i64(c->settings, CS_VAULT_PORT));
    flag_number(&a, "token-port", settings_i64(c->settings, CS_TOKEN_PORT));
    flag(&a, "vault-name", VAULT_NAME);
    flag(&a, "bootstrap-keys", KEY_NAME ":3072");
    flag(&a, "bootstrap-identities",
         NODE_IDENTITY ":crypto-service-encryption-user," CUSTOMER_IDENTITY ":crypto-officer");
    rc_t rc = run(c, "vault", &a, "port", out, e);
    args_fini(&a);
    TRY(rc);
    return read_facts(c, f, e);
}

/* wait_hello(): until the node answers hello. A sealed one does too: giving its key back is not our business. */
static RC wait_hello(const struct coffer *c, const char *program, const struct running *r,
                     struct err *e)
{
    uint64_t deadline = clock_mono_us() + settings_us(c->settings, CS_UP_TIMEOUT);

    for (;;) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        AUTO(mongo_close) struct mongo m = MONGO_INIT;
        struct buf buf = BUF_INIT;
        struct bw w;
        struct bdoc reply;
        struct err why = { 0 };
        const struct mongo_place at = { .host = "127.0.0.1", .port = r->port };

        bw_init(&w, &buf);
        bw_i32(&w, "hello", 1);
        bw_str(&w, "$db", "admin");
        bool ok = !mongo_open(&m, &at, HELLO_TIMEOUT_MS, &why).failed &&
                  !mongo_run(&m, bw_finish(&w), a, &reply, &why).failed;
        buf_fini(&buf);
        if (ok)
            return RC_OK;
        if (clock_mono_us() > deadline || !r->pid) {
            rc_t rc = err_set(e, why.code, __FILE__, __LINE__, "the node %s does not answer: %s",
                              program, why.msg);
            err_reset(&why);
            return rc;
        }
        err_reset(&why);
        clock_sleep_us(POLL_US);
    }
}

/* node_args(): where a node is and which key it has; f NULL: the service's. */
static void node_args(const struct coffer *c, const char *program, const struct vault_facts *f,
                      struct args *a)
{
    arg(a, mem_printf("%s/cofferd", c->bin_dir));
    flag(a, "cluster-name", program);
    flag_path(a, c, "data-dir", program, "data");
    flag_path(a, c, "state-dir", program, "state");
    flag_path(a, c, "log-file", program, "log");
    flag(a, "log-format", "json");
    if (!f)
        return;
    flag(a, "key-mode", "cmk");
    flag(a, "key-url", f->key_url);
    flag(a, "key-ca-file", f->ca_file);
    flag(a, "key-audience", f->audience);
    flag(a, "token-source", "app-service");
    flag(a, "token-endpoint", f->app_endpoint);
    flag(a, "token-secret-file", f->node_secret_file);
    flag(a, "client-id", f->node_id);
}

/* The node "cmk" is the one with the vault's key: it needs the facts only to be found, so that without them the rest is done all the same. */
void coffer_node_args(const struct coffer *c, const char *program, char *out[COFFER_ARGS_MAX],
                      int *n)
{
    struct vault_facts f = { 0 };
    struct args a = { 0 };
    struct err ignored = { 0 };
    bool known = strcmp(program, "cmk") == 0 && !read_facts(c, &f, &ignored).failed;

    node_args(c, program, known ? &f : NULL, &a);
    INVARIANT(a.n < COFFER_ARGS_MAX);
    memcpy(out, a.v, (size_t)a.n * sizeof(out[0]));
    *n = a.n;
    facts_fini(&f);
    err_reset(&ignored);
}

static RC start_node(const struct coffer *c, const char *program, int port_setting,
                     const struct vault_facts *f, struct running *out, struct err *e)
{
    struct args a = { 0 };

    TRY(make_dirs(c, program, e));
    TRY(check_port(c, program, port_setting, e));
    node_args(c, program, f, &a);
    flag_path(&a, c, "port-file", program, "port");
    flag_number(&a, "port", settings_i64(c->settings, port_setting));
    flag(&a, "cache-size", settings_str(c->settings, CS_CACHE_SIZE));
    if (c->restore_node && strcmp(c->restore_node, program) == 0)
        flag(&a, "restore-from", c->restore_from);
    rc_t rc = run(c, program, &a, "port", out, e);
    args_fini(&a);
    TRY(rc);
    return wait_hello(c, program, out, e);
}

/* admin_password(): the one of this installation, made at its first start. */
static RC admin_password(const struct coffer *c, char **out, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/admin.password", c->home);
    uint8_t random[PASSWORD_BYTES];
    struct buf text = BUF_INIT;

    if (path_exists(path))
        return coffer_read_text(path, out, e);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        FAIL(e, ERR_CRYPTO, "the system gives no random bytes");
    hex_encode(SLICE(random, sizeof(random)), &text);
    mem_wipe(random, sizeof(random));
    *out = mem_strdup(buf_cstr(&text));
    rc_t rc = file_write_atomic(path, 0600, buf_view(&text), e);
    buf_wipe(&text);
    return rc;
}

/* ensure_admin(): the node's first user. Whoever has a user already answers that it exists, or that we may not ask. */
static RC ensure_admin(const char *program, int port, const char *password, bool password_is_new,
                       struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(mongo_close) struct mongo m = MONGO_INIT;
    AUTO(buf_wipe) struct buf buf = BUF_INIT;
    struct err why = { 0 };
    struct bdoc reply;
    struct bw w;

    bw_init(&w, &buf);
    bw_str(&w, "createUser", ADMIN_USER);
    bw_str(&w, "pwd", password);
    bw_array_begin(&w, "roles");
    bw_str(&w, NULL, "root");
    bw_array_end(&w);
    bw_str(&w, "$db", "admin");
    const struct mongo_place at = { .host = "127.0.0.1", .port = port };
    TRY(mongo_open(&m, &at, HELLO_TIMEOUT_MS, e));
    if (!mongo_run(&m, bw_finish(&w), a, &reply, &why).failed)
        return RC_OK;
    enum err_code code = why.code;
    rc_t rc = RC_OK;
    bool exists = (int)code == CODE_USER_EXISTS || code == ERR_UNAUTHORIZED;
    if (exists && password_is_new)
        rc =
            err_set(e, ERR_CONFIG, __FILE__, __LINE__,
                    "the node %s has a user already, but the password of this installation is gone",
                    program);
    else if (!exists && code != ERR_CLUSTER_INACCESSIBLE)
        rc = err_set(e, code, __FILE__, __LINE__, "could not make the first user of node %s: %s",
                     program, why.msg);
    err_reset(&why);
    return rc;
}

/* env_line(): NAME=value, as a shell and a dotenv reader take it: quoted when a shell would see more than text in it. */
static RC env_line(struct buf *out, const char *name, const char *value, struct err *e)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@?=%+,";

    if (strpbrk(value, "'\n"))
        FAIL(e, ERR_CONFIG, "the path \"%s\" has a quote or a line end in it", value);
    if (value[strspn(value, plain)] == '\0')
        buf_printf(out, "%s=%s\n", name, value);
    else
        buf_printf(out, "%s='%s'\n", name, value);
    return RC_OK;
}

static char *uri(int port, const char *password)
{
    return mem_printf("mongodb://" ADMIN_USER ":%s@127.0.0.1:%d/?authSource=admin", password, port);
}

struct outcome {
    struct vault_facts facts;
    struct running vault, smk, cmk;
    char *password;
};

static RC write_run_env(const struct coffer *c, const struct outcome *o, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/run.env", c->home);
    AUTO(mem_freep) char *cmk = uri(o->cmk.port, o->password);
    AUTO(mem_freep) char *smk = uri(o->smk.port, o->password);
    AUTO(mem_freep) char *data = coffer_path(c, "cmk", "data");
    AUTO(mem_freep) char *log = coffer_path(c, "cmk", "log");
    char pid[16];
    AUTO(buf_wipe) struct buf out = BUF_INIT;

    snprintf(pid, sizeof(pid), "%d", (int)o->cmk.pid);
    const struct {
        const char *name, *value;
    } lines[] = {
        { "MONGODB_URI", cmk },
        { "SMK_MONGODB_URI", smk },
        { "VAULT_URL", o->facts.vault_url },
        { "KEY_ID", o->facts.key_id },
        { "TOKEN_ENDPOINT", o->facts.imds_endpoint },
        { "CLIENT_ID", o->facts.customer_id },
        { "CA_FILE", o->facts.ca_file },
        { "DATA_DIR", data },
        { "LOG_FILE", log },
        { "COFFERD_PID", pid },
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        TRY(env_line(&out, lines[i].name, lines[i].value, e));
    return file_write_atomic(path, 0600, buf_view(&out), e);
}

static const char *verb(const struct running *r)
{
    return r->started ? "started" : "runs already";
}

static RC bring_up(const struct coffer *c, struct outcome *o, struct err *e)
{
    AUTO(mem_freep) char *password_file = mem_printf("%s/admin.password", c->home);

    TRY(dir_make(c->home, 0700, e));
    bool password_is_new = !path_exists(password_file);
    TRY(admin_password(c, &o->password, e));
    TRY(start_vault(c, &o->facts, &o->vault, e));
    printf("vault  %-12s port %d  %s\n", verb(&o->vault), o->vault.port, o->facts.vault_url);
    TRY(start_node(c, "smk", CS_SMK_PORT, NULL, &o->smk, e));
    TRY(ensure_admin("smk", o->smk.port, o->password, password_is_new, e));
    printf("smk    %-12s port %d  its key is managed by the service\n", verb(&o->smk), o->smk.port);
    TRY(start_node(c, "cmk", CS_CMK_PORT, &o->facts, &o->cmk, e));
    TRY(ensure_admin("cmk", o->cmk.port, o->password, password_is_new, e));
    printf("cmk    %-12s port %d  its key is wrapped by %s\n", verb(&o->cmk), o->cmk.port,
           o->facts.key_url);
    TRY(write_run_env(c, o, e));
    printf("how to reach them is in %s/run.env\n", c->home);
    return RC_OK;
}

RC coffer_up(struct coffer *c, int argc, char **argv, struct err *e)
{
    struct outcome o = { 0 };

    (void)argc;
    (void)argv;
    rc_t rc = bring_up(c, &o, e);
    facts_fini(&o.facts);
    if (o.password)
        mem_wipe(o.password, strlen(o.password));
    mem_free(o.password);
    return rc;
}

/* The node itself verifies the backup before it takes a byte of it, and refuses a data directory that is not empty. */
RC coffer_restore(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(mem_freep) char *from = NULL;

    TRY(coffer_node(c, &c->restore_node, e));
    TRY(coffer_absolute(argv[0], &from, e));
    AUTO(mem_freep) char *pid_file = coffer_path(c, c->restore_node, "pid");
    if (child_find(pid_file))
        FAIL(e, ERR_CONFIG, "node %s runs; end it first: coffer down", c->restore_node);
    c->restore_from = from;
    rc_t rc = coffer_up(c, argc, argv, e);
    c->restore_from = c->restore_node = NULL;
    return rc;
}

RC coffer_down(struct coffer *c, int argc, char **argv, struct err *e)
{
    static const char *const order[] = { "cmk", "smk", "vault" };
    uint64_t timeout_ms = settings_us(c->settings, CS_DOWN_TIMEOUT) / 1000;

    (void)argc;
    (void)argv;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        AUTO(mem_freep) char *pid_file = coffer_path(c, order[i], "pid");
        if (!child_find(pid_file)) {
            printf("%-6s does not run\n", order[i]);
            continue;
        }
        TRY(child_stop(pid_file, timeout_ms, e));
        printf("%-6s stopped\n", order[i]);
    }
    return RC_OK;
}
