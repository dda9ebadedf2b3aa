/* bootstrap.c - see bootstrap.h. */
#include "bootstrap.h"

#include <jansson.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault/vault.h"
#include "vault/vault_admin.h"

enum { DEFAULT_BITS = 3072, ITEM_MAX = 256, VAULTS_FILE_MAX = 1 << 20, VAULTS_FILE_DEPTH = 8 };

char *bootstrap_path(const struct settings *s, enum vault_setting which, const char *suffix)
{
    const char *set = settings_str(s, which);

    return *set ? mem_strdup(set) : mem_printf("%s%s", settings_str(s, VS_STATE_DIR), suffix);
}

/* "name:rest" of a list with commas between; false at its end. Spaces around an item are not kept. */
static RC next_item(const char **list, char name[ITEM_MAX], char rest[ITEM_MAX], bool *more,
                    struct err *e)
{
    const char *p = *list + strspn(*list, ", ");
    size_t len = strcspn(p, ",");

    *more = *p != 0;
    *list = p + len;
    while (len > 0 && p[len - 1] == ' ')
        len--;
    if (len >= ITEM_MAX)
        FAIL(e, ERR_CONFIG, "an item of a bootstrap list is too long");
    memcpy(name, p, len);
    name[len] = 0;
    char *colon = strchr(name, ':');
    rest[0] = 0;
    if (colon) {
        *colon = 0;
        memcpy(rest, colon + 1, strlen(colon + 1) + 1);
    }
    return RC_OK;
}

/* What the settings make is on record, like what anybody else changes; mostly there is nothing. before: vault_saves(). */
static void note(struct vault_service *v, uint64_t before, const char *operation, const char *vault,
                 const char *name, const char *more)
{
    static const struct err done = { 0 };
    struct vault_act act = {
        .operation = operation,
        .by = "start",
        .field = { { "vault", vault }, { "name", name }, { "role", more } },
        .n_fields = *more   ? 3
                    : *name ? 2
                            : 1,
    };

    if (vault_saves(v) != before)
        vault_act_end(v, &act, &done);
}

static RC put_vault(struct vault_service *v, const char *name, const json_t *settings,
                    struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    uint64_t before = vault_saves(v);

    kjson_dump(settings, &text);
    TRY(vault_put_vault(v, name, buf_view(&text), e));
    note(v, before, "VaultPut", name, "", "");
    return RC_OK;
}

static RC ensure_vault(struct vault_service *v, const char *name, struct err *e)
{
    uint64_t before = vault_saves(v);

    TRY(vault_ensure_vault(v, name, e));
    note(v, before, "VaultPut", name, "", "");
    return RC_OK;
}

static RC ensure_key(struct vault_service *v, const char *vault, const char *key, int bits,
                     struct err *e)
{
    uint64_t before = vault_saves(v);

    TRY(vault_ensure_key(v, vault, key, bits, e));
    note(v, before, "KeyCreate", vault, key, "");
    return RC_OK;
}

static RC ensure_identity(struct vault_service *v, const char *name, bool renew, struct buf *secret,
                          struct err *e)
{
    AUTO(buf_fini) struct buf place = BUF_INIT;
    struct err none = { 0 };
    bool there = !vault_principal_place(v, NULL, name, &place, &none).failed;
    uint64_t before = vault_saves(v);

    TRY(vault_ensure_identity(v, name, renew, secret, e));
    note(v, before, there ? "IdentityCredential" : "IdentityCreate", "", name, "");
    return RC_OK;
}

static RC grant(struct vault_service *v, const char *vault, const char *name, const char *role,
                struct err *e)
{
    uint64_t before = vault_saves(v);

    TRY(vault_grant(v, vault, name, role, e));
    note(v, before, "RoleAssign", vault, name, role);
    return RC_OK;
}

/* The vault of vault-name is the first one, whatever else the file lists: it answers where no vault is named. */
static RC make_vaults(const struct settings *s, struct vault_service *v, struct err *e)
{
    const char *first = settings_str(s, VS_VAULT_NAME), *name;
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(kjson_freep) json_t *all = NULL;
    json_t *one;

    if (!*settings_str(s, VS_VAULTS_FILE))
        return RC_OK;
    TRY(file_read(settings_str(s, VS_VAULTS_FILE), VAULTS_FILE_MAX, &text, e));
    TRY(kjson_load(buf_view(&text), VAULTS_FILE_DEPTH, &all, e));
    if ((one = json_object_get(all, first)))
        TRY(put_vault(v, first, one, e));
    else
        TRY(ensure_vault(v, first, e));
    json_object_foreach(all, name, one)
    {
        TRY(put_vault(v, name, one, e));
    }
    return RC_OK;
}

static RC make_vault(const struct settings *s, struct vault_service *v, struct err *e)
{
    return ensure_vault(v, settings_str(s, VS_VAULT_NAME), e);
}

static RC make_keys(const struct settings *s, struct vault_service *v, struct err *e)
{
    const char *list = settings_str(s, VS_BOOTSTRAP_KEYS);
    char name[ITEM_MAX] = "", bits_text[ITEM_MAX] = "";
    bool more;

    for (;;) {
        int64_t bits = DEFAULT_BITS;
        TRY(next_item(&list, name, bits_text, &more, e));
        if (!more)
            return RC_OK;
        if (*bits_text && !text_i64(slice_str(bits_text), &bits))
            FAIL(e, ERR_CONFIG, "\"%s\" is not a number of bits", bits_text);
        char *slash = strchr(name, '/');
        if (slash)
            *slash = 0;
        TRY(ensure_key(v, slash ? name : settings_str(s, VS_VAULT_NAME), slash ? slash + 1 : name,
                       (int)bits, e));
    }
}

char *bootstrap_credential_file(const struct settings *s, const char *place, const char *id)
{
    AUTO(mem_freep) char *dir = bootstrap_path(s, VS_CREDENTIAL_DIR, ".credentials");

    /* names have neither dots nor at signs in them */
    return mem_printf("%s/%s%s%s", dir, place, id ? "." : "", id ? id : "");
}

/* A credential whose file is gone is replaced: only its hash is kept. */
static RC make_identity(const struct settings *s, struct vault_service *v, const char *name,
                        char *role, struct err *e)
{
    AUTO(buf_wipe) struct buf secret = BUF_INIT;
    AUTO(mem_freep) char *file = bootstrap_credential_file(s, name, NULL);

    TRY(ensure_identity(v, name, /* renew= */ !path_exists(file), &secret, e));
    if (secret.len > 0)
        TRY(file_write_atomic(file, 0600, buf_view(&secret), e));
    if (!*role)
        FAIL(e, ERR_CONFIG, "\"%s\" has no role: write %s:ROLE", name, name);
    char *at = strchr(role, '@');
    if (at)
        *at = 0;
    return grant(v, at ? at + 1 : settings_str(s, VS_VAULT_NAME), name, role, e);
}

static RC make_identities(const struct settings *s, struct vault_service *v, struct err *e)
{
    AUTO(mem_freep) char *dir = bootstrap_path(s, VS_CREDENTIAL_DIR, ".credentials");
    const char *list = settings_str(s, VS_BOOTSTRAP_IDENTITIES);
    char name[ITEM_MAX] = "", role[ITEM_MAX] = "";
    bool more;

    for (;;) {
        TRY(next_item(&list, name, role, &more, e));
        if (!more)
            return RC_OK;
        TRY(dir_make(dir, 0700, e));
        TRY(make_identity(s, v, name, role, e));
    }
}

RC bootstrap_make(const struct settings *s, struct vault_service *v, struct err *e)
{
    static const struct {
        RC (*make)(const struct settings *s, struct vault_service *v, struct err *e);
        int setting;
    } steps[] = { { make_vaults, VS_VAULTS_FILE },
                  { make_vault, VS_VAULT_NAME },
                  { make_keys, VS_BOOTSTRAP_KEYS },
                  { make_identities, VS_BOOTSTRAP_IDENTITIES } };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (steps[i].make(s, v, e).failed) {
            err_wrap(e, "%s", settings_def(s, steps[i].setting)->name);
            return RC_FAILED;
        }
    return RC_OK;
}

/* The description of the service, with the files of this installation added. */
static RC write_facts(const struct settings *s, struct vault_service *v, const char *ca_file,
                      const char *path, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(kjson_freep) json_t *facts = NULL;
    const char *name;
    json_t *one;

    TRY(vault_describe(v, &text, e));
    TRY(kjson_load(buf_view(&text), KJSON_DEPTH_MAX, &facts, e));
    json_object_set_new(facts, "caFile", json_string(ca_file));
    json_object_foreach(json_object_get(facts, "identities"), name, one)
    {
        AUTO(mem_freep) char *file = bootstrap_credential_file(s, name, NULL);
        if (path_exists(file))
            json_object_set_new(one, "secretFile", json_string(file));
    }
    buf_clear(&text);
    kjson_dump(facts, &text);
    buf_push_u8(&text, '\n');
    return file_write_atomic(path, 0600, buf_view(&text), e);
}

RC bootstrap_tell(const struct settings *s, struct vault_service *v, struct err *e)
{
    AUTO(mem_freep) char *ca_file = bootstrap_path(s, VS_CA_FILE, ".ca.pem");
    const char *facts = settings_str(s, VS_FACTS_FILE), *port_file = settings_str(s, VS_PORT_FILE);

    TRY(file_write_atomic(ca_file, 0644, vault_ca_pem(v), e));
    if (*facts)
        TRY(write_facts(s, v, ca_file, facts, e));
    if (*port_file) {
        AUTO(buf_fini) struct buf text = BUF_INIT;
        buf_printf(&text, "%u\n", vault_port(v));
        TRY(file_write_atomic(port_file, 0644, buf_view(&text), e));
    }
    return RC_OK;
}
