/* provider.c - see provider.h.
 *
 * The helper gets what it needs of the settings as one BSON document over its socket, not on a command line or in its environment. It reads the token
 * endpoint's secret from the file itself.
 */
#include "provider.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "crypto/wipe.h"
#include "keys/helper.h"
#include "keys/service_root.h"
#include "kms/kms.h"

enum { HELPER_ARENA = 256 << 10 };

/* The settings that describe the key and the way to it, by name on both sides of the helper's socket. */
static const int key_settings[] = { SET_KEY_URL,      SET_KEY_CA_FILE,    SET_KEY_AUDIENCE,
                                    SET_TOKEN_SOURCE, SET_TOKEN_ENDPOINT, SET_TOKEN_SECRET_FILE,
                                    SET_CLIENT_ID };

static RC token_source_of(const char *text, enum kms_token_source *out, struct err *e)
{
    if (strcmp(text, "imds") == 0)
        *out = KMS_TOKEN_IMDS;
    else if (strcmp(text, "app-service") == 0)
        *out = KMS_TOKEN_APP_SERVICE;
    else
        FAIL(e, ERR_CONFIG, "setting \"token-source\" takes imds or app-service, not \"%.100s\"",
             text);
    return RC_OK;
}

/* value: the text of each of key_settings, in that order. */
static RC make_azure(const char *const *value, struct key_provider **out, struct err *e)
{
    struct kms_azure_config c = { .key_url = value[0],
                                  .ca_file = value[1],
                                  .audience = value[2],
                                  .token_endpoint = value[4],
                                  .token_secret_file = value[5],
                                  .client_id = value[6] };
    TRY(token_source_of(value[3], &c.token_source, e));
    return kms_azure_new(&c, out, e);
}

RC provider_for_probe(struct process *p, struct key_provider **out, struct err *e)
{
    const char *value[ARRAY_LEN(key_settings)];
    for (size_t i = 0; i < ARRAY_LEN(key_settings); i++)
        value[i] = settings_str(p->set, key_settings[i]);
    return make_azure(value, out, e);
}

void provider_freep(struct key_provider **p)
{
    if (*p)
        (*p)->free(*p);
    *p = NULL;
}

/* ---- SMK mode ---------------------------------------------------------------------------------------------------- */

static RC service_root(struct process *p, struct key_provider **out, struct err *e)
{
    struct service_root_info info = { 0 };
    bool made = false;
    /* A root key that vanished must not be replaced by another: it could not open the envelope that is there. */
    if (!custody_exists(p->data_dir))
        TRY(service_root_ensure(p->root_key_path, &made, e));
    if (made)
        log_event(EV_ROOT_KEY_MADE, KV_STR("path", p->root_key_path));
    TRY(service_root_open(p->root_key_path, p->data_dir, out, &info, e));
    if (info.same_device)
        log_event(EV_ROOT_KEY_SAME_DEVICE, KV_STR("path", p->root_key_path));
    return RC_OK;
}

/* ---- CMK mode ---------------------------------------------------------------------------------------------------- */

static RC spawn_helper(struct process *p, struct key_provider **out, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct bw w;
    bw_init(&w, &text);
    for (size_t i = 0; i < ARRAY_LEN(key_settings); i++)
        bw_str(&w, settings_def(p->set, key_settings[i])->name,
               settings_str(p->set, key_settings[i]));
    bw_finish(&w);
    struct helper_config c = { .exe_fd = p->self_fd,
                               .argv0 = p->argv[0],
                               .config = buf_view(&text) };
    return helper_provider_new(&c, out, e);
}

RC provider_for_smk(struct process *p, struct key_provider **out, struct err *e)
{
    *out = NULL;
    return p->mode == KEY_MODE_CMK ? spawn_helper(p, out, e) : service_root(p, out, e);
}

/* ---- the helper's side ------------------------------------------------------------------------------------------- */

static const char *const key_setting_names[] = { "key-url",        "key-ca-file",
                                                 "key-audience",   "token-source",
                                                 "token-endpoint", "token-secret-file",
                                                 "client-id" };
_Static_assert(ARRAY_LEN(key_setting_names) == ARRAY_LEN(key_settings),
               "one name for each setting");

static RC make_from_config(struct slice config, void *arg, struct key_provider **out, struct err *e)
{
    struct arena *a = arg;
    struct bdoc d;
    const char *value[ARRAY_LEN(key_settings)];
    TRY(bdoc_validate(config.p, config.len, 2, &d, e));
    for (size_t i = 0; i < ARRAY_LEN(key_settings); i++) {
        struct bval v = bdoc_get(d, key_setting_names[i]);
        if (v.type != BT_STRING)
            FAIL(e, ERR_CONFIG, "the helper's configuration lacks \"%s\"", key_setting_names[i]);
        value[i] = arena_strndup(a, (const char *)bval_str(v).p, bval_str(v).len);
    }
    return make_azure(value, out, e);
}

static RC serve(struct arena *a, struct err *e)
{
    TRY(helper_harden(e));
    TRY(wipe_install_openssl(e));
    TRY(kms_init(/* wiping= */ true, e));
    TRY(secret_arena_init(HELPER_ARENA, e));
    TRY(crypto_init(e));
    return helper_serve(HELPER_FD, make_from_config, a, e);
}

int key_helper_main(void)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err e = { 0 };
    log_init(
        &(struct log_config){ .fd = 2, .min_level = LOG_WARN, .program = "cofferd-key-helper" });
    if (serve(a, &e).failed) {
        log_err(EV_START_FAILED, &e, NULL, 0);
        return 1;
    }
    return 0;
}
