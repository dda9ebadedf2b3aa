/* test_seal.c - the sealing layouts by themselves: what is written comes back, and no edit of a file goes unseen. */
#include "histories.h"
#include "support.h"

static struct store__seal seal, other_store;
static struct keyring *other_key, *no_key;

static int init(void **state)
{
    (void)state;
    seal.keys = key_ring(1);
    seal.alg = store__build_alg();
    memset(seal.id, 0x5a, sizeof(seal.id));
    other_store = seal;
    memset(other_store.id, 0x5b, sizeof(other_store.id));
    other_key = key_ring(2);
    no_key = keyring_new();
    key_add(no_key, 9, 1);
    return 0;
}

static int fini(void **state)
{
    (void)state;
    keyring_unref(seal.keys);
    keyring_unref(other_key);
    keyring_unref(no_key);
    return 0;
}

static void load(const char *path, struct buf *b)
{
    buf_clear(b);
    OK(file_read(path, 64 << 20, b, &err));
}

static void save(const char *path, struct slice s)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    OK(file_write_fd(fd, s, &err));
    close(fd);
}

/* ---- header ------------------------------------------------------------------------------------- */

static void every_byte_of_a_header_counts(void **state)
{
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;

    (void)state;
    OK(store__header_make(&seal, STORE__JOURNAL, 42, raw, &h, &err));
    OK(store__header_verify(seal.keys, seal.alg, seal.id, SLICE(raw, sizeof(raw)), "f", &h, &err));
    OK(store__header_expect(&h, STORE__JOURNAL, 42, "f", &err));
    FAILS(ERR_CORRUPT, store__header_expect(&h, STORE__JOURNAL, 43, "f", &err));
    FAILS(ERR_CORRUPT, store__header_expect(&h, STORE__MANIFEST, 42, "f", &err));
    for (size_t i = 0; i < sizeof(raw) * 8; i++) {
        enum err_code want = ERR_CORRUPT;
        size_t at = i / 8;

        if (at < 8)
            want = ERR_FOREIGN_FILE; /* magic */
        else if (at < 10)
            want = ERR_UNKNOWN_FORMAT; /* format, algorithm */
        else if (at >= 12 && at < 16)
            want = ERR_MISSING_GENERATION;
        else if (at >= 32 && at < 48)
            want = ERR_FOREIGN_FILE; /* another store's id */
        raw[at] ^= (uint8_t)(1u << (i % 8));
        FAILS(want, store__header_verify(seal.keys, seal.alg, seal.id, SLICE(raw, sizeof(raw)), "f",
                                         &h, &err));
        raw[at] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t n = 0; n < sizeof(raw); n++)
        FAILS(ERR_CORRUPT,
              store__header_verify(seal.keys, seal.alg, seal.id, SLICE(raw, n), "f", &h, &err));
}

static void a_header_says_whose_it_is(void **state)
{
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    uint8_t other_alg = seal.alg == STORE__ALG_NULL ? STORE__ALG_AES_256_GCM : STORE__ALG_NULL;

    (void)state;
    OK(store__header_make(&seal, STORE__TABLE, 1, raw, &h, &err));
    FAILS(ERR_WRONG_KEY, store__header_verify(other_key, seal.alg, seal.id, SLICE(raw, sizeof(raw)),
                                              "f", &h, &err));
    FAILS(ERR_MISSING_GENERATION,
          store__header_verify(no_key, seal.alg, seal.id, SLICE(raw, sizeof(raw)), "f", &h, &err));
    FAILS(ERR_FOREIGN_FILE, store__header_verify(seal.keys, seal.alg, other_store.id,
                                                 SLICE(raw, sizeof(raw)), "f", &h, &err));
    FAILS(ERR_UNKNOWN_FORMAT, store__header_verify(seal.keys, other_alg, seal.id,
                                                   SLICE(raw, sizeof(raw)), "f", &h, &err));
    memset(raw, 0, sizeof(raw));
    FAILS(ERR_FOREIGN_FILE, store__header_verify(seal.keys, seal.alg, seal.id,
                                                 SLICE(raw, sizeof(raw)), "f", &h, &err));
}

/* ---- blocks ------------------------------------------------------------------------------------- */

static void block_write(const char *path, const uint8_t *p, size_t len, size_t piece)
{
    struct store__block_writer *w;

    OK(store__block_create(&seal, path, 7, &w, &err));
    for (size_t at = 0; at < len; at += piece)
        OK(store__block_append(w, SLICE(p + at, MIN(piece, len - at)), &err));
    assert_int_equal(store__block_length(w), len);
    OK(store__block_sync(w, &err));
    FAILS(ERR_IO, store__block_append(w, SLICE_LIT("x"), &err));
    OK(store__block_close(w, &err));
    store__block_writer_free(w);
}

/* Open and read all. ERR_NONE, and out holds the text, or the error. */
static enum err_code block_read_all(const struct store__seal *s, const char *path, uint64_t number,
                                    struct buf *out)
{
    struct store__block *b;
    struct err e = { 0 };
    size_t got, len;

    buf_clear(out);
    if (store__block_open(s, path, number, &b, &e).failed)
        return e.code;
    len = (size_t)store__block_size(b);
    (void)store__block_read(b, 0, len + 100, buf_extend(out, len + 100), &got, &e).failed;
    out->len = got;
    store__block_free(b);
    return e.code;
}

static void blocks_come_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 8192, 12289, 65536, 65537, 300001 };
    struct buf out = BUF_INIT;
    uint8_t *in = mem_alloc(300001), piece[9000];
    const char *path = tmp_path();

    (void)state;
    OK(random_bytes(in, 300001, &err));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct store__block *b;
        struct stat st;
        uint64_t logical;
        size_t got;

        block_write(path, in, sizes[i], i % 2 ? 1000 : 100000);
        assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_NONE);
        assert_true(slice_eq(buf_view(&out), SLICE(in, sizes[i])));
        assert_int_equal(stat(path, &st), 0);
        assert_true(store__block_logical((uint64_t)st.st_size, &logical) && logical == sizes[i]);
        OK(store__block_open(&seal, path, 7, &b, &err));
        for (size_t n = 0; n < 200; n++) {
            size_t off = (n * 7919) % (sizes[i] + 10), len = (n * 104729) % sizeof(piece);
            size_t want = off >= sizes[i] ? 0 : MIN(len, sizes[i] - off);

            OK(store__block_read(b, off, len, piece, &got, &err));
            assert_int_equal(got, want);
            assert_memory_equal(piece, in + off, want);
        }
        store__block_free(b);
    }
    mem_free(in);
    buf_fini(&out);
}

static void no_edit_of_a_block_file_goes_unseen(void **state)
{
    enum { LEN = 9000 }; /* three chunks */
    struct buf good = BUF_INIT, bad = BUF_INIT, out = BUF_INIT;
    const char *path = tmp_path();
    uint8_t in[LEN];

    (void)state;
    OK(random_bytes(in, sizeof(in), &err));
    block_write(path, in, sizeof(in), sizeof(in));
    load(path, &good);
    for (size_t i = 0; i < good.len; i += i < 256 ? 1 : 13) {
        buf_clear(&bad);
        buf_push(&bad, good.p, good.len);
        bad.p[i] ^= 0x10;
        save(path, buf_view(&bad));
        assert_int_not_equal(block_read_all(&seal, path, 7, &out), ERR_NONE);
        if (i >= STORE__HEADER_LEN)
            assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    }
    for (size_t n = 0; n < good.len; n += n < 200 || good.len - n < 40 ? 1 : 61) { /* cut */
        save(path, SLICE(good.p, n));
        assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    }
    /* whole chunks are left, and the last one does not say that it is */
    for (size_t n = 0; n < 3; n++) {
        save(path, SLICE(good.p, STORE__HEADER_LEN + n * (STORE__CHUNK + STORE__TAG_LEN)));
        assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    }
    buf_clear(&bad);
    buf_push(&bad, good.p, good.len);
    for (int i = 0; i < 5000; i++) { /* lengthened */
        buf_push_u8(&bad, (uint8_t)i);
        if (i < 40 || i % 97 == 0) {
            save(path, buf_view(&bad));
            assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
        }
    }
    buf_clear(&bad); /* chunks swapped */
    buf_push(&bad, good.p, good.len);
    memcpy(bad.p + 128, good.p + 128 + 4112, 4112);
    memcpy(bad.p + 128 + 4112, good.p + 128, 4112);
    save(path, buf_view(&bad));
    assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    memset(bad.p + 128, 0, 4112); /* zeroed */
    save(path, buf_view(&bad));
    assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    memcpy(bad.p + 128, "plaintext planted here", 22);
    save(path, buf_view(&bad));
    assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    save(path, buf_view(&good));
    assert_int_equal(block_read_all(&seal, path, 8, &out), ERR_CORRUPT); /* under another number */
    assert_int_equal(block_read_all(&other_store, path, 7, &out), ERR_FOREIGN_FILE);
    assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_NONE);
    buf_fini(&good);
    buf_fini(&bad);
    buf_fini(&out);
}

static void a_chunk_of_another_file_is_refused(void **state)
{
    struct buf a = BUF_INIT, b = BUF_INIT, out = BUF_INIT;
    const char *path = tmp_path();
    uint8_t in[9000] = { 0 };

    (void)state;
    block_write(path, in, sizeof(in), sizeof(in));
    load(path, &a);
    block_write(path, in, sizeof(in),
                sizeof(in)); /* same text, number, store and key: only the salt differs */
    load(path, &b);
    assert_memory_not_equal(a.p + 128, b.p + 128, 4112);
    memcpy(b.p + 128, a.p + 128, 4112);
    save(path, buf_view(&b));
    assert_int_equal(block_read_all(&seal, path, 7, &out), ERR_CORRUPT);
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&out);
}

static void lengths_that_no_block_file_has(void **state)
{
    uint64_t logical;

    (void)state;
    for (uint64_t n = 0; n < 144; n++)
        assert_false(store__block_logical(n, &logical));
    assert_true(store__block_logical(144, &logical) && logical == 0);
    assert_true(store__block_logical(128 + 4112, &logical) && logical == 4096);
    for (uint64_t n = 1; n <= 16; n++)
        assert_false(store__block_logical(128 + 4112 + n, &logical));
    assert_true(store__block_logical(128 + 4112 + 17, &logical) && logical == 4097);
    assert_false(store__block_logical(UINT64_MAX, &logical));
    assert_false(store__block_logical((UINT64_C(1) << 32) * 4112 + 128 + 17, &logical));
}

/* ---- streams ------------------------------------------------------------------------------------ */

struct script {
    bool closed;     /* ends with END */
    size_t ends[32]; /* where each frame ends in the file */
    size_t n;
    size_t synced; /* bytes that were on disk for certain, marks not counted */
};

/* Five frames of text "1" "22" ...; synced after the third; marks between. */
static void stream_write(const char *path, bool close_it, struct script *s, struct buf *file)
{
    struct store__stream_writer *w;

    *s = (struct script){ .closed = close_it };
    OK(store__stream_create(&seal, path, STORE__JOURNAL, 7, &w, &err));
    for (int i = 1; i <= 5; i++) {
        char text[64];

        memset(text, '0' + i, sizeof(text));
        OK(store__stream_append(w, SLICE(text, (size_t)i * 10), &err));
        OK(store__stream_flush(w, &err));
        s->ends[s->n++] = (size_t)store__stream_physical(w);
        if (i == 3) {
            s->synced = (size_t)store__stream_physical(w);
            OK(store__stream_sync(w, &err));
            s->ends[s->n++] = (size_t)store__stream_physical(w);
        }
    }
    if (close_it) {
        OK(store__stream_close(w, &err));
        s->ends[s->n++] = (size_t)store__stream_physical(w);
        s->synced = s->ends[s->n - 2]; /* a damaged END is for the anchor to miss */
    }
    store__stream_writer_free(w);
    load(path, file);
    assert_int_equal(file->len, s->ends[s->n - 1]);
}

static enum err_code stream_read_all(const char *path, struct buf *out,
                                     struct store__stream_end *end)
{
    struct store__stream *s;
    struct err e = { 0 };
    struct slice plain;
    bool more = true;

    buf_clear(out);
    *end = (struct store__stream_end){ 0 };
    if (store__stream_open(&seal, path, STORE__JOURNAL, 7, &s, &e).failed)
        return e.code;
    while (more && !store__stream_next(s, &plain, &more, &e).failed)
        buf_push(out, plain.p, plain.len);
    store__stream_state(s, end);
    store__stream_free(s);
    return e.code;
}

static const char whole[] =
    "111111111122222222222222222222333333333333333333333333333333"
    "444444444444444444444444444444444444444455555555555555555555555555555555555555555555555555";

static void streams_come_back(void **state)
{
    struct buf file = BUF_INIT, out = BUF_INIT;
    struct store__stream_end end;
    const char *path = tmp_path();
    struct script s;

    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        stream_write(path, closed, &s, &file);
        assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
        assert_true(slice_eq_str(buf_view(&out), whole));
        assert_int_equal(end.reach.ended, closed);
        assert_int_equal(end.reach.frames, s.n);
        assert_int_equal(end.torn, 0);
        assert_int_equal(end.logical, strlen(whole));
    }
    buf_fini(&file);
    buf_fini(&out);
}

static void a_large_write_becomes_several_frames(void **state)
{
    size_t len = 5 * STORE__FRAME_MAX / 2;
    uint8_t *in = mem_alloc(len);
    struct buf out = BUF_INIT;
    struct store__stream_writer *w;
    struct store__stream_end end;
    const char *path = tmp_path();

    (void)state;
    OK(random_bytes(in, len, &err));
    OK(store__stream_create(&seal, path, STORE__JOURNAL, 7, &w, &err));
    OK(store__stream_append(w, SLICE(in, len), &err));
    OK(store__stream_close(w, &err));
    OK(store__stream_close(w, &err));
    FAILS(ERR_IO, store__stream_append(w, SLICE_LIT("late"), &err));
    store__stream_writer_free(w);
    assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
    assert_true(slice_eq(buf_view(&out), SLICE(in, len)));
    assert_int_equal(end.reach.frames, 4);
    mem_free(in);
    buf_fini(&out);
}

/* After an edit: an error of the right class, or a prefix of the text that holds all that was synced. */
static void check_edit(const char *path, const struct script *s, size_t damage_at, bool in_header)
{
    struct buf out = BUF_INIT;
    struct store__stream_end end;
    enum err_code code = stream_read_all(path, &out, &end);

    if (in_header) {
        assert_int_not_equal(code, ERR_NONE);
    } else if (code == ERR_NONE) {
        assert_true(damage_at >= s->synced);
        assert_true(end.torn > 0);
        assert_true(out.len >= 60); /* three frames were synced */
        assert_memory_equal(out.p, whole, out.len);
    } else {
        assert_int_equal(code, ERR_CORRUPT);
    }
    buf_fini(&out);
}

static void every_byte_of_a_stream_counts(void **state)
{
    struct buf good = BUF_INIT, bad = BUF_INIT;
    const char *path = tmp_path();
    struct script s;

    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        stream_write(path, closed, &s, &good);
        for (size_t i = 0; i < good.len; i++) {
            buf_clear(&bad);
            buf_push(&bad, good.p, good.len);
            bad.p[i] ^= 0x04;
            save(path, buf_view(&bad));
            check_edit(path, &s, i, i < STORE__HEADER_LEN);
        }
    }
    buf_fini(&good);
    buf_fini(&bad);
}

static void a_torn_tail_is_told_from_damage(void **state)
{
    struct buf good = BUF_INIT, bad = BUF_INIT, out = BUF_INIT;
    struct store__stream_end end;
    const char *path = tmp_path();
    struct script s;

    (void)state;
    stream_write(path, false, &s, &good);
    for (size_t n = STORE__HEADER_LEN; n <= good.len;
         n++) { /* cut anywhere: whole frames before, torn behind */
        size_t frames = 0, border = STORE__HEADER_LEN;

        for (size_t i = 0; i < s.n && s.ends[i] <= n; i++, frames++)
            border = s.ends[i];
        save(path, SLICE(good.p, n));
        assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
        assert_int_equal(end.reach.frames, frames);
        assert_int_equal(end.physical, border);
        assert_int_equal(end.torn, n - border);
        assert_memory_equal(out.p, whole, out.len);
    }
    buf_clear(&bad); /* a tail of zeroes, as a file system may leave behind */
    buf_push(&bad, good.p, good.len);
    memset(buf_extend(&bad, 5000), 0, 5000);
    save(path, buf_view(&bad));
    assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
    assert_int_equal(end.torn, 5000);
    assert_true(slice_eq_str(buf_view(&out), whole));
    memset(bad.p + s.ends[0], 0, s.ends[1] - s.ends[0]); /* zeroes over a frame that was synced */
    save(path, buf_view(&bad));
    assert_int_equal(stream_read_all(path, &out, &end), ERR_CORRUPT);
    assert_int_equal(out.len, 10);
    /* the last frame that was synced, damaged, with nothing but its mark behind */
    buf_clear(&bad);
    buf_push(&bad, good.p, s.ends[3]);
    bad.p[s.ends[2] - 1] ^= 1;
    save(path, buf_view(&bad));
    assert_int_equal(stream_read_all(path, &out, &end), ERR_CORRUPT);
    bad.len = s.ends[2]; /* without the mark nobody can know: the anchor's business */
    save(path, buf_view(&bad));
    assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
    assert_int_equal(end.reach.frames, 2);
    buf_fini(&good);
    buf_fini(&bad);
    buf_fini(&out);
}

static void piece(struct buf *to, const struct buf *file, const struct script *s, size_t frame)
{
    size_t from = frame ? s->ends[frame - 1] : STORE__HEADER_LEN;

    buf_push(to, file->p + from, s->ends[frame] - from);
}

static void frames_keep_their_place(void **state)
{
    /* orders of the frames of a closed file (7: five of text, a mark, END), -1 = end of list; 10 + n: frame n of another file of the same name and text */
    static const int orders[][10] = {
        { 0, 2, 3, 4, 5, 6, -1 },       /* dropped */
        { 0, 1, 1, 2, 3, 4, 5, 6, -1 }, /* repeated */
        { 1, 0, 2, 3, 4, 5, 6, -1 },    /* reordered */
        { 0, 1, 2, 3, 5, 4, 6, -1 },
        { 0, 1, 2, 3, 4, 5, 6, 6, -1 }, /* something behind the END */
        { 0, 1, 2, 3, 4, 5, 6, 0, -1 },
        { 6, -1 },                    /* END alone */
        { 0, 1, 2, 6, -1 },           /* END moved forward */
        { 0, 11, 2, 3, 4, 5, 6, -1 }, /* from another file */
        { 0, 1, 2, 3, 4, 5, 16, -1 },
    };
    struct buf good = BUF_INIT, other = BUF_INIT, bad = BUF_INIT, out = BUF_INIT;
    struct store__stream_end end;
    const char *path = tmp_path();
    struct script s, s2;

    (void)state;
    stream_write(path, true, &s2, &other);
    stream_write(path, true, &s, &good);
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        enum err_code code;

        buf_clear(&bad);
        buf_push(&bad, good.p, STORE__HEADER_LEN);
        for (const int *f = orders[o]; *f >= 0; f++)
            piece(&bad, *f >= 10 ? &other : &good, *f >= 10 ? &s2 : &s, (size_t)(*f % 10));
        save(path, buf_view(&bad));
        code = stream_read_all(path, &out, &end);
        if (o ==
            /* the END replaced by a stranger's: a file without an end, which its anchor refuses */
            9) {
            assert_int_equal(code, ERR_NONE);
            assert_false(end.reach.ended);
        } else {
            assert_int_equal(code, ERR_CORRUPT);
        }
    }
    FAILS(ERR_CORRUPT, store__small_read(&seal, path, STORE__JOURNAL, 7, 1000, &out,
                                         &err)); /* no END: not a whole small file */
    save(path, buf_view(&good));
    buf_clear(&out);
    OK(store__small_read(&seal, path, STORE__JOURNAL, 7, 1000, &out, &err));
    FAILS(ERR_CORRUPT, store__small_read(&seal, path, STORE__JOURNAL, 7, 20, &out, &err));
    buf_fini(&good);
    buf_fini(&other);
    buf_fini(&bad);
    buf_fini(&out);
}

static void equal_texts_at_one_index_differ_by_what_they_authenticate(void **state)
{
    /* A machine snapshot resumed twice: same file key, same index, same (empty) text, but a different `synced`. One nonce for both would give away the
     * authentication key. Two files stand for the two machines here; the tail's inputs are compared by recomputing it. */
    struct buf a = BUF_INIT;
    const char *path = tmp_path();
    struct script s;
    uint8_t raw[STORE__HEADER_LEN], mac[SHA256_LEN], mac2[SHA256_LEN], head[STORE__FRAME_HEAD];
    struct store__header h;
    struct store__keys k;

    (void)state;
    stream_write(path, true, &s, &a);
    memcpy(raw, a.p, sizeof(raw));
    OK(store__header_parse(SLICE(raw, sizeof(raw)), "f", &h, &err));
    OK(store__keys_derive(seal.keys, &h, raw, &k, &err));
    memcpy(head, a.p + s.ends[2], sizeof(head)); /* the mark */
    struct slice parts[2] = { SLICE(head, 24), SLICE(head + 32, 16) };
    OK(hmac_sha256(k.nonce, parts, 2, mac, &err));
    assert_memory_equal(mac, head + 24, 8);
    head[19] ^= 1; /* synced */
    OK(hmac_sha256(k.nonce, parts, 2, mac2, &err));
    assert_memory_not_equal(mac, mac2, 8);
    store__keys_fini(&k);
    buf_fini(&a);
}

static void frames_of_two_histories_do_not_mix(void **state)
{
    struct buf file = BUF_INIT, out = BUF_INIT;
    struct store__stream_end end;
    const char *path = tmp_path();
    struct script s;

    (void)state;
    stream_write(path, true, &s, &file);
    rewrite_frame(seal.keys, file.p, s.ends[0], s.ends[1]);
    save(path, SLICE(file.p, s.ends[1])); /* by itself it is as good as the one before */
    assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
    assert_int_equal(end.reach.frames, 2);
    save(path, buf_view(&file));
    assert_int_equal(stream_read_all(path, &out, &end), ERR_CORRUPT);
    assert_int_equal(end.reach.frames, 2);
    buf_fini(&file);
    buf_fini(&out);
}

static void a_failed_write_is_cut_off_and_the_rest_kept(void **state)
{
    struct store__stream_writer *w;
    struct store__stream_end end;
    struct buf out = BUF_INIT;
    const char *path = tmp_path();

    (void)state;
    OK(store__stream_create(&seal, path, STORE__JOURNAL, 7, &w, &err));
    OK(store__stream_append(w, SLICE_LIT("kept"), &err));
    OK(store__stream_flush(w, &err));
    fault_arm("fs.append.journal", "ENOSPC", 0, 1);
    OK(store__stream_append(w, SLICE_LIT("lost"), &err));
    FAILS(ERR_DISK_FULL, store__stream_flush(w, &err));
    fault_disarm_all();
    /* An index is sealed once. That it was for want of room is remembered: after an I/O error the engine would stop. */
    FAILS(ERR_DISK_FULL, store__stream_append(w, SLICE_LIT("more"), &err));
    OK(store__stream_sync(w, &err));
    OK(store__stream_close(w, &err));
    store__stream_writer_free(w);
    assert_int_equal(stream_read_all(path, &out, &end), ERR_NONE);
    assert_true(slice_eq_str(buf_view(&out), "kept"));
    buf_fini(&out);
}

static void a_mark_that_finds_no_room_says_so_later(void **state)
{
    struct store__stream_writer *w;
    const char *path = tmp_path();

    (void)state;
    OK(store__stream_create(&seal, path, STORE__JOURNAL, 7, &w, &err));
    OK(store__stream_append(w, SLICE_LIT("kept"), &err));
    OK(store__stream_flush(w, &err));
    fault_arm("fs.append.journal", "ENOSPC", 0, 1);
    OK(store__stream_sync(w, &err)); /* what it was asked for is done; the mark is only a help */
    fault_disarm_all();
    FAILS(ERR_DISK_FULL, store__stream_append(w, SLICE_LIT("more"), &err));
    OK(store__stream_close(w, &err));
    store__stream_writer_free(w);
}

static void a_failed_sync_is_final(void **state)
{
    struct store__stream_writer *w;
    struct store__reach r;
    const char *path = tmp_path();

    (void)state;
    OK(store__stream_create(&seal, path, STORE__JOURNAL, 7, &w, &err));
    OK(store__stream_append(w, SLICE_LIT("text"), &err));
    fault_arm("fs.sync.journal", "EIO", 0, 1);
    FAILS(ERR_IO, store__stream_sync(w, &err));
    fault_disarm_all();
    FAILS(ERR_IO,
          store__stream_sync(w, &err)); /* though the disk works again: the pages may be gone */
    FAILS(ERR_IO, store__stream_close(w, &err));
    store__stream_reach(w, &r, NULL);
    assert_int_equal(r.frames, 0);
    store__stream_writer_free(w);
}

static void a_file_has_one_name(void **state)
{
    static const struct {
        const char *name;
        enum store__kind kind;
        uint64_t number;
    } cases[] = {
        { "000012.sst", STORE__K_SEALED, 12 },
        { "MANIFEST-1000000", STORE__K_SEALED, 1000000 },
        { "OPTIONS-000007.dbtmp", STORE__K_TEMP, 7 },
        { "12.sst", STORE__K_FOREIGN, 0 },
        { "0000012.sst", STORE__K_FOREIGN, 0 },
        { "MANIFEST-5", STORE__K_FOREIGN, 0 },
        { "ENVELOPE", STORE__K_FOREIGN, 0 },
        { "CURRENT.bak", STORE__K_FOREIGN, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store__name n;

        store__name_parse(cases[i].name, &n);
        assert_int_equal(n.kind, cases[i].kind);
        assert_int_equal(n.number, cases[i].number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_has_one_name),
        cmocka_unit_test(every_byte_of_a_header_counts),
        cmocka_unit_test(a_header_says_whose_it_is),
        cmocka_unit_test(blocks_come_back),
        cmocka_unit_test(no_edit_of_a_block_file_goes_unseen),
        cmocka_unit_test(a_chunk_of_another_file_is_refused),
        cmocka_unit_test(lengths_that_no_block_file_has),
        cmocka_unit_test(streams_come_back),
        cmocka_unit_test(a_large_write_becomes_several_frames),
        cmocka_unit_test(every_byte_of_a_stream_counts),
        cmocka_unit_test(a_torn_tail_is_told_from_damage),
        cmocka_unit_test(frames_keep_their_place),
        cmocka_unit_test(equal_texts_at_one_index_differ_by_what_they_authenticate),
        cmocka_unit_test(frames_of_two_histories_do_not_mix),
        cmocka_unit_test(a_failed_write_is_cut_off_and_the_rest_kept),
        cmocka_unit_test(a_mark_that_finds_no_room_says_so_later),
        cmocka_unit_test(a_failed_sync_is_final),
    };

    support_init();
    support_tmp();
    int rc = cmocka_run_group_tests(tests, init, fini);
    support_fini();
    return rc;
}
