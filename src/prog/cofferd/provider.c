/* provider.c - see provider.h.
 *
 * The helper gets what it needs of the settings as one BSON document over its socket, not on a command line or in its environment. It reads the token
 * endpoint's secret from the file itself.
 */
#include "provider.h"

#include <stddef.h>
#include <string.h>

#include "alias.h"
#include "base/log.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "keys/helper.h"
#include "keys/service_root.h"
#include "kms/kms.h"

/* Where each value goes, in the order of enum keyconf_field. */
static void put_field(struct kms_config *c, int f, const char *value)
{
    static const size_t at[KEYCONF_NR] = {
#define FIELD(set, field) [KEYCONF_##set] = offsetof(struct kms_config, field),
        KMS_CONFIG(FIELD)
#undef FIELD
    };
    memcpy((char *)c + at[f], &value, sizeof(value));
}

/* Whatever provider c names, it may have to know the key's version under another name. */
static void translate(const struct keyconf *c, struct key_provider **p)
{
    if (*c->alias_from)
        *p = alias_provider_new(*p, c->alias_from, c->alias_to);
}

static RC spawn_helper(struct process *p, const struct keyconf *conf, struct key_provider **out,
                       struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct bw w;
    bw_init(&w, &text);
    for (int f = 0; f < KEYCONF_NR; f++)
        bw_str(&w, keyconf_name((enum keyconf_field)f), conf->value[f]);
    bw_finish(&w);
    struct helper_config c = { .exe_fd = p->self_fd,
                               .argv0 = p->argv[0],
                               .config = buf_view(&text) };
    TRY(helper_provider_new(&c, out, e));
    translate(conf, out);
    return RC_OK;
}

RC provider_for_probe(struct process *p, const struct keyconf *c, struct key_provider **out,
                      struct err *e)
{
    struct kms_config config;
    *out = NULL;
    if (kms_needs_process(c->value[KEYCONF_KEY_URL]))
        return spawn_helper(p, c, out, e);
    for (int f = 0; f < KEYCONF_NR; f++)
        put_field(&config, f, c->value[f]);
    TRY(kms_provider_new(&config, out, e));
    translate(c, out);
    return RC_OK;
}

void provider_freep(struct key_provider **p)
{
    if (*p)
        (*p)->free(*p);
    *p = NULL;
}

/* ---- SMK mode ---------------------------------------------------------------------------------------------------- */

static RC service_root(struct process *p, bool make, struct key_provider **out, struct err *e)
{
    struct service_root_info info = { 0 };
    bool made = false;
    if (make)
        TRY(service_root_ensure(p->root_key_path, &made, e));
    if (made)
        log_event(EV_ROOT_KEY_MADE, KV_STR("path", p->root_key_path));
    TRY(service_root_open(p->root_key_path, p->data_dir, out, &info, e));
    if (info.same_device)
        log_event(EV_ROOT_KEY_SAME_DEVICE, KV_STR("path", p->root_key_path));
    return RC_OK;
}

RC provider_for_smk(struct process *p, const struct keyconf *c, bool make_root,
                    struct key_provider **out, struct err *e)
{
    *out = NULL;
    return c->mode == KEY_MODE_CMK ? spawn_helper(p, c, out, e)
                                   : service_root(p, make_root, out, e);
}

/* ---- the helper's side ------------------------------------------------------------------------------------------- */

static RC make_from_config(struct slice config, void *arg, struct key_provider **out, struct err *e)
{
    struct arena *a = arg;
    struct bdoc d;
    struct kms_config c;
    TRY(bdoc_validate(config.p, config.len, 2, &d, e));
    for (int f = 0; f < KEYCONF_NR; f++) {
        const char *name = keyconf_name((enum keyconf_field)f);
        struct bval v = bdoc_get(d, name);
        if (v.type != BT_STRING)
            FAIL(e, ERR_CONFIG, "the helper's configuration lacks \"%s\"", name);
        put_field(&c, f, arena_strndup(a, (const char *)bval_str(v).p, bval_str(v).len));
    }
    return kms_provider_new(&c, out, e);
}

int key_helper_main(void)
{
    return kms_helper_main("cofferd-key-helper", make_from_config);
}
