/* envelope_file.c - the envelope's two copies and its pin.
 *
 * A write replaces copy 1, then copy 2, then the pin, each atomically and durably. Whatever stops it in between, reading finds:
 *
 *      copy 1   copy 2   pin
 *        n        n       n     before
 *       n+1       n       n     copy 1 counts; copy 2 is repaired, the pin moved on
 *       n+1      n+1      n     the pin is moved on
 *       n+1      n+1     n+1    after
 *
 * A damaged copy (its digest does not match) is passed over. An undamaged one that turns out to be forged is never passed over:
 * falling back from it would let an attacker choose the older state.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "keys_priv.h"

static const char *const copy_name[ENV_COPIES] = { "envelope.1", "envelope.2" };

static char *copy_path(const char *dir, int i)
{
    return mem_printf("%s/%s", dir, copy_name[i]);
}

void env_loaded_fini(struct env_loaded *l)
{
    envelope_freep(&l->env);
    buf_fini(&l->bytes);
}

bool env_files_exist(const char *dir)
{
    bool there = false;

    for (int i = 0; i < ENV_COPIES; i++) {
        AUTO(mem_freep) char *path = copy_path(dir, i);

        there = there || path_exists(path);
    }
    return there;
}

/* read_copy(): one copy, decoded. Not following a symbolic link: the envelope is a file of this directory or nothing. */
static RC read_copy(const char *dir, int i, struct buf *bytes, struct envelope **env, struct err *e)
{
    AUTO(mem_freep) char *path = copy_path(dir, i);
    char target[8];

    if (readlink(path, target, sizeof(target)) >= 0)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "\"%s\" is a symbolic link", path);
    if (file_read(path, ENV_FILE_MAX, bytes, e).failed ||
        envelope_decode(buf_view(bytes), env, e).failed) {
        err_wrap(e, "%s", copy_name[i]);
        return RC_FAILED;
    }
    return RC_OK;
}

static int newer_of(struct envelope *env[ENV_COPIES])
{
    if (!env[0] || !env[1])
        return env[0] ? 0 : 1;
    return env[1]->sequence > env[0]->sequence ? 1 : 0;
}

/* is_kept_back(): the system did not let it be read (permissions, a failing disk): nobody knows whether it is damaged, and it is no reason to restore. */
static bool is_kept_back(const struct err *why)
{
    return why->code == ERR_IO && why->sys != 0;
}

RC env_files_load(const char *dir, struct env_loaded *out, struct err *e)
{
    struct envelope *env[ENV_COPIES] = { NULL, NULL };
    struct buf bytes[ENV_COPIES] = { BUF_INIT, BUF_INIT };
    struct err why[ENV_COPIES] = { { 0 }, { 0 } };
    rc_t rc = RC_OK;
    int best;

    memset(out, 0, sizeof(*out));
    for (int i = 0; i < ENV_COPIES; i++)
        if (read_copy(dir, i, &bytes[i], &env[i], &why[i]).failed && why[i].code == ERR_CRYPTO)
            rc = err_set(e, ERR_CRYPTO, __FILE__, __LINE__, "%s", why[i].msg);
    best = newer_of(env);
    if (!rc.failed && !env[best] && (is_kept_back(&why[0]) || is_kept_back(&why[1])))
        rc = err_set(e, ERR_IO, __FILE__, __LINE__, "%s", why[is_kept_back(&why[0]) ? 0 : 1].msg);
    if (!rc.failed && !env[best]) {
        bool unknown = why[0].code == ERR_UNKNOWN_FORMAT || why[1].code == ERR_UNKNOWN_FORMAT;
        int told = why[0].code == ERR_UNKNOWN_FORMAT || why[1].code != ERR_UNKNOWN_FORMAT ? 0 : 1;

        rc = err_set(e, unknown ? ERR_UNKNOWN_FORMAT : ERR_ENVELOPE_CORRUPT, __FILE__, __LINE__,
                     "%s", why[told].msg);
        if (e)
            err_detail(e, "%s; %s", why[0].msg, why[1].msg);
    }
    if (!rc.failed) {
        for (int i = 0; i < ENV_COPIES; i++)
            out->good[i] = slice_eq(buf_view(&bytes[i]), buf_view(&bytes[best]));
        out->env = TAKE(env[best]);
        out->bytes = bytes[best];
        bytes[best] = BUF_INIT;
    }
    for (int i = 0; i < ENV_COPIES; i++) {
        envelope_free(env[i]);
        buf_fini(&bytes[i]);
    }
    return rc;
}

static RC write_copy(const char *dir, int i, struct slice bytes, struct err *e)
{
    AUTO(mem_freep) char *path = copy_path(dir, i);

    return file_write_atomic(path, 0600, bytes, e);
}

RC env_files_write(const char *dir, struct slice bytes, int *written, struct err *e)
{
    *written = 0;
    for (int i = 0; i < ENV_COPIES; i++) {
        TRY(write_copy(dir, i, bytes, e));
        ++*written;
        if (fault_hit(i == 0 ? "envelope.after-copy-1" : "envelope.after-copy-2"))
            FAIL(e, ERR_IO, "could not go on writing the envelope");
    }
    return RC_OK;
}

bool env_files_hold(const char *dir, struct slice bytes)
{
    for (int i = 0; i < ENV_COPIES; i++) {
        AUTO(mem_freep) char *path = copy_path(dir, i);
        AUTO(buf_fini) struct buf there = BUF_INIT;
        struct err ignored = { 0 };

        if (file_read(path, ENV_FILE_MAX, &there, &ignored).failed ||
            !slice_eq(buf_view(&there), bytes))
            return false;
    }
    return true;
}

RC env_files_repair(const char *dir, const struct env_loaded *l, struct err *e)
{
    for (int i = 0; i < ENV_COPIES; i++)
        if (!l->good[i])
            TRY(write_copy(dir, i, buf_view(&l->bytes), e));
    return RC_OK;
}

/* The pin.
 *   off  size
 *     0     8  magic "COFERPIN"
 *     8     2  format, 1
 *    10     2  zero
 *    12     8  sequence of the envelope; 0 while it is being made
 *    20    16  lineage
 *    36    32  commitment of generation 1
 *    68     4  the generation that was current
 *    72    32  its commitment
 *   104    32  SHA-256 of all before */
enum { PIN_LEN = 136, PIN_BODY = 104, PIN_FORMAT = 1 };
static const char pin_magic[8] = "COFERPIN"; /* no NUL */

void pin_encode(const struct env_pin *p, struct buf *out)
{
    uint8_t digest[SHA256_LEN];
    struct err e = { 0 };

    buf_clear(out);
    buf_push(out, pin_magic, sizeof(pin_magic));
    buf_push_be16(out, PIN_FORMAT);
    buf_push_be16(out, 0);
    buf_push_be64(out, p->sequence);
    buf_push(out, p->lineage, LINEAGE_LEN);
    buf_push(out, p->first_commitment, COMMITMENT_LEN);
    buf_push_be32(out, p->gen);
    buf_push(out, p->commitment, COMMITMENT_LEN);
    INVARIANT(out->len == PIN_BODY);
    INVARIANT(!sha256(&SLICE(out->p, out->len), 1, digest, &e).failed);
    buf_push(out, digest, sizeof(digest));
}

RC pin_decode(struct slice bytes, struct env_pin *out, struct err *e)
{
    const uint8_t *p = bytes.p;
    uint8_t digest[SHA256_LEN];

    memset(out, 0, sizeof(*out));
    if (bytes.len != PIN_LEN || memcmp(p, pin_magic, sizeof(pin_magic)) != 0)
        FAIL(e, ERR_PIN_MISSING, "the pin is damaged");
    TRY(sha256(&SLICE(p, PIN_BODY), 1, digest, e));
    if (!ct_equal(digest, p + PIN_BODY, sizeof(digest)))
        FAIL(e, ERR_PIN_MISSING, "the pin is damaged");
    if (get_be16(p + 8) != PIN_FORMAT || get_be16(p + 10) != 0)
        FAIL(e, ERR_UNKNOWN_FORMAT, "the pin has format %u, this program knows %d", get_be16(p + 8),
             PIN_FORMAT);
    out->sequence = get_be64(p + 12);
    memcpy(out->lineage, p + 20, LINEAGE_LEN);
    memcpy(out->first_commitment, p + 36, COMMITMENT_LEN);
    out->gen = get_be32(p + 68);
    memcpy(out->commitment, p + 72, COMMITMENT_LEN);
    return RC_OK;
}

RC pin_read(const char *path, struct env_pin *out, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct err why = { 0 };

    memset(out, 0, sizeof(*out));
    if (!path_exists(path))
        FAIL(e, ERR_PIN_MISSING, "the pin \"%s\" is not there", path);
    /* kept back, it says nothing: adopt does not overrule it */
    if (file_read(path, PIN_LEN, &bytes, &why).failed)
        FAIL(e, is_kept_back(&why) ? ERR_IO : ERR_PIN_MISSING, "the pin cannot be read: %s",
             why.msg);
    return pin_decode(buf_view(&bytes), out, e);
}

RC pin_write(const char *path, const struct env_pin *p, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;

    pin_encode(p, &bytes);
    return file_write_atomic(path, 0600, buf_view(&bytes), e);
}

void pin_of(const struct envelope *env, struct env_pin *out)
{
    const struct env_gen *cur = envelope_gen(env, env->current);

    INVARIANT(cur != NULL);
    memset(out, 0, sizeof(*out));
    out->sequence = env->sequence;
    memcpy(out->lineage, env->lineage, LINEAGE_LEN);
    memcpy(out->first_commitment, env->first_commitment, COMMITMENT_LEN);
    out->gen = env->current;
    memcpy(out->commitment, cur->commitment, COMMITMENT_LEN);
}

/* The generation that was current at the pin's time is live still: it cannot be retired before another is current, and the pin is written
 * after each of these steps. So there is always a generation that only this cluster can have, and its MAC is required. */
RC pin_check(const struct env_pin *p, const struct envelope *env, struct err *e)
{
    const struct env_gen *g = envelope_gen(env, p->gen);

    if (memcmp(p->lineage, env->lineage, LINEAGE_LEN) != 0)
        FAIL(e, ERR_ENVELOPE_FOREIGN, "the envelope is of another cluster than the pin");
    if (memcmp(p->first_commitment, env->first_commitment, COMMITMENT_LEN) != 0)
        FAIL(e, ERR_ENVELOPE_FORGED,
             "the envelope's first key is not the one that the pin remembers");
    if (env->sequence < p->sequence)
        FAIL(e, ERR_ENVELOPE_STALE, "the envelope has sequence %llu, the pin remembers %llu",
             (unsigned long long)env->sequence, (unsigned long long)p->sequence);
    if (!g || g->state != GEN_LIVE || memcmp(p->commitment, g->commitment, COMMITMENT_LEN) != 0)
        FAIL(e, ERR_ENVELOPE_FORGED,
             "the envelope lacks the key that the pin remembers as current");
    return RC_OK;
}
