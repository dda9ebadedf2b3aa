/* fuzz: links vault kms http kmsg keys crypto */
/* Segments of the vault's audit log, as read from a disk that anyone may have written to. The first byte chooses: the input as it is, behind a good
 * header, or good records with bytes changed, cut, taken out or doubled. Only a beginning of what was written may be taken for good. */
#include <string.h>

#include "crypto/aead.h"
#include "crypto/secret.h"
#include "vault_priv.h"

enum { RECORDS = 6, TEXT_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vault_service service;

/* A log of one segment, made once. */
static struct {
    struct buf bytes;
    struct audit_at at[RECORDS + 1];
    size_t end[RECORDS + 1]; /* behind record n */
} good;

static void make(void)
{
    uint8_t header[AUDIT_HEADER_LEN];
    struct audit_keys k;
    struct audit_at at = { .seq = 41 };
    struct err e = { 0 };

    INVARIANT(!secret_arena_init(1 << 18, &e).failed && !crypto_init(&e).failed);
    INVARIANT(!secret_random(32, &service.root, &e).failed);
    memset(service.store_id, 7, sizeof service.store_id);
    INVARIANT(!vault__audit_begin(&service, 3, &at, header, &k, &e).failed);
    buf_push(&good.bytes, header, sizeof header);
    good.at[0] = at;
    good.end[0] = good.bytes.len;
    for (uint64_t i = 0; i < RECORDS; i++) {
        char text[TEXT_MAX];
        int n = snprintf(text, sizeof text, "{\"n\":%llu,\"pad\":\"%.*s\"}", (unsigned long long)i,
                         (int)i * 3, "xxxxxxxxxxxxxxxxxxxx");
        INVARIANT(!vault__audit_seal(&k, i, &at, SLICE(text, (size_t)n), &good.bytes, &e).failed);
        good.at[i + 1] = at;
        good.end[i + 1] = good.bytes.len;
    }
    vault__audit_keys_fini(&k);
}

/* What the walk says of a segment: whole or torn, it is a beginning of the one that was written. */
static void walk(struct slice segment, const struct audit_at *from)
{
    struct audit_walk w = { .at = *from };
    struct err e = { 0 };

    if (vault__audit_walk(&service, segment, 3, &w, NULL, NULL, &e).failed) {
        INVARIANT(e.code == ERR_CORRUPT || e.code == ERR_UNKNOWN_FORMAT);
        INVARIANT(w.good <= segment.len);
    }
    if (w.good == 0)
        return;
    /* as far as it holds it is what was written, and the chain says how far that is */
    uint64_t n = w.at.seq - good.at[0].seq;
    INVARIANT(n <= RECORDS && w.good == good.end[n]);
    INVARIANT(memcmp(segment.p, good.bytes.p, w.good) == 0);
    INVARIANT(memcmp(w.at.chain, good.at[n].chain, 32) == 0);
    if (!err_is(&e) && !w.torn)
        INVARIANT(w.good == segment.len);
}

static uint8_t next(struct slice *in)
{
    if (in->len == 0)
        return 0;
    in->len--;
    return *in->p++;
}

/* Each step of the input does one thing to the segment. */
static void changed(struct slice in)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_push(&b, good.bytes.p, good.bytes.len);
    while (in.len && b.len) {
        uint8_t what = next(&in);
        size_t at = (next(&in) | (size_t)next(&in) << 8) % b.len;
        switch (what % 4) {
        case 0: b.p[at] ^= next(&in); break;
        case 1: b.len = at; break;
        case 2: { /* a piece is taken out */
            size_t n = next(&in) % (b.len - at + 1);
            memmove(b.p + at, b.p + at + n, b.len - at - n);
            b.len -= n;
            break;
        }
        default: { /* a record is put at the end once more */
            size_t which = at % RECORDS;
            if (b.len < 1 << 16)
                buf_push(&b, good.bytes.p + good.end[which], good.end[which + 1] - good.end[which]);
            break;
        }
        }
    }
    walk(buf_view(&b), &good.at[0]);
}

static void behind_a_header(struct slice in)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_push(&b, good.bytes.p, AUDIT_HEADER_LEN);
    buf_push(&b, in.p, in.len);
    walk(buf_view(&b), &good.at[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = SLICE(data, size);
    struct audit_at start;
    struct err e = { 0 };

    if (!good.bytes.len)
        make();
    switch (next(&in) % 4) {
    case 0: walk(in, &good.at[0]); break;
    case 1: behind_a_header(in); break;
    case 2: /* a segment that is asked where it begins */
        if (!vault__audit_start_of(&service, in, 3, &start, &e).failed)
            INVARIANT(start.seq == good.at[0].seq);
        break;
    default: changed(in); break;
    }
    return 0;
}
