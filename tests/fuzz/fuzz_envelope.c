/* fuzz: links keys crypto */
/* The files of the key hierarchy, as read from a disk that anyone may have written to, and what a hostile parent might say to an unwrap
 * helper. The first byte chooses. Digests are made right, so that the fuzzer gets behind them. An envelope that is
 * accepted must be canonical: its fields, written again, give the same bytes. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/helper.h"
#include "keys/inspect.h"
#include "keys/outside.h"
#include "keys/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void with_digest(struct slice in, struct buf *out)
{
    uint8_t digest[SHA256_LEN];
    struct err e = { 0 };

    buf_push(out, in.p, in.len);
    if (in.len < SHA256_LEN)
        return;
    INVARIANT(!sha256(&SLICE(in.p, in.len - SHA256_LEN), 1, digest, &e).failed);
    memcpy(out->p + in.len - SHA256_LEN, digest, SHA256_LEN);
}

static void envelope(struct slice in)
{
    struct custody_status st;
    struct err e = { 0 };

    if (!envelope_inspect(in, &st, &e).failed)
        INVARIANT(envelope_canonical(in) && st.n >= 1 && st.n <= CUSTODY_GEN_MAX && st.version[0]);
    else
        INVARIANT(e.code == ERR_ENVELOPE_CORRUPT || e.code == ERR_UNKNOWN_FORMAT);
}

static void pin(struct slice in)
{
    struct pin_facts f;
    struct err e = { 0 };

    if (pin_inspect(in, &f, &e).failed)
        INVARIANT(e.code == ERR_PIN_MISSING || e.code == ERR_UNKNOWN_FORMAT);
}

/* What is accepted is all that the bytes say. */
static void outside(struct slice in)
{
    AUTO(buf_fini) struct buf again = BUF_INIT;
    struct outside_mark m;
    struct restore_ticket t;
    struct err e = { 0 };

    if (!outside_decode(in, &m, &e).failed)
        outside_encode(&m, &again);
    else if (!outside_ticket_decode(in, &t, &e).failed)
        outside_ticket_encode(&t, &again);
    else
        return;
    INVARIANT(slice_eq(buf_view(&again), in));
}

static void saved_state(struct slice in)
{
    static const uint8_t boot[16] = { 1 };
    struct ks_time now = { .boot_us = 1000, .real_ms = 1000 };
    struct key_machine m;
    struct err e = { 0 };

    ks_init(&m, &KS_CONFIG_DEFAULT, KEY_INACCESSIBLE, now, 1);
    if (ks_restore(&m, boot, in, now, &e).failed)
        INVARIANT(e.code == ERR_CORRUPT);
    (void)ks_probed(&m, PROBE_UNREACHABLE, true, -1, now);
    INVARIANT(ks_grace_left_us(&m, now) <= ks_grace_us(&m));
}

/* A provider that answers anything with something. */
static RC any_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                  struct key_info *out, struct err *e)
{
    (void)p;
    (void)deadline_us;
    (void)e;
    memset(out, 0, sizeof(*out));
    if (version)
        memcpy(out->version, version, strlen(version) + 1);
    return RC_OK;
}

static RC any_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                   uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    (void)p;
    (void)version;
    (void)deadline_us;
    (void)e;
    memset(out, 0, sizeof(*out));
    out->len = (uint32_t)MIN(secret_len(plain), (size_t)WRAP_MAX);
    return RC_OK;
}

static RC any_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                     uint64_t deadline_us, struct secret **out, struct err *e)
{
    (void)p;
    (void)fresh;
    (void)deadline_us;
    return secret_new(w->len ? w->len : 1, out, e);
}

static struct key_provider any = {
    .name = "any", .get_key = any_key, .wrap = any_wrap, .unwrap = any_unwrap
};

static RC make(struct slice config, void *arg, struct key_provider **out, struct err *e)
{
    (void)config;
    (void)arg;
    (void)e;
    *out = &any;
    return RC_OK;
}

/* The whole dialogue is in the socket's buffer before the helper looks at it, and closed behind. */
static void helper(struct slice in)
{
    int pair[2];
    struct err e = { 0 };

    if (in.len > 16384 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return;
    INVARIANT(send(pair[1], in.p, in.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)in.len);
    shutdown(pair[1], SHUT_WR);
    if (helper_serve(pair[0], make, NULL, &e).failed)
        INVARIANT(e.code != ERR_NONE);
    close(pair[0]);
    close(pair[1]);
    INVARIANT(secret_live_count() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct err e = { 0 };

    if (!ready)
        INVARIANT(!secret_arena_init(1 << 18, &e).failed);
    ready = true;
    if (size < 1)
        return 0;
    with_digest(SLICE(data + 1, size - 1), &b);
    switch (data[0] % 6) {
    case 0: envelope(buf_view(&b)); break;
    case 1: envelope(SLICE(data + 1, size - 1)); break;
    case 2: pin(buf_view(&b)); break;
    case 3: saved_state(buf_view(&b)); break;
    case 5: outside(buf_view(&b)); break;
    default: helper(SLICE(data + 1, size - 1)); break;
    }
    return 0;
}
