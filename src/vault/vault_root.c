/* vault_root.c - where the root key comes from: 32 bytes, under which all else is sealed.
 *
 *   file        root-key-file: made at the first start, the owner's alone
 *   credential  what the service manager passes to the process (systemd.exec(5), LoadCredential=, LoadCredentialEncrypted=): kept encrypted by the machine's
 *               TPM or key, in the clear only in a memory file system that this one service sees. Never made here
 *   token       a key of a PKCS #11 token wraps it; the wrapped form lies beside the state (vault_root_wrapped.c)
 *
 * Another source is a row of the table: it hands out the key as a secret, and says whether the configuration asks for it.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "vault_priv.h"

struct root_source {
    bool (*is_asked_for)(const struct vault_config *c);
    /* may_create: nothing has been sealed under an earlier one. */
    RC (*open)(struct vault_service *s, const struct vault_config *c, bool may_create,
               struct secret **out, struct err *e);
};

static RC make_dir_of(const char *path, struct err *e)
{
    AUTO(mem_freep) char *dir = mem_strdup(path);
    char *slash = strrchr(dir, '/');

    if (!slash || slash == dir)
        return RC_OK;
    *slash = 0;
    return dir_make(dir, 0700, e);
}

RC vault__root_read(const char *path, const char *what, mode_t forbidden, struct secret **out,
                    struct err *e)
{
    AUTO(buf_wipe) struct buf b = BUF_INIT;
    struct stat st;

    if (stat(path, &st) != 0)
        return file_err(e, errno, "examine", path);
    if (st.st_mode & forbidden)
        FAIL(e, ERR_CONFIG, "%s \"%s\" is open to other users: its mode must be 0600", what, path);
    if (st.st_uid != geteuid() && st.st_uid != 0 && geteuid() != 0)
        FAIL(e, ERR_CONFIG, "%s \"%s\" belongs to another user", what, path);
    buf_reserve(&b, ROOT_LEN + 1);
    /* one byte more than there may be is ours to refuse, in the same words */
    if (st.st_size == ROOT_LEN)
        TRY(file_read(path, ROOT_LEN, &b, e));
    if (b.len != ROOT_LEN)
        FAIL(e, ERR_CONFIG, "%s \"%s\" does not hold %d bytes", what, path, ROOT_LEN);
    return secret_from(b.p, b.len, out, e);
}

/* ---- a file ---- */

static bool file_is_asked_for(const struct vault_config *c)
{
    return !c->root_provider && (!c->root_credential || !*c->root_credential);
}

static RC file_open(struct vault_service *s, const struct vault_config *c, bool may_create,
                    struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *root = NULL;
    const char *path = c->root_key_file;

    (void)s;
    if (path_exists(path))
        return vault__root_read(path, "the root key file", 077, out, e);
    if (!may_create)
        FAIL(e, ERR_NOT_FOUND,
             "the root key file \"%s\" is gone: without it the vault cannot be opened", path);
    TRY(secret_random(ROOT_LEN, &root, e));
    TRY(make_dir_of(path, e));
    TRY(file_write_atomic(path, 0600, SLICE(secret_view(root), ROOT_LEN), e));
    *out = TAKE(root);
    return RC_OK;
}

/* ---- a credential of the service manager ---- */

static bool credential_is_asked_for(const struct vault_config *c)
{
    return c->root_credential && *c->root_credential;
}

static RC credential_open(struct vault_service *s, const struct vault_config *c, bool may_create,
                          struct secret **out, struct err *e)
{
    (void)s;
    (void)may_create; /* the service manager's to make */
    if (!path_exists(c->root_credential))
        FAIL(
            e, ERR_NOT_FOUND,
            "the service manager passed no credential \"%s\": without the root key in it the vault "
            "cannot be opened",
            c->root_credential);
    /* where the manager gives access by an ACL, the group's bits are its mask, not a group's */
    return vault__root_read(c->root_credential, "the credential", 037, out, e);
}

/* ---- a token's key ---- */

static bool token_is_asked_for(const struct vault_config *c)
{
    return c->root_provider != NULL;
}

static const struct root_source sources[] = {
    { token_is_asked_for, vault__wrapped_open },
    { credential_is_asked_for, credential_open },
    { file_is_asked_for, file_open },
};

static bool is_under(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0);
}

RC vault__root_open(struct vault_service *s, const struct vault_config *c, bool may_create,
                    struct err *e)
{
    if (file_is_asked_for(c) && is_under(c->root_key_file, c->state_dir))
        FAIL(
            e, ERR_CONFIG,
            "the root key file must not lie in the vault's directory: who copies one would have both");
    if (is_under(s->pin_file, c->state_dir))
        FAIL(
            e, ERR_CONFIG,
            "the pin must not lie in the vault's directory: who puts an old one back would put both");
    TRY(make_dir_of(s->pin_file, e));
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (sources[i].is_asked_for(c))
            return sources[i].open(s, c, may_create, &s->root, e);
    FAIL(e, ERR_CONFIG, "no setting says where the root key comes from");
}

RC vault__root_settle(struct vault_service *s, const struct vault_config *c, struct err *e)
{
    return token_is_asked_for(c) ? vault__wrapped_settle(s, c, e) : RC_OK;
}
