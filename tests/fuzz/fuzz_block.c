/* fuzz: links store keys crypto */
/* Tables on a disk that anyone may write to. The input is a list of edits of a good file: bytes changed, chunks moved, the end cut or grown, pieces of another file
 * under the same keys put in. What a read gives is what was written at that place, or an error of damage; and a file that is not as it was cannot be read whole.
 * Or the input is the file. */
#include "fuzz_store.h"

enum { CHUNK = STORE__CHUNK, STORED = STORE__CHUNK + STORE__TAG_LEN, LEN_MAX = 12289 };
static const size_t lengths[] = { 0, 1, 4095, 4096, 4097, 8192, 9000, LEN_MAX };
enum { N_LENGTHS = sizeof(lengths) / sizeof(lengths[0]) };

/* Two good files of each length: one text, two salts. */
static uint8_t text[LEN_MAX];
static struct buf good[N_LENGTHS][2];

static void make(size_t i, int twin)
{
    struct store__block_writer *w;
    struct err e = { 0 };

    INVARIANT(!store__block_create(fuzz_seal(), fuzz_path(), FUZZ_NUMBER, &w, &e).failed);
    INVARIANT(!store__block_append(w, SLICE(text, lengths[i]), &e).failed &&
              !store__block_sync(w, &e).failed);
    store__block_writer_free(w);
    fuzz_slurp(&good[i][twin]);
}

static void setup(void)
{
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 31 + i / 251);
    for (size_t i = 0; i < N_LENGTHS; i++) {
        make(i, 0);
        make(i, 1);
    }
}

/* The bytes of chunk c of a file of len bytes; c = 0 is the header, the chunks follow. */
static struct slice piece(struct buf *file, size_t c)
{
    size_t at = c == 0 ? 0 : STORE__HEADER_LEN + (c - 1) * STORED,
           len = c == 0 ? STORE__HEADER_LEN : STORED;

    if (at >= file->len)
        return SLICE_EMPTY;
    return SLICE(file->p + at, MIN(len, file->len - at));
}

static void move(struct buf *file, struct slice from, size_t to)
{
    struct slice target = piece(file, to);
    size_t n = MIN(from.len, target.len);

    if (n)
        memmove(file->p + (target.p - file->p), from.p, n);
}

static void edit(struct buf *file, struct buf *twin, struct slice *in)
{
    uint8_t op = fuzz_u8(in) % 5, a = fuzz_u8(in) % 5, b = fuzz_u8(in) % 5;
    uint32_t at = fuzz_u16(in);

    switch (op) {
    case 0:
        if (file->len)
            file->p[at % file->len] ^= (uint8_t)(a + 1);
        break;
    case 1: file->len = at % (file->len + 1); break;
    case 2: memset(buf_extend(file, b + 1u), a, b + 1u); break;
    case 3: move(file, piece(file, a), b); break;
    default: move(file, piece(twin, a), b); break;
    }
}

static bool damage(const struct err *e)
{
    return e->code == ERR_CORRUPT || e->code == ERR_FOREIGN_FILE || e->code == ERR_UNKNOWN_FORMAT ||
           e->code == ERR_WRONG_KEY || e->code == ERR_MISSING_GENERATION;
}

/* Reads everything piece by piece; false when something could not be read. */
static bool read_all(struct slice file, size_t step, size_t want_len, bool ours)
{
    struct store__block *b;
    struct err e = { 0 };
    int fd = fuzz_file(file);
    bool whole = true;

    if (store__block_open_fd(fuzz_seal(), fd, "000007.sst", FUZZ_NUMBER, &b, &e).failed) {
        INVARIANT(damage(&e));
        close(fd);
        return false;
    }
    INVARIANT(!ours || store__block_size(b) == want_len);
    for (size_t off = 0; off < store__block_size(b) + 1; off += step) {
        uint8_t out[LEN_MAX + 1];
        size_t got;
        struct err why = { 0 };

        if (store__block_read(b, off, MIN(step, sizeof(out)), out, &got, &why).failed) {
            INVARIANT(damage(&why) && got == 0);
            whole = false;
        } else {
            INVARIANT(off + got <= sizeof(text) && memcmp(out, text + off, got) == 0);
        }
    }
    store__block_free(b);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    AUTO(buf_fini) struct buf file = BUF_INIT;
    struct slice in = SLICE(data, size);
    uint8_t which;
    size_t step;

    if (!ready)
        setup();
    ready = true;
    which = fuzz_u8(&in);
    step = 1 + fuzz_u16(&in) % LEN_MAX;
    if (which & 0x80) { /* the input is the file, or what follows a good header */
        if (which & 1)
            buf_push(&file, good[0][0].p, STORE__HEADER_LEN);
        buf_push(&file, in.p, in.len);
        INVARIANT(!read_all(buf_view(&file), step, 0, false));
        return 0;
    }
    struct buf *mine = &good[which % N_LENGTHS][0], *twin = &good[which % N_LENGTHS][1];
    buf_push(&file, mine->p, mine->len);
    for (int i = 0; i < 8 && in.len; i++)
        edit(&file, twin, &in);
    bool same =
        slice_eq(buf_view(&file), buf_view(mine)) || slice_eq(buf_view(&file), buf_view(twin));
    INVARIANT(read_all(buf_view(&file), MAX(step, (size_t)100), lengths[which % N_LENGTHS], true) ==
              same);
    return 0;
}
