/* root_token.c - see root_token.h. */
#include "root_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "bootstrap.h"
#include "bsonx/bw.h"
#include "keys/helper.h"
#include "keys/provider.h"
#include "kms/kms.h"

static const char F_URI[] = "uri", F_PIN_FILE[] = "pinFile";

static void provider_freep(struct key_provider **p)
{
    if (*p)
        (*p)->free(*p);
    *p = NULL;
}

void root_token_fini(struct root_token *t)
{
    provider_freep(&t->provider);
}

/* ---- PINs that were refused ---- */

static char *note_path(const struct settings *s)
{
    return mem_printf("%s/root.pin-refused", settings_str(s, VS_STATE_DIR));
}

/* Not the file's size: that is the PIN's length. Whatever is written to the file changes the time. */
static RC identity_of(const char *path, char out[ROOT_TOKEN_ID_MAX], struct err *e)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return file_err(e, errno, "examine the file with the token's PIN", path);
    (void)snprintf(out, ROOT_TOKEN_ID_MAX, "dev %llu ino %llu changed %lld.%09ld\n",
                   (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
                   (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    return RC_OK;
}

static RC check_refused(struct root_token *t, const struct settings *s, struct err *e)
{
    AUTO(mem_freep) char *note = note_path(s);
    AUTO(buf_fini) struct buf was = BUF_INIT;
    const char *pin = settings_str(s, VS_ROOT_KEY_PKCS11_PIN_FILE);

    TRY(identity_of(pin, t->pin_id, e));
    if (!path_exists(note))
        return RC_OK;
    TRY(file_read(note, ROOT_TOKEN_ID_MAX, &was, e));
    if (slice_eq_str(buf_view(&was), t->pin_id))
        FAIL(e, ERR_KEY_DENIED,
             "the token refused the PIN in \"%s\", and it is not tried again: write the right PIN "
             "to that file, or remove \"%s\"",
             pin, note);
    return RC_OK;
}

void root_token_note(const struct root_token *t, const struct settings *s, const struct err *e)
{
    AUTO(mem_freep) char *note = note_path(s);
    struct err why = { 0 };
    rc_t rc = RC_OK;

    if (!t->provider)
        return;
    if (kms_is_refused_pin(e))
        rc = file_write_atomic(note, 0600, slice_str(t->pin_id), &why);
    else if (!err_is(e) && path_exists(note))
        rc = file_remove(note, &why);
    if (rc.failed)
        log_err(EV_VAULT_FAILED, &why, NULL, 0);
    err_reset(&why);
}

/* ---- our side ---- */

static RC check(struct root_token *t, const struct settings *s, struct err *e)
{
    const char *uri = settings_str(s, VS_ROOT_KEY_PKCS11),
               *pin = settings_str(s, VS_ROOT_KEY_PKCS11_PIN_FILE);

    if (*settings_str(s, VS_ROOT_KEY_CREDENTIAL))
        FAIL(e, ERR_CONFIG, "root-key-pkcs11 and root-key-credential: only one of them can be set");
    if (strncasecmp(uri, "pkcs11:", 7) != 0)
        FAIL(e, ERR_CONFIG, "root-key-pkcs11 is no PKCS #11 URI"); /* which may hold a PIN */
    if (!*pin)
        FAIL(e, ERR_CONFIG,
             "root-key-pkcs11 needs root-key-pkcs11-pin-file: the file with the token's PIN");
    return check_refused(t, s, e);
}

static RC make(const char *uri, const char *pin_file, struct key_provider **out, struct err *e)
{
    struct kms_config c = {
        .key_url = uri,
        .ca_file = "",
        .proxy = "",
        .audience = "",
        .key_context = "",
        .token_source = "pin-file",
        .token_endpoint = "",
        .token_secret_file = pin_file,
        .client_id = "",
        .tenant_id = "",
    };

    return kms_provider_new(&c, out, e);
}

/* A helper that cannot make its provider says so only at the first call: what is wrong with the URI is found here. */
static RC check_uri(const char *uri, const char *pin_file, struct err *e)
{
    AUTO(provider_freep) struct key_provider *p = NULL;

    if (!make(uri, pin_file, &p, e).failed)
        return RC_OK;
    err_wrap(e, "root-key-pkcs11");
    return RC_FAILED;
}

RC root_token_init(struct root_token *t, const struct settings *s, const char *argv0, struct err *e)
{
    static int self_fd = -1; /* for the life of the process: helpers are started from it */
    const char *uri = settings_str(s, VS_ROOT_KEY_PKCS11),
               *pin = settings_str(s, VS_ROOT_KEY_PKCS11_PIN_FILE);
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct bw w;

    *t = (struct root_token){ .provider = NULL };
    if (!*uri && *pin)
        FAIL(e, ERR_CONFIG, "root-key-pkcs11-pin-file needs root-key-pkcs11");
    if (!*uri)
        return RC_OK;
    TRY(check(t, s, e));
    TRY(check_uri(uri, pin, e));
    if (self_fd < 0 && (self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)) < 0)
        return file_err(e, errno, "open", "the program itself");
    bw_init(&w, &text);
    bw_str(&w, F_URI, uri);
    bw_str(&w, F_PIN_FILE, pin);
    bw_finish(&w);
    struct helper_config c = { .exe_fd = self_fd, .argv0 = argv0, .config = buf_view(&text) };
    return helper_provider_new(&c, &t->provider, e);
}

/* ---- the helper's side ---- */

static RC text_of(struct bdoc d, const char *name, struct arena *a, const char **out, struct err *e)
{
    struct bval v = bdoc_get(d, name);

    if (v.type != BT_STRING)
        FAIL(e, ERR_CONFIG, "the helper's configuration lacks \"%s\"", name);
    *out = arena_strndup(a, (const char *)bval_str(v).p, bval_str(v).len);
    return RC_OK;
}

static RC make_from_config(struct slice config, void *arg, struct key_provider **out, struct err *e)
{
    const char *uri, *pin_file;
    struct bdoc d;

    TRY(bdoc_validate(config.p, config.len, 2, &d, e));
    TRY(text_of(d, F_URI, arg, &uri, e));
    TRY(text_of(d, F_PIN_FILE, arg, &pin_file, e));
    return make(uri, pin_file, out, e);
}

int root_token_helper(void)
{
    return kms_helper_main("coffer-vault-key-helper", make_from_config);
}
