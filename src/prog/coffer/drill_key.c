/* drill_key.c - see drill_key.h. */
#include "drill_key.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "kms/kms.h"

enum {
    CALL_US = 10 * 1000 * 1000,
    SECRETS = 64 << 10, /* keys that sign requests and assertions */
    GIVE_US = 60 * 1000 * 1000,
    GUARD_GIVE_US = 600 * 1000 * 1000,
    AGAIN_US = 500 * 1000
};

/* ---- from the configuration ---- */

/* env_value(): a line NAME=value of the installation's run.env, as env_line() of up.c wrote it; "" when there is none. */
static RC env_value(const struct coffer *c, const char *name, char **out, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/run.env", c->home);
    AUTO(mem_freep) char *text = NULL;
    size_t name_len = strlen(name);

    *out = mem_strdup("");
    if (!path_exists(path))
        return RC_OK;
    TRY(coffer_read_text(path, &text, e));
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, name_len) != 0 || line[name_len] != '=')
            continue;
        const char *value = line + name_len + 1;
        bool quoted = *value == '\'';
        value += quoted;
        mem_free(*out);
        *out = mem_strndup(value, strcspn(value, quoted ? "'" : "\n"));
        return RC_OK;
    }
    return RC_OK;
}

/* What the settings say; for an installation of `coffer up`, and no other source named, what run.env says. */
static RC identity_field(const struct coffer *c, int row, const char *env, struct arena *a,
                         const char **out, struct err *e)
{
    AUTO(mem_freep) char *value = NULL;

    *out = settings_str(c->settings, row);
    if (**out || !settings_is_default(c->settings, CS_TOKEN_SOURCE))
        return RC_OK;
    TRY(env_value(c, env, &value, e));
    *out = arena_strdup(a, value);
    return RC_OK;
}

static const char *text_at(struct bdoc d, const char *path, struct arena *a)
{
    struct bval v = bdoc_get_path(d, path);

    return v.type == BT_STRING ? arena_strndup(a, (const char *)bval_str(v).p, bval_str(v).len)
                               : "";
}

static RC make_provider(const struct coffer *c, struct bdoc shown, struct arena *a,
                        struct drill_key *k, struct err *e)
{
    const char *source = settings_str(c->settings, CS_TOKEN_SOURCE);
    struct kms_config conf = {
        .key_url = k->url,
        .ca_file = text_at(shown, "configuration.key-ca-file", a),
        .proxy = text_at(shown, "configuration.key-proxy", a),
        .audience = text_at(shown, "configuration.key-audience", a),
        .key_context = text_at(shown, "configuration.key-context", a),
        .token_source = *source ? source : "imds",
        .token_secret_file = settings_str(c->settings, CS_TOKEN_SECRET_FILE),
        .tenant_id = settings_str(c->settings, CS_TENANT_ID),
    };

    TRY(identity_field(c, CS_TOKEN_ENDPOINT, "TOKEN_ENDPOINT", a, &conf.token_endpoint, e));
    TRY(identity_field(c, CS_CLIENT_ID, "CLIENT_ID", a, &conf.client_id, e));
    TRY(kms_provider_new(&conf, &k->provider, e));
    struct kms_disabling d = kms_disabling(k->url);
    if (!k->provider->set_enabled || !d.gives_back)
        FAIL(e, ERR_ILLEGAL_OPERATION, "this key cannot be taken away and given back: %s", d.note);
    return RC_OK;
}

/* ---- taking and giving ---- */

static RC set_enabled(struct drill_key *k, bool enabled, struct err *e)
{
    return k->provider->set_enabled(k->provider, k->version, enabled, clock_mono_us() + CALL_US, e);
}

static RC give(struct drill_key *k, uint64_t limit_us, struct err *e)
{
    uint64_t until = clock_mono_us() + limit_us;

    for (;;) {
        struct err why = { 0 };
        if (!set_enabled(k, true, &why).failed)
            return RC_OK;
        if (clock_mono_us() > until) {
            rc_t rc =
                err_set(e, why.code, __FILE__, __LINE__, "the key is still disabled: %s", why.msg);
            err_reset(&why);
            return rc;
        }
        err_reset(&why);
        clock_sleep_us(AGAIN_US);
    }
}

static void say_by_hand(const struct drill_key *k)
{
    AUTO(buf_fini) struct buf command = BUF_INIT;

    kms_enable_by_hand(k->url, k->version, &command);
    fprintf(stderr, "coffer: enable the key's version by hand: %s\n", buf_cstr(&command));
}

/* In each of the two processes: a fork does not take secrets along. */
static RC init_secrets(struct err *e)
{
    TRY(secret_arena_init(SECRETS, e));
    return crypto_init(e);
}

/* ---- the guard ---- */

/* Each byte says whether the key is away ('d') or there ('e'); the end of the pipe is the end of the other process. */
static void guard(struct drill_key *k, int fd)
{
    char state = 'e', next;
    ssize_t n;

    while ((n = read(fd, &next, 1)) == 1 || (n < 0 && errno == EINTR))
        if (n == 1)
            state = next;
    if (state == 'e')
        return;
    struct err e = { 0 };
    fprintf(stderr, "coffer: the drill has ended with the key away; giving it back\n");
    if (!give(k, GUARD_GIVE_US, &e).failed) {
        fprintf(stderr, "coffer: the key is back\n");
        return;
    }
    fprintf(stderr, "coffer: %s\n", e.msg);
    say_by_hand(k);
    err_reset(&e);
}

static void become_guard(struct drill_key *k, int fd)
{
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)setsid();
    if (nothing >= 0) {
        (void)dup2(nothing, STDIN_FILENO);
        (void)dup2(nothing, STDOUT_FILENO);
    }
    struct err e = { 0 };
    if (init_secrets(&e).failed) {
        fprintf(stderr, "coffer: %s\n", e.msg);
        _exit(1);
    }
    guard(k, fd);
    _exit(0);
}

static RC start_guard(struct drill_key *k, struct err *e)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        FAIL(e, ERR_OPERATION_FAILED, "could not make a pipe: %s", strerror(errno));
    (void)fflush(NULL);
    k->guard_pid = fork();
    if (k->guard_pid == 0) {
        fd_close(ends[1]);
        become_guard(k, ends[0]);
    }
    fd_close(ends[0]);
    k->guard = ends[1];
    if (k->guard_pid < 0)
        FAIL(e, ERR_OPERATION_FAILED, "could not start the process that guards the key: %s",
             strerror(errno));
    return RC_OK;
}

/* Not being able to tell the guard means that there is none: then nothing is taken away. */
static RC tell_guard(struct drill_key *k, char state, struct err *e)
{
    ssize_t n;

    do
        n = write(k->guard, &state, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        FAIL(e, ERR_OPERATION_FAILED, "the process that guards the key is gone");
    return RC_OK;
}

/* ---- the interface ---- */

RC drill_key_open(const struct coffer *c, struct bdoc shown, struct drill_key *out, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    const char *url = text_at(shown, "configuration.key-url", a);
    const char *version = text_at(shown, "key.version", a);
    const char *in_envelope = text_at(shown, "configuration.versionInEnvelope", a);

    *out = DRILL_KEY_INIT;
    out->give_us = MIN((uint64_t)GIVE_US, settings_us(c->settings, CS_DRILL_LIMIT));
    if (!*url || !*version)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "the cluster has no customer's key that could be taken away");
    if (*in_envelope && strcmp(in_envelope, version) == 0)
        version = text_at(shown, "configuration.versionInVault", a);
    out->url = mem_strndup(url, strcspn(url, ", ")); /* the first of a list decides */
    out->version = mem_strdup(version);
    TRY(kms_init(/* wiping= */ false, e));
    TRY(make_provider(c, shown, a, out, e));
    TRY(start_guard(out, e));
    return init_secrets(e);
}

/* The vault said no, or was not asked, so the key is as it was; without an answer it may be away. */
static bool was_refused(enum err_code code)
{
    return code == ERR_KEY_DENIED || code == ERR_KEY_NOT_FOUND || code == ERR_KEY_THROTTLED ||
           code == ERR_KEY_CREDENTIAL || code == ERR_KEY_TOKEN_REFUSED || code == ERR_CONFIG ||
           code == ERR_BAD_VALUE;
}

RC drill_key_take(struct drill_key *k, struct err *e)
{
    struct err why = { 0 };

    TRY(tell_guard(k, 'd', e));
    k->away = true;
    if (!set_enabled(k, false, e).failed)
        return RC_OK;
    if (was_refused(e->code)) {
        k->away = false;
        (void)tell_guard(k, 'e', &why).failed;
        err_reset(&why);
    }
    return RC_FAILED;
}

RC drill_key_give(struct drill_key *k, struct err *e)
{
    if (!k->away)
        return RC_OK;
    if (give(k, k->give_us, e).failed) {
        fprintf(stderr, "coffer: giving the key back is tried for another %d minutes\n",
                GUARD_GIVE_US / 60000000);
        say_by_hand(k);
        return RC_FAILED;
    }
    k->away = false;
    return tell_guard(k, 'e', e);
}

void drill_key_close(struct drill_key *k)
{
    fd_close(k->guard);
    if (k->guard >= 0 && !k->away)
        (void)waitpid(k->guard_pid, NULL, 0);
    if (k->provider)
        k->provider->free(k->provider);
    mem_free(k->url);
    mem_free(k->version);
    *k = DRILL_KEY_INIT;
}
