/* build.c - values in an arena, object ids. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>

#include "bsonx_priv.h"

static struct bval fixed(struct arena *a, enum btype type, const void *bytes, uint32_t len)
{
    return (struct bval){ .type = (uint8_t)type, .len = len, .p = arena_dup(a, bytes, len) };
}

static struct bval le64(struct arena *a, enum btype type, uint64_t v)
{
    uint8_t b[8];

    put_le64(b, v);
    return fixed(a, type, b, sizeof(b));
}

struct bval bval_new_i32(struct arena *a, int32_t v)
{
    uint8_t b[4];

    put_le32(b, (uint32_t)v);
    return fixed(a, BT_INT32, b, sizeof(b));
}

struct bval bval_new_i64(struct arena *a, int64_t v)
{
    return le64(a, BT_INT64, (uint64_t)v);
}

struct bval bval_new_double(struct arena *a, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return le64(a, BT_DOUBLE, bits);
}

struct bval bval_new_dec(struct arena *a, struct dec128 v)
{
    uint8_t b[16];

    put_le64(b, v.lo);
    put_le64(b + 8, v.hi);
    return fixed(a, BT_DECIMAL128, b, sizeof(b));
}

struct bval bval_new_bool(struct arena *a, bool v)
{
    static const uint8_t bytes[2] = { 0, 1 };

    (void)a; /* both values are constants */
    return (struct bval){ .type = BT_BOOL, .len = 1, .p = &bytes[v] };
}

struct bval bval_new_date(struct arena *a, int64_t ms)
{
    return le64(a, BT_DATE, (uint64_t)ms);
}

struct bval bval_new_timestamp(struct arena *a, uint64_t v)
{
    return le64(a, BT_TIMESTAMP, v);
}

struct bval bval_new_str(struct arena *a, struct slice s)
{
    INVARIANT(s.len < INT32_MAX - 5);
    uint8_t *p = arena_alloc(a, s.len + 5);

    put_le32(p, (uint32_t)s.len + 1);
    if (s.len)
        memcpy(p + 4, s.p, s.len);
    p[4 + s.len] = 0;
    return (struct bval){ .type = BT_STRING, .len = (uint32_t)s.len + 5, .p = p };
}

struct bval bval_new_null(void)
{
    return (struct bval){ .type = BT_NULL, .p = (const uint8_t *)"" };
}

struct bval bval_new_oid(struct arena *a, const uint8_t oid[12])
{
    return fixed(a, BT_OBJECT_ID, oid, 12);
}

struct bval bval_new_bin(struct arena *a, uint8_t subtype, struct slice bytes)
{
    size_t inner = subtype == 2 ? 4 : 0; /* sub-type 2 repeats the length inside */

    INVARIANT(bytes.len < INT32_MAX - 16);
    uint8_t *p = arena_alloc(a, 5 + inner + bytes.len);

    put_le32(p, (uint32_t)(inner + bytes.len));
    p[4] = subtype;
    if (inner)
        put_le32(p + 5, (uint32_t)bytes.len);
    if (bytes.len)
        memcpy(p + 5 + inner, bytes.p, bytes.len);
    return (struct bval){ .type = BT_BINARY, .len = (uint32_t)(5 + inner + bytes.len), .p = p };
}

struct bval bval_dup(struct arena *a, struct bval v)
{
    if (v.len)
        v.p = arena_dup(a, v.p, v.len);
    return v;
}

/* Object ids: seconds (4, big endian), random of the process (5), counter (3, big endian). */
static struct {
    pthread_once_t once;
    uint8_t process[5];
    _Atomic uint32_t counter;
} oids = { .once = PTHREAD_ONCE_INIT };

static void oid_seed(void)
{
    uint8_t seed[9];
    ssize_t got = getrandom(seed, sizeof(seed), 0);

    INVARIANT(got == (ssize_t)sizeof(seed));
    memcpy(oids.process, seed, sizeof(oids.process));
    atomic_store(&oids.counter, get_le32(seed + 5));
}

void oid_new(uint8_t out[12])
{
    pthread_once(&oids.once, oid_seed);
    uint32_t n = atomic_fetch_add(&oids.counter, 1);

    put_be32(out, (uint32_t)time(NULL));
    memcpy(out + 4, oids.process, 5);
    out[9] = (uint8_t)(n >> 16);
    out[10] = (uint8_t)(n >> 8);
    out[11] = (uint8_t)n;
}
