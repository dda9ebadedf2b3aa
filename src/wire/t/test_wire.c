/* test_wire.c - messages there and back, and everything that must be refused. */
#include "unit.h"

#include <zstd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "wire/wire.h"

static struct buf b;
static struct arena *a;
static struct wire_codec *codec;
static struct err e;

static int setup(void **state)
{
    (void)state;
    a = arena_new(0);
    codec = wire_codec_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&b);
    arena_free(a);
    wire_codec_free(codec);
    return 0;
}

/* {ping: 1, $db: "admin"} */
static struct bdoc ping(void)
{
    struct buf doc = BUF_INIT;
    struct bw w;
    struct bdoc d;

    bw_init(&w, &doc);
    bw_i32(&w, "ping", 1);
    bw_str(&w, "$db", "admin");
    d = bw_finish(&w);
    d.p = arena_dup(a, d.p, d.len);
    buf_fini(&doc);
    return d;
}

static void head(uint32_t flags)
{
    buf_clear(&b);
    buf_push_le32(&b, 0);
    buf_push_le32(&b, 7);
    buf_push_le32(&b, 0);
    buf_push_le32(&b, WIRE_OP_MSG);
    buf_push_le32(&b, flags);
}

static void section0(struct bdoc d)
{
    buf_push_u8(&b, 0);
    buf_push(&b, d.p, d.len);
}

static void section1(const char *name, struct bdoc d, int n)
{
    buf_push_u8(&b, 1);
    buf_push_le32(&b, (uint32_t)(4 + strlen(name) + 1 + d.len * (size_t)n));
    buf_push(&b, name, strlen(name) + 1);
    for (int i = 0; i < n; i++)
        buf_push(&b, d.p, d.len);
}

static struct slice done(void)
{
    put_le32(b.p, (uint32_t)b.len);
    return buf_view(&b);
}

static void parse_ok(struct slice in, struct wire_msg *m)
{
    size_t need;

    CHECK_RC_OK(wire_frame(in, WIRE_MAX_MESSAGE, &need, &e), &e);
    assert_int_equal(need, in.len);
    CHECK_RC_OK(wire_parse(in, codec, a, m, &e), &e);
}

static void refuse(int code)
{
    struct wire_msg m;

    CHECK_RC_FAILS(wire_parse(done(), codec, a, &m, &e), &e, code);
    assert_int_equal(m.request_id, 7);
}

static void test_msg(void **state)
{
    struct wire_msg m;

    (void)state;
    buf_clear(&b);
    wire_put_msg(&b, 7, WIRE_EXHAUST_ALLOWED | 1u << 30, ping());
    parse_ok(buf_view(&b), &m);
    assert_int_equal(m.request_id, 7);
    assert_int_equal(m.op, WIRE_OP_MSG);
    assert_true(m.flags & WIRE_EXHAUST_ALLOWED);
    assert_true(slice_eq_str(m.db, "admin"));
    assert_int_equal(bval_i32(bdoc_get(m.body, "ping")), 1);
    assert_int_equal(m.n_seqs, 0);
    /* Sections in any order. */
    head(0);
    section1("documents", ping(), 3);
    section0(ping());
    section1("more", ping(), 0);
    parse_ok(done(), &m);
    assert_int_equal(m.n_seqs, 2);
    assert_int_equal(m.seqs[0].n_docs, 3);
    assert_true(slice_eq_str(m.seqs[0].name, "documents"));
    assert_int_equal(m.seqs[1].n_docs, 0);
}

static void test_msg_refused(void **state)
{
    struct bdoc d = ping();

    (void)state;
    head(0);
    refuse(40587);
    head(0);
    section0(d);
    section0(d);
    refuse(40430);
    head(0);
    section0(d);
    section1("x", d, 1);
    section1("x", d, 1);
    refuse(40431);
    head(0);
    section0(d);
    section1("ping", d, 1);
    refuse(40433);
    head(0);
    buf_push_u8(&b, 2);
    refuse(40432);
    for (int bit = 2; bit < 16; bit++) {
        head(1u << bit);
        section0(d);
        refuse(223);
    }
    /* A sequence longer than its message; one without a name; documents that do not fill it. */
    head(0);
    section1("x", d, 1);
    put_le32(b.p + 21, (uint32_t)b.len);
    refuse(ERR_PROTOCOL_ERROR);
    head(0);
    buf_push(&b, "\1\6\0\0\0xy", 7);
    refuse(ERR_PROTOCOL_ERROR);
    head(0);
    section1("x", d, 2);
    put_le32(b.p + 27, d.len - 1);
    refuse(ERR_INVALID_BSON);
    for (int i = 0; i <= WIRE_MAX_SEQUENCES; i++) {
        char name[8];

        if (i == 0)
            head(0);
        snprintf(name, sizeof(name), "s%d", i);
        section1(name, d, 1);
    }
    refuse(ERR_PROTOCOL_ERROR);
}

/* Cut anywhere, and with any one byte changed, a message is parsed or refused, and never read past its end (sanitizers look on). */
static void test_cut_and_changed(void **state)
{
    struct wire_msg m;
    struct slice whole;
    uint8_t *copy;

    (void)state;
    head(0);
    section1("documents", ping(), 2);
    section0(ping());
    whole = done();
    for (size_t n = 0; n < whole.len; n++) {
        copy = mem_dup(whole.p, n);
        if (n >= 4)
            put_le32(copy, (uint32_t)n);
        assert_true(wire_parse(SLICE(copy, n), codec, a, &m, &e).failed);
        err_reset(&e);
        mem_free(copy);
    }
    for (size_t i = 0; i < whole.len; i++) {
        copy = mem_dup(whole.p, whole.len);
        for (int v = 1; v < 256; v <<= 1) {
            copy[i] ^= (uint8_t)v;
            if (wire_parse(SLICE(copy, whole.len), codec, a, &m, &e).failed)
                err_reset(&e);
            copy[i] ^= (uint8_t)v;
        }
        mem_free(copy);
    }
}

static void test_checksum(void **state)
{
    struct wire_msg m;

    (void)state;
    /* RFC 3720 B.4 */
    assert_int_equal(
        wire_crc32c(SLICE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32)),
        0x8a9136aa);
    assert_int_equal(wire_crc32c(SLICE_LIT("123456789")), 0xe3069283);
    head(WIRE_CHECKSUM_PRESENT);
    section0(ping());
    put_le32(b.p, (uint32_t)b.len + 4);
    buf_push_le32(&b, wire_crc32c(buf_view(&b)));
    parse_ok(buf_view(&b), &m);
    b.p[b.len - 1] ^= 1;
    refuse(ERR_PROTOCOL_ERROR);
    head(WIRE_CHECKSUM_PRESENT);
    refuse(ERR_PROTOCOL_ERROR);
}

static void test_query(void **state)
{
    struct wire_msg m;
    struct bw w;
    struct buf wrapped = BUF_INIT;

    (void)state;
    bw_init(&w, &wrapped);
    bw_doc(&w, "$query", ping());
    bw_finish(&w);
    for (int i = 0; i < 5; i++) {
        static const char *const ns[] = { "admin.$cmd", "admin.$cmd", "admin.system.users", "nodot",
                                          "x.$cmd.sys" };

        head(0);
        put_le32(b.p + 12, WIRE_OP_QUERY);
        buf_push(&b, ns[i], strlen(ns[i]) + 1);
        buf_push_le32(&b, 0);
        buf_push_le32(&b, (uint32_t)-1);
        if (i == 0)
            buf_push(&b, ping().p, ping().len);
        else
            buf_push(&b, wrapped.p, wrapped.len);
        if (i >= 2) {
            refuse(ERR_UNSUPPORTED_OP_QUERY_COMMAND);
            continue;
        }
        parse_ok(done(), &m);
        assert_int_equal(m.op, WIRE_OP_QUERY);
        assert_true(slice_eq_str(m.db, "admin"));
        assert_int_equal(bval_i32(bdoc_get(m.body, "ping")), 1);
        buf_push_u8(&b, 0);
        refuse(ERR_INVALID_BSON);
    }
    buf_fini(&wrapped);
}

static void test_frame(void **state)
{
    size_t need;

    (void)state;
    head(0);
    done();
    for (size_t n = 0; n < 16; n++) {
        CHECK_RC_OK(wire_frame(SLICE(b.p, n), WIRE_MAX_MESSAGE, &need, &e), &e);
        assert_int_equal(need, 16);
    }
    CHECK_RC_OK(wire_frame(SLICE(b.p, 16), WIRE_MAX_MESSAGE, &need, &e), &e);
    assert_int_equal(need, b.len);
    put_le32(b.p, 15);
    CHECK_RC_FAILS(wire_frame(SLICE(b.p, 4), WIRE_MAX_MESSAGE, &need, &e), &e, ERR_PROTOCOL_ERROR);
    put_le32(b.p, WIRE_MAX_MESSAGE + 1);
    CHECK_RC_FAILS(wire_frame(SLICE(b.p, 4), WIRE_MAX_MESSAGE, &need, &e), &e, ERR_PROTOCOL_ERROR);
    put_le32(b.p, (uint32_t)-1);
    CHECK_RC_FAILS(wire_frame(SLICE(b.p, 4), WIRE_MAX_MESSAGE, &need, &e), &e, ERR_PROTOCOL_ERROR);
    put_le32(b.p, 100);
    for (uint32_t op = 2001; op <= 2007; op++) {
        put_le32(b.p + 12, op);
        if (op == WIRE_OP_QUERY)
            continue;
        CHECK_RC_FAILS(wire_frame(SLICE(b.p, 16), WIRE_MAX_MESSAGE, &need, &e), &e,
                       ERR_PROTOCOL_ERROR);
    }
}

static void test_replies(void **state)
{
    struct wire_reply r;
    struct wire_msg m;

    (void)state;
    for (int kind = WIRE_REPLY_MSG; kind <= WIRE_REPLY_QUERY; kind++) {
        struct bdoc d = ping();

        buf_clear(&b);
        buf_push(&b, "before", 6);
        wire_reply_begin(&r, (enum wire_reply_kind)kind, &b);
        buf_push(&b, d.p, d.len);
        wire_reply_end(&r, 3, 7, WIRE_MORE_TO_COME, &b);
        parse_ok(SLICE(b.p + 6, b.len - 6), &m);
        assert_int_equal(m.op, kind == WIRE_REPLY_MSG ? WIRE_OP_MSG : WIRE_OP_REPLY);
        assert_int_equal(m.request_id, 3);
        assert_int_equal(m.response_to, 7);
        if (kind == WIRE_REPLY_MSG)
            assert_int_equal(m.flags, WIRE_MORE_TO_COME);
        assert_true(bval_identical(bval_of_doc(m.body, BT_DOCUMENT), bval_of_doc(d, BT_DOCUMENT)));
    }
}

static struct bdoc long_doc(void)
{
    struct buf doc = BUF_INIT;
    struct bw w;
    struct bdoc d;

    bw_init(&w, &doc);
    for (int i = 0; i < 1000; i++)
        bw_str(&w, "field", "the same words again and again");
    d = bw_finish(&w);
    d.p = arena_dup(a, d.p, d.len);
    buf_fini(&doc);
    return d;
}

/* A frame of Zstandard need not say what it unfolds to: then the message's size is all there is, and is held to the limit. */
static void test_zstd_that_does_not_say(void)
{
    uint8_t packed[1024];
    ZSTD_CCtx *z = ZSTD_createCCtx();
    struct buf inner = BUF_INIT;
    struct wire_msg m;

    wire_put_msg(&inner, 7, 0, long_doc());
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 0)));
    size_t n = ZSTD_compress2(z, packed, sizeof(packed), inner.p + 16, inner.len - 16);
    assert_false(ZSTD_isError(n));
    assert_true(ZSTD_getFrameContentSize(packed, n) == ZSTD_CONTENTSIZE_UNKNOWN);
    for (int lies = 0; lies <= 1; lies++) {
        buf_clear(&b);
        buf_push_le32(&b, (uint32_t)(25 + n));
        buf_push_le32(&b, 7);
        buf_push_le32(&b, 0);
        buf_push_le32(&b, WIRE_OP_COMPRESSED);
        buf_push_le32(&b, WIRE_OP_MSG);
        buf_push_le32(&b, lies ? WIRE_MAX_MESSAGE : (uint32_t)(inner.len - 16));
        buf_push_u8(&b, WIRE_ZSTD);
        buf_push(&b, packed, n);
        size_t used = arena_used(a);
        if (lies) {
            CHECK_RC_FAILS(wire_parse(buf_view(&b), codec, a, &m, &e), &e, ERR_PROTOCOL_ERROR);
            assert_in_range(arena_used(a) - used, 0, 65536);
        } else {
            parse_ok(buf_view(&b), &m);
        }
    }
    ZSTD_freeCCtx(z);
    buf_fini(&inner);
}

static void test_compression(void **state)
{
    struct bdoc d = long_doc();
    struct wire_msg m;

    (void)state;
    for (int c = WIRE_NOOP; c < WIRE_COMPRESSOR_NR; c++) {
        assert_int_equal(wire_compressor_find(
                             slice_str(wire_compressor_name((enum wire_compressor)c))),
                         c);
        buf_clear(&b);
        wire_put_msg(&b, 7, 0, d);
        CHECK_RC_OK(wire_compress(codec, (enum wire_compressor)c, 0, &b, &e), &e);
        assert_int_equal(get_le32(b.p + 12), WIRE_OP_COMPRESSED);
        parse_ok(buf_view(&b), &m);
        assert_true(m.compressed);
        assert_int_equal(m.compressor, c);
        assert_int_equal(m.request_id, 7);
        assert_true(bval_identical(bval_of_doc(m.body, BT_DOCUMENT), bval_of_doc(d, BT_DOCUMENT)));
        CHECK_RC_FAILS(wire_parse(buf_view(&b), NULL, a, &m, &e), &e, ERR_PROTOCOL_ERROR);
        /* A size that is one off either way, or beyond all bounds, or far more than the data can hold. */
        for (int i = 0; i < 4; i++) {
            uint32_t was = get_le32(b.p + 20),
                     lie[] = { was + 1, was - 1, 0x7fffffff, WIRE_MAX_MESSAGE - 16 };

            put_le32(b.p + 20, lie[i]);
            size_t used = arena_used(a);
            refuse(ERR_PROTOCOL_ERROR);
            if (i >= 2) /* no room is made for what cannot come */
                assert_in_range(arena_used(a) - used, 0, 65536);
            put_le32(b.p + 20, was);
        }
        b.p[24] = 9;
        refuse(ERR_PROTOCOL_ERROR);
        b.p[24] = (uint8_t)c;
        put_le32(b.p + 16, WIRE_OP_COMPRESSED);
        refuse(ERR_PROTOCOL_ERROR);
        put_le32(b.p + 16, WIRE_OP_MSG);
        b.len -= 5;
        refuse(ERR_PROTOCOL_ERROR);
    }
    test_zstd_that_does_not_say();
    assert_int_equal(wire_compressor_find(SLICE_LIT("lzma")), -1);
    /* What does not shrink goes out as it is. */
    buf_clear(&b);
    wire_put_msg(&b, 7, 0, ping());
    CHECK_RC_OK(wire_compress(codec, WIRE_ZSTD, 0, &b, &e), &e);
    assert_int_equal(get_le32(b.p + 12), WIRE_OP_MSG);
}

static void test_depth(void **state)
{
    struct wire_msg m;

    (void)state;
    for (int depth = WIRE_MAX_DEPTH - 1; depth <= WIRE_MAX_DEPTH + 1; depth += 2) {
        struct buf doc = BUF_INIT;
        struct bw w;

        bw_init(&w, &doc);
        for (int i = 1; i < depth; i++)
            bw_doc_begin(&w, "a");
        for (int i = 1; i < depth; i++)
            bw_doc_end(&w);
        bw_finish(&w);
        head(0);
        section0((struct bdoc){ .p = doc.p, .len = (uint32_t)doc.len });
        if (depth > WIRE_MAX_DEPTH)
            refuse(ERR_OVERFLOW);
        else
            parse_ok(done(), &m);
        buf_fini(&doc);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_msg, setup, teardown),
    cmocka_unit_test_setup_teardown(test_msg_refused, setup, teardown),
    cmocka_unit_test_setup_teardown(test_cut_and_changed, setup, teardown),
    cmocka_unit_test_setup_teardown(test_checksum, setup, teardown),
    cmocka_unit_test_setup_teardown(test_query, setup, teardown),
    cmocka_unit_test_setup_teardown(test_frame, setup, teardown),
    cmocka_unit_test_setup_teardown(test_replies, setup, teardown),
    cmocka_unit_test_setup_teardown(test_compression, setup, teardown),
    cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
};

TEST_MAIN(tests)
