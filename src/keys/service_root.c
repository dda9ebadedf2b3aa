/* service_root.c - the provider of SMK mode: AES-256-KWP under a key derived from a local root.
 *
 * A wrapped key is salt(16) || KWP(HKDF(root, salt), plain). The root itself is used for derivation only.
 */
#include "keys/service_root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/keywrap.h"
#include "crypto/secret.h"
#include "keys/keyring.h"

enum { SALT_LEN = 16, ID_LEN = 8 };

static const char alg_name[] = "A256KWP";

struct service_root {
    struct key_provider p;
    struct secret *root; /* owned */
    char version[2 * ID_LEN + 1];
};

static struct service_root *of(struct key_provider *p)
{
    return CONTAINER_OF(p, struct service_root, p);
}

static RC parent_dir(const char *path, char **out, struct err *e)
{
    const char *slash = strrchr(path, '/');

    *out = NULL;
    if (!slash || slash == path || slash[1] == '\0')
        FAIL(e, ERR_CONFIG,
             "the service root key's path \"%s\" must name a file in a directory of its own", path);
    *out = mem_strndup(path, (size_t)(slash - path));
    return RC_OK;
}

RC service_root_ensure(const char *path, bool *made, struct err *e)
{
    AUTO(mem_freep) char *dir = NULL;
    AUTO(secret_freep) struct secret *root = NULL;

    *made = false;
    if (path_exists(path))
        return RC_OK;
    TRY(parent_dir(path, &dir, e));
    TRY(dir_make(dir, 0700, e));
    TRY(secret_random(SERVICE_ROOT_LEN, &root, e));
    TRY(file_write_atomic(path, 0600, SLICE(secret_view(root), SERVICE_ROOT_LEN), e));
    *made = true;
    return RC_OK;
}

/* is_inside(): whether path lies under dir, both made absolute. */
static bool is_inside(const char *path, const char *dir)
{
    char p[PATH_MAX], d[PATH_MAX];
    size_t len;

    if (!realpath(path, p) || !realpath(dir, d))
        return false;
    len = strlen(d);
    return strncmp(p, d, len) == 0 && (p[len] == '/' || (len == 1 && d[0] == '/'));
}

/* read_root(): the file's conditions are checked on the open descriptor, so that what was checked is what is read. */
static RC read_root(const char *path, struct secret **out, struct err *e)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    AUTO(secret_freep) struct secret *root = NULL;
    struct stat st;
    ssize_t n;

    *out = NULL;
    if (fd < 0 && errno == ELOOP)
        FAIL(e, ERR_CONFIG, "the service root key \"%s\" is a symbolic link", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return file_err(e, errno, "open", path);
    if (!S_ISREG(st.st_mode))
        FAIL(e, ERR_CONFIG, "the service root key \"%s\" is not a regular file", path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        FAIL(e, ERR_CONFIG, "the service root key \"%s\" is open to group or others: chmod 600",
             path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        FAIL(e, ERR_CONFIG, "the service root key \"%s\" belongs to another user", path);
    if (st.st_size != SERVICE_ROOT_LEN)
        FAIL(e, ERR_CONFIG, "the service root key \"%s\" has not %d bytes", path, SERVICE_ROOT_LEN);
    TRY(secret_new(SERVICE_ROOT_LEN, &root, e));
    /* straight into the arena */
    n = fault_hit("service-root.read") ? -1 : read(fd, secret_bytes(root), SERVICE_ROOT_LEN);
    if (n != SERVICE_ROOT_LEN)
        return file_err(e, n < 0 ? EIO : EINVAL, "read", path);
    *out = TAKE(root);
    return RC_OK;
}

static RC sr_get_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                     struct key_info *out, struct err *e)
{
    struct service_root *s = of(p);

    (void)deadline_us;
    memset(out, 0, sizeof(*out));
    if (version && strcmp(version, s->version) != 0)
        FAIL(e, ERR_WRONG_KEY, "the service root key is %s, not %s", s->version, version);
    memcpy(out->version, s->version, sizeof(s->version));
    memcpy(out->kid, s->version, sizeof(s->version));
    memcpy(out->kty, "oct", 4);
    out->bits = SERVICE_ROOT_LEN * 8;
    out->enabled = out->can_wrap = out->can_unwrap = true;
    out->server_date_s = clock_real_s();
    out->grace_ms = -1;
    return RC_OK;
}

static RC wrapping_key(const struct service_root *s, const uint8_t *salt, struct secret **out,
                       struct err *e)
{
    return key_derive(s->root, LABEL_SERVICE_ROOT, SLICE(salt, SALT_LEN), SLICE_LIT("wrap"), out,
                      e);
}

static RC sr_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                  uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct service_root *s = of(p);
    AUTO(secret_freep) struct secret *kek = NULL;
    size_t len = keywrap_len(secret_len(plain));

    (void)deadline_us;
    memset(out, 0, sizeof(*out));
    if (version && strcmp(version, s->version) != 0)
        FAIL(e, ERR_WRONG_KEY, "the service root key is %s, not %s", s->version, version);
    if (len > WRAP_MAX - SALT_LEN)
        FAIL(e, ERR_CRYPTO, "a key of %zu bytes is too long to wrap", secret_len(plain));
    TRY(random_bytes(out->bytes, SALT_LEN, e));
    TRY(wrapping_key(s, out->bytes, &kek, e));
    TRY(keywrap_wrap(kek, plain, out->bytes + SALT_LEN, e));
    memcpy(out->version, s->version, sizeof(s->version));
    memcpy(out->alg, alg_name, sizeof(alg_name));
    out->len = (uint32_t)(SALT_LEN + len);
    return RC_OK;
}

static RC sr_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                    uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct service_root *s = of(p);
    AUTO(secret_freep) struct secret *kek = NULL;
    struct err why = { 0 };

    (void)deadline_us;
    (void)fresh;
    *out = NULL;
    if (strcmp(w->version, s->version) != 0)
        FAIL(e, ERR_WRONG_KEY, "this was wrapped by service root key %s, the one at hand is %s",
             w->version, s->version);
    if (strcmp(w->alg, alg_name) != 0 || w->len <= SALT_LEN || w->len > WRAP_MAX)
        FAIL(e, ERR_ENVELOPE_FORGED,
             "a wrapped key is not of the kind that the service root key makes");
    TRY(wrapping_key(s, w->bytes, &kek, e));
    if (!keywrap_unwrap(kek, SLICE(w->bytes + SALT_LEN, w->len - SALT_LEN), out, &why).failed)
        return RC_OK;
    if (why.code == ERR_CORRUPT)
        FAIL(e, ERR_ENVELOPE_FORGED,
             "a wrapped key names this service root key, which did not wrap it");
    return err_take(e, &why);
}

static void sr_free(struct key_provider *p)
{
    struct service_root *s;

    if (!p)
        return;
    s = of(p);
    secret_free(s->root);
    mem_free(s);
}

RC service_root_open(const char *path, const char *data_dir, struct key_provider **out,
                     struct service_root_info *info, struct err *e)
{
    AUTO(secret_freep) struct secret *root = NULL, *id = NULL;
    AUTO(buf_fini) struct buf hex = BUF_INIT;
    struct service_root *s;

    *out = NULL;
    memset(info, 0, sizeof(*info));
    if (is_inside(path, data_dir))
        FAIL(e, ERR_CONFIG,
             "the service root key \"%s\" lies inside the data directory, which it protects", path);
    TRY(read_root(path, &root, e));
    TRY(key_derive(root, LABEL_SERVICE_ROOT, SLICE_EMPTY, SLICE_LIT("id"), &id, e));
    hex_encode(SLICE(secret_view(id), ID_LEN), &hex);
    info->same_device = path_same_device(path, data_dir);
    s = NEW(struct service_root);
    s->p = (struct key_provider){ .name = "service-root",
                                  .get_key = sr_get_key,
                                  .wrap = sr_wrap,
                                  .unwrap = sr_unwrap,
                                  .free = sr_free };
    s->root = TAKE(root);
    memcpy(s->version, hex.p, 2 * ID_LEN);
    *out = &s->p;
    return RC_OK;
}
