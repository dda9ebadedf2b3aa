/* spill.c - unnamed temporary files of sorts and groups that do not fit their memory budget.
 *
 * The file has no name (O_TMPFILE in the data directory), so nothing is left after a crash. Its key comes from a random key that lives as long as the store is open, a salt of its
 * own and its operation id, and is known to nobody afterwards. Chunks of CHUNK bytes, nonce = index, AAD = operation id (8), index (8), 1 for the last.
 * An index is sealed once: writing ends with the rewind.
 */
#include "spill_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/label.h"
#include "store_priv.h"

enum { CHUNK = 64 << 10, STORED = CHUNK + AEAD_TAG_LEN, AAD_LEN = 17 };
#define MAX_CHUNKS (UINT64_C(1) << 32)

struct store_spill {
    int fd;
    struct aead_key *key;
    uint64_t operation;
    uint64_t chunks;  /* sealed so far */
    uint64_t next;    /* reading: the next chunk */
    struct buf plain; /* writing: not sealed yet; reading: the chunk at hand */
    size_t at;        /* reading: consumed of it */
    struct buf stored;
    bool reading, broken;
};

static _Atomic uint64_t operations;

RC store__spill_key_new(struct secret **out, struct err *e)
{
    return secret_random(AEAD_KEY_LEN, out, e);
}

static RC spill_key(const struct secret *process_key, uint64_t operation, struct aead_key **out,
                    struct err *e)
{
    AUTO(secret_freep) struct secret *key = NULL;
    uint8_t salt[STORE__SALT_LEN], info[10 + 2 + 8] = "cofferdb/1";

    TRY(random_bytes(salt, sizeof(salt), e));
    put_be16(info + 10, LABEL_SPILL);
    put_be64(info + 12, operation);
    TRY(hkdf_sha256(process_key, SLICE(salt, sizeof(salt)), SLICE(info, sizeof(info)), AEAD_KEY_LEN,
                    &key, e));
    return aead_key_new(key, out, e);
}

RC store__spill_open(const char *dir, const struct secret *process_key, struct store_spill **out,
                     struct err *e)
{
    struct store_spill *s = NEW(struct store_spill);
    int sys = fault_hit("fs.create.spill");

    *out = NULL;
    s->operation = atomic_fetch_add(&operations, 1) + 1;
    s->fd = sys ? -1 : open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        rc_t rc = file_err(e, sys ? sys : errno, "create a temporary file in", dir);
        store_spill_free(s);
        return rc;
    }
    if (spill_key(process_key, s->operation, &s->key, e).failed) {
        store_spill_free(s);
        return RC_FAILED;
    }
    *out = s;
    return RC_OK;
}

static void place(const struct store_spill *s, uint64_t index, bool last,
                  uint8_t nonce[AEAD_NONCE_LEN], uint8_t aad[AAD_LEN])
{
    put_be32(nonce, 0);
    put_be64(nonce + 4, index);
    put_be64(aad, s->operation);
    put_be64(aad + 8, index);
    aad[16] = last ? 1 : 0;
}

static RC seal(struct store_spill *s, size_t len, bool last, struct err *e)
{
    uint8_t nonce[AEAD_NONCE_LEN], aad[AAD_LEN], *to;
    int sys = fault_hit("fs.append.spill");

    s->broken = true; /* until it is written */
    if (s->chunks >= MAX_CHUNKS)
        FAIL(e, ERR_IO, "a temporary file is too large for one key");
    place(s, s->chunks++, last, nonce, aad);
    buf_clear(&s->stored);
    to = buf_extend(&s->stored, len + AEAD_TAG_LEN);
    TRY(aead_seal(s->key,
                  &(struct aead_seal){ .nonce = nonce,
                                       .aad = SLICE(aad, sizeof(aad)),
                                       .plain = SLICE(s->plain.p, len),
                                       .out = to,
                                       .tag = to + len },
                  e));
    if (sys)
        return file_err(e, sys, "write", "temporary file");
    TRY(file_write_fd(s->fd, buf_view(&s->stored), e));
    if (len)
        memmove(s->plain.p, s->plain.p + len, s->plain.len - len);
    s->plain.len -= len;
    s->broken = false;
    return RC_OK;
}

RC store_spill_write(struct store_spill *s, struct slice bytes, struct err *e)
{
    if (s->reading || s->broken)
        FAIL(e, ERR_IO, "a temporary file cannot be written any more");
    while (bytes.len > 0) {
        size_t n = MIN(bytes.len, (size_t)CHUNK + 1 - s->plain.len);

        buf_push(&s->plain, bytes.p, n);
        bytes = SLICE(bytes.p + n, bytes.len - n);
        if (s->plain.len > CHUNK) /* more follows the full chunk, so it is not the last */
            TRY(seal(s, CHUNK, false, e));
    }
    return RC_OK;
}

RC store_spill_rewind(struct store_spill *s, struct err *e)
{
    if (s->broken)
        FAIL(e, ERR_IO, "a temporary file could not be written before");
    if (!s->reading)
        TRY(seal(s, s->plain.len, true, e));
    s->reading = true;
    s->next = 0;
    s->at = 0;
    buf_clear(&s->plain);
    return RC_OK;
}

static RC load(struct store_spill *s, struct err *e)
{
    uint8_t nonce[AEAD_NONCE_LEN], aad[AAD_LEN];
    size_t got, len;
    bool last = s->next + 1 == s->chunks;

    buf_clear(&s->stored);
    TRY(store__io_pread(s->fd, "temporary file", STORE__ROLE_NR, s->next * STORED,
                        buf_extend(&s->stored, STORED), STORED, &got, e));
    if (got < AEAD_TAG_LEN || (!last && got != STORED))
        FAIL(e, ERR_CORRUPT, "a temporary file became shorter");
    len = got - AEAD_TAG_LEN;
    place(s, s->next, last, nonce, aad);
    buf_clear(&s->plain);
    s->at = 0;
    if (aead_open(s->key,
                  &(struct aead_open){ .nonce = nonce,
                                       .aad = SLICE(aad, sizeof(aad)),
                                       .cipher = SLICE(s->stored.p, len),
                                       .tag = s->stored.p + len,
                                       .out = buf_extend(&s->plain, len) },
                  e)
            .failed) {
        buf_clear(&s->plain);
        return RC_FAILED;
    }
    s->next++;
    return RC_OK;
}

RC store_spill_read(struct store_spill *s, void *out, size_t len, size_t *got, struct err *e)
{
    *got = 0;
    if (!s->reading)
        FAIL(e, ERR_INTERNAL, "a temporary file is read before its writing ended");
    while (*got < len) {
        size_t n = MIN(len - *got, s->plain.len - s->at);

        if (n) {
            memcpy((uint8_t *)out + *got, s->plain.p + s->at, n);
            s->at += n;
            *got += n;
        } else if (s->next == s->chunks) {
            break;
        } else {
            TRY(load(s, e));
        }
    }
    return RC_OK;
}

void store_spill_free(struct store_spill *s)
{
    if (!s)
        return;
    fd_close(s->fd);
    aead_key_free(s->key);
    buf_wipe(&s->plain);
    buf_fini(&s->stored);
    mem_free(s);
}
