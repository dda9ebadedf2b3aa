/* fuzz: links store keys crypto */
/* What says which files belong: the anchor's text, headers, names. What is accepted has one encoding only. */
#include <inttypes.h>

#include "fuzz_store.h"

static void anchor(struct slice in)
{
    AUTO(buf_fini) struct buf again = BUF_INIT;
    struct store__anchor_data d;
    struct err e = { 0 };

    if (store__anchor_decode(in, &d, &e).failed) {
        INVARIANT(e.code == ERR_CORRUPT && d.pins == NULL && d.n == 0);
        return;
    }
    store__anchor_encode(&d, &again);
    INVARIANT(slice_eq(buf_view(&again), in));
    store__anchor_data_fini(&d);
}

/* A good header of a role, changed in some places: it is as it was, or refused. */
static void header(struct slice in)
{
    uint8_t raw[STORE__HEADER_LEN], before[STORE__HEADER_LEN];
    struct store__header h;
    struct err e = { 0 };
    enum store__role role = (enum store__role)(1 + fuzz_u8(&in) % (STORE__ROLE_NR - 1));

    INVARIANT(!store__header_make(fuzz_seal(), role, FUZZ_NUMBER, raw, &h, &e).failed);
    memcpy(before, raw, sizeof(raw));
    while (in.len) {
        size_t at = fuzz_u8(&in) % sizeof(raw);
        raw[at] ^= fuzz_u8(&in);
    }
    bool ok = !store__header_verify(fuzz_seal()->keys, fuzz_seal()->alg, fuzz_seal()->id,
                                    SLICE(raw, sizeof(raw)), "f", &h, &e)
                   .failed;
    INVARIANT(ok == (memcmp(raw, before, sizeof(raw)) == 0));
    INVARIANT(ok || e.code == ERR_CORRUPT || e.code == ERR_FOREIGN_FILE ||
              e.code == ERR_UNKNOWN_FORMAT || e.code == ERR_WRONG_KEY ||
              e.code == ERR_MISSING_GENERATION);
}

static void raw_header(struct slice in)
{
    struct store__header h;
    struct err e = { 0 };

    if (!store__header_parse(in, "f", &h, &e).failed)
        INVARIANT(h.role > 0 && h.role < STORE__ROLE_NR && in.len >= STORE__HEADER_LEN);
}

/* A name has one meaning, and a meaning one name: else two files could claim to be the same one. */
static void name(struct slice in)
{
    static const char *const formats[STORE__ROLE_NR] = {
        [STORE__TABLE] = "%06" PRIu64 ".sst",
        [STORE__JOURNAL] = "%06" PRIu64 ".log",
        [STORE__MANIFEST] = "MANIFEST-%06" PRIu64,
        [STORE__OPTIONS] = "OPTIONS-%06" PRIu64,
    };
    char base[64], again[64];
    struct store__name n;
    size_t len = MIN(in.len, sizeof(base) - 1);

    if (len)
        memcpy(base, in.p, len);
    base[len] = 0;
    store__name_parse(base, &n);
    if (n.kind != STORE__K_SEALED || !formats[n.role])
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(again, sizeof(again), formats[n.role], n.number);
#pragma GCC diagnostic pop
    INVARIANT(strcmp(base, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = SLICE(data, size);

    (void)fuzz_seal();
    switch (fuzz_u8(&in) % 4) {
    case 0: anchor(in); break;
    case 1: header(in); break;
    case 2: raw_header(in); break;
    default: name(in); break;
    }
    return 0;
}
