/* test_kmip.c - KMIP: the codec, requests byte by byte against another implementation's, answers that are taken and all that are refused. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kmsg_kmip.h"
#include "kmsg/kmsg_ttlv.h"
#include "unit.h"

/* PyKMIP 0.11.0's encoding of the same requests. */
static const char describe_hex[] =
    "42007801000001384200770100000048420069010000002042006a02000000040000000100000000"
    "42006b020000000400000004000000004200500200000004000040000000000042000d0200000004"
    "000000010000000042000f01000000e042005c05000000040000000b0000000042007901000000c8"
    "42009407000000056b65792d3100000042000a0700000005537461746500000042000a0700000017"
    "43727970746f6772617068696320416c676f726974686d0042000a070000001443727970746f6772"
    "6170686963204c656e6774680000000042000a070000001843727970746f67726170686963205573"
    "616765204d61736b42000a070000000f41637469766174696f6e20446174650042000a0700000011"
    "446561637469766174696f6e20446174650000000000000042000a07000000044c696e6b00000000";
static const char encrypt_gcm_hex[] =
    "42007801000000d84200770100000048420069010000002042006a02000000040000000100000000"
    "42006b020000000400000004000000004200500200000004000040000000000042000d0200000004"
    "000000010000000042000f010000008042005c05000000040000001f000000004200790100000068"
    "42009407000000056b65792d3100000042002b010000004042001105000000040000000900000000"
    "420028050000000400000003000000004200c5060000000800000000000000014200ce0200000004"
    "00000010000000004200c208000000086162636465666768";
static const char encrypt_cbc_hex[] =
    "42007801000000d84200770100000048420069010000002042006a02000000040000000100000000"
    "42006b020000000400000002000000004200500200000004000040000000000042000d0200000004"
    "000000010000000042000f010000008042005c05000000040000001f000000004200790100000068"
    "42009407000000056b65792d3100000042002b010000004042001105000000040000000100000000"
    "42005f05000000040000000300000000420028050000000400000003000000004200c50600000008"
    "00000000000000014200c208000000086162636465666768";
static const char decrypt_gcm_hex[] =
    "42007801000000f84200770100000048420069010000002042006a02000000040000000100000000"
    "42006b020000000400000004000000004200500200000004000040000000000042000d0200000004"
    "000000010000000042000f01000000a042005c050000000400000020000000004200790100000088"
    "42009407000000056b65792d3100000042002b010000003042001105000000040000000900000000"
    "420028050000000400000003000000004200ce020000000400000010000000004200c20800000005"
    "434343434300000042003d080000000c4e4e4e4e4e4e4e4e4e4e4e4e000000004200ff0800000010"
    "54545454545454545454545454545454";

#define ID "key-1"
#define WRAPPED "\x0c\x10NNNNNNNNNNNNTTTTTTTTTTTTTTTTCCCCC"

static void check_request(struct buf *got, const char *want_hex)
{
    struct buf hex = BUF_INIT;

    hex_encode(buf_view(got), &hex);
    assert_string_equal(buf_cstr(&hex), want_hex);
    buf_fini(&hex);
    buf_clear(got);
}

static void requests_are_exact(void **state)
{
    struct slice plain = slice_str("abcdefgh");
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    (void)state;

    kmsg_kmip_describe(KMSG_KMIP_GCM, ID, &b);
    check_request(&b, describe_hex);
    kmsg_kmip_encrypt(KMSG_KMIP_GCM, ID, plain, &b);
    check_request(&b, encrypt_gcm_hex);
    kmsg_kmip_encrypt(KMSG_KMIP_CBC, ID, plain, &b);
    check_request(&b, encrypt_cbc_hex);
    CHECK_RC_OK(kmsg_kmip_decrypt(KMSG_KMIP_GCM, ID, SLICE_LIT(WRAPPED), &b, &e), &e);
    check_request(&b, decrypt_gcm_hex);
    buf_fini(&b);
}

static void wrapped_keys_are_checked(void **state)
{
    static const char bad[][40] = { "",         "\x0c",
                                    "\xff\xff", "\x0c\x10NNNN",
                                    "\x0c\x10", "\x04\x10NNNNTTTTTTTTTTTTTTTTC" };
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_RC_FAILS(kmsg_kmip_decrypt(KMSG_KMIP_GCM, ID, slice_str(bad[i]), &b, &e), &e,
                       ERR_BAD_VALUE);
    /* what was wrapped in one mode is nothing in the other */
    CHECK_RC_FAILS(kmsg_kmip_decrypt(KMSG_KMIP_CBC, ID, SLICE_LIT(WRAPPED), &b, &e), &e,
                   ERR_BAD_VALUE);
    assert_int_equal(b.len, 0);
    for (size_t n = 0; n < 31; n++) /* nonce, tag and nothing behind them */
        CHECK_RC_FAILS(kmsg_kmip_decrypt(KMSG_KMIP_GCM, ID, SLICE(WRAPPED, n), &b, &e), &e,
                       ERR_BAD_VALUE);
    buf_fini(&b);
}

static void urls_name_a_key(void **state)
{
    static const struct {
        const char *url, *host, *id; /* host NULL: refused */
        enum kmsg_kmip_mode mode;
    } cases[] = {
        { "kmip://h/1", "h:5696", "1", KMSG_KMIP_GCM },
        { "KMIP://H.Example:1234/A-b_c.d:e", "h.example:1234", "A-b_c.d:e", KMSG_KMIP_GCM },
        { "kmip://h/1?mode=gcm", "h:5696", "1", KMSG_KMIP_GCM },
        { "kmip://h/1?mode=cbc", "h:5696", "1", KMSG_KMIP_CBC },
        { "kmip://[::1]/1", "[::1]:5696", "1", KMSG_KMIP_GCM },
        { "kmip://[::1]:99/1", "[::1]:99", "1", KMSG_KMIP_GCM },
        { "kmip://h/", NULL, NULL, 0 },
        { "kmip://h", NULL, NULL, 0 },
        { "kmip:///1", NULL, NULL, 0 },
        { "kmip://:1/1", NULL, NULL, 0 },
        { "kmip://h:/1", NULL, NULL, 0 },
        { "kmip://h:x/1", NULL, NULL, 0 },
        { "kmip://[::1/1", NULL, NULL, 0 },
        { "kmip://u@h/1", NULL, NULL, 0 },
        { "kmip://h/a/b", NULL, NULL, 0 },
        { "kmip://h/a%20b", NULL, NULL, 0 },
        { "kmip://h/a?mode=ecb", NULL, NULL, 0 },
        { "kmip://h/a?mode=cbc&x", NULL, NULL, 0 },
        { "kmip://h/12345678901234567890123456789012345678901234567890123456789012345", NULL, NULL,
          0 },
        { "https://h/1", NULL, NULL, 0 },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_kmip_target t;
        struct err e = { 0 };
        rc_t rc = kmsg_kmip_target(cases[i].url, &t, &e);
        if (rc.failed != (cases[i].host == NULL))
            fail_msg("\"%s\"", cases[i].url);
        assert_string_equal(t.host, cases[i].host ? cases[i].host : "");
        assert_string_equal(t.id, cases[i].host ? cases[i].id : "");
        assert_int_equal(t.mode, cases[i].mode);
    }
}

/* ---- answers ---- */

enum {
    ATTRIBUTE = 0x420008,
    NAME = 0x42000a,
    VALUE = 0x42000b,
    COUNT = 0x42000d,
    ITEM = 0x42000f,
    NONCE = 0x42003d,
    LINK_TYPE = 0x42004b,
    LINKED = 0x42004c,
    OPERATION = 0x42005c,
    VERSION = 0x420069,
    MAJOR = 0x42006a,
    MINOR = 0x42006b,
    HEADER = 0x42007a,
    MESSAGE = 0x42007b,
    PAYLOAD = 0x42007c,
    RESULT_TEXT = 0x42007d,
    REASON = 0x42007e,
    STATUS = 0x42007f,
    TIME_STAMP = 0x420092,
    UID = 0x420094,
    DATA = 0x4200c2,
    TAG = 0x4200ff,
};

static void put_header(int minor, struct buf *b)
{
    size_t h = kmsg_ttlv_begin(b, HEADER), v = kmsg_ttlv_begin(b, VERSION);

    kmsg_ttlv_put_int(b, MAJOR, 1);
    kmsg_ttlv_put_int(b, MINOR, minor);
    kmsg_ttlv_end(b, v);
    buf_push_be32(b, TIME_STAMP << 8 | KMSG_TTLV_DATE_TIME);
    buf_push_be32(b, 8);
    buf_push_be64(b, 1700000000);
    kmsg_ttlv_put_int(b, COUNT, 1);
    kmsg_ttlv_end(b, h);
}

static void put_success(enum kmsg_kmip_op op, struct slice payload, struct buf *b)
{
    size_t m = kmsg_ttlv_begin(b, MESSAGE);

    put_header(4, b);
    size_t i = kmsg_ttlv_begin(b, ITEM);
    kmsg_ttlv_put_enum(b, OPERATION, op);
    kmsg_ttlv_put_enum(b, STATUS, 0);
    size_t p = kmsg_ttlv_begin(b, PAYLOAD);
    buf_push(b, payload.p, payload.len);
    kmsg_ttlv_end(b, p);
    kmsg_ttlv_end(b, i);
    kmsg_ttlv_end(b, m);
}

static void put_refusal(uint32_t reason, const char *text, struct buf *b)
{
    size_t m = kmsg_ttlv_begin(b, MESSAGE);

    put_header(0, b); /* a server that knows no newer version answers so */
    size_t i = kmsg_ttlv_begin(b, ITEM);
    kmsg_ttlv_put_enum(b, STATUS, 1);
    kmsg_ttlv_put_enum(b, REASON, reason);
    kmsg_ttlv_put_text(b, RESULT_TEXT, text);
    kmsg_ttlv_end(b, i);
    kmsg_ttlv_end(b, m);
}

static void plain_payload(struct buf *b)
{
    kmsg_ttlv_put_text(b, UID, ID);
    kmsg_ttlv_put_bytes(b, DATA, SLICE("abcdefghijklmnopqrstuvwxyz012345", 32));
}

/* True when everything about the answer to a decryption is right. */
static bool accepts(struct slice message)
{
    struct kmsg_kmip_answer a;
    char cause[KMSG_CAUSE_MAX];
    struct slice plain;
    struct err e = { 0 };

    if (kmsg_kmip_open(KMSG_KMIP_GCM, KMSG_KMIP_OP_DECRYPT, message, &a, cause) != KMSG_OK)
        return false;
    return !kmsg_kmip_read_plain(a.payload, ID, 32, &plain, &e).failed;
}

static void answers_are_cut_and_changed(void **state)
{
    struct buf payload = BUF_INIT, b = BUF_INIT;
    size_t taken = 0;
    (void)state;

    plain_payload(&payload);
    put_success(KMSG_KMIP_OP_DECRYPT, buf_view(&payload), &b);
    assert_int_equal(kmsg_kmip_frame(buf_view(&b)), b.len);
    assert_true(accepts(buf_view(&b)));
    for (size_t n = 0; n < b.len; n++) {
        /* so that a sanitizer sees each byte past the end */
        uint8_t *exact = mem_dup(b.p, n ? n : 1);
        assert_false(accepts(SLICE(exact, n)));
        mem_free(exact);
    }
    /* a bit of the date, of the text itself, or of padding may change; nothing else */
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        taken += accepts(buf_view(&b));
        b.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* date but its sign: 63; text: 256; padding: of four numbers of 4 bytes before and two enumerations, 5 * 32, and of the id, 24 */
    assert_int_equal(taken, 63 + 256 + 5 * 32 + 24);
    for (size_t n = 1; n < 9; n++) { /* something behind it */
        buf_push_u8(&b, 0);
        assert_false(accepts(buf_view(&b)));
    }
    buf_fini(&payload);
    buf_fini(&b);
}

static void a_plaintext_is_no_zeroes(void **state)
{
    struct buf payload = BUF_INIT, b = BUF_INIT;
    (void)state;

    for (int last = 0; last < 2; last++) {
        uint8_t text[32] = { [31] = (uint8_t)last };
        kmsg_ttlv_put_text(&payload, UID, ID);
        kmsg_ttlv_put_bytes(&payload, DATA, SLICE(text, sizeof text));
        put_success(KMSG_KMIP_OP_DECRYPT, buf_view(&payload), &b);
        assert_int_equal(accepts(buf_view(&b)), last);
        buf_clear(&payload);
        buf_clear(&b);
    }
    buf_fini(&payload);
    buf_fini(&b);
}

static void items_are_whole_and_single(void **state)
{
    struct kmsg_ttlv t;
    struct slice value;
    struct buf b = BUF_INIT;
    (void)state;

    /* the padding of a text is a part of it; a flag is 0 or 1 */
    struct slice cut = SLICE_LIT("\x42\x00\x94\x07\x00\x00\x00\x05key-1");
    struct slice flag = SLICE_LIT("\x42\x00\xc5\x06\x00\x00\x00\x08\0\0\0\0\0\0\0\2");
    assert_false(kmsg_ttlv_next(&cut, &t));
    assert_false(kmsg_ttlv_next(&flag, &t));
    kmsg_ttlv_put_text(&b, UID, "a");
    assert_int_equal(kmsg_ttlv_find(buf_view(&b), UID, KMSG_TTLV_TEXT, &value), KMSG_TTLV_FOUND);
    assert_int_equal(kmsg_ttlv_find(buf_view(&b), UID, KMSG_TTLV_BYTES, &value),
                     KMSG_TTLV_MALFORMED);
    assert_int_equal(kmsg_ttlv_find(buf_view(&b), DATA, KMSG_TTLV_BYTES, &value), KMSG_TTLV_ABSENT);
    kmsg_ttlv_put_text(&b, UID, "b");
    assert_int_equal(kmsg_ttlv_find(buf_view(&b), UID, KMSG_TTLV_TEXT, &value),
                     KMSG_TTLV_MALFORMED);
    assert_int_equal(value.len, 0);
    buf_fini(&b);
}

static void reasons_have_classes(void **state)
{
    static const struct {
        uint32_t reason;
        enum kmsg_class class;
    } cases[] = {
        { 0x01, KMSG_NOT_FOUND }, { 0x02, KMSG_BAD },         { 0x03, KMSG_DENIED },
        { 0x04, KMSG_BAD },       { 0x07, KMSG_BAD },         { 0x0a, KMSG_BAD },
        { 0x0b, KMSG_BAD },       { 0x0c, KMSG_DENIED },      { 0x0d, KMSG_DENIED },
        { 0x36, KMSG_NOT_FOUND }, { 0x39, KMSG_DENIED },      { 0x3a, KMSG_THROTTLED },
        { 0x43, KMSG_DENIED },    { 0x44, KMSG_UNREACHABLE }, { 0x100, KMSG_UNREACHABLE },
        { 0, KMSG_BAD },          { 0xffffffff, KMSG_BAD },
    };
    struct buf b = BUF_INIT;
    struct kmsg_kmip_answer a;
    char cause[KMSG_CAUSE_MAX];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_clear(&b);
        put_refusal(cases[i].reason, "no\n\x1b[2Jno", &b);
        enum kmsg_class c =
            kmsg_kmip_open(KMSG_KMIP_GCM, KMSG_KMIP_OP_DECRYPT, buf_view(&b), &a, cause);
        if (c != cases[i].class)
            fail_msg("reason 0x%x: class %d", cases[i].reason, (int)c);
        assert_non_null(strstr(cause, ": no [2Jno")); /* what a terminal would obey is gone */
        assert_int_equal(a.payload.len, 0);
        assert_int_equal(a.date_s, 1700000000);
    }
    buf_clear(&b);
    put_refusal(0x0c, "", &b);
    assert_int_equal(kmsg_kmip_open(KMSG_KMIP_CBC, KMSG_KMIP_OP_ENCRYPT, buf_view(&b), &a, cause),
                     KMSG_DENIED);
    assert_string_equal(cause, "Permission Denied (0xc)");
    buf_fini(&b);
}

static void frames_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("\x42\x00\x7b\x01\x00\x00\x00")), 0);
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("\x42\x00\x7b\x01\x00\x00\x00\x10")), 24);
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("\x42\x00\x7b\x01\x00\x00\x00\x11")), SIZE_MAX);
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("\x42\x00\x7b\x01\xff\xff\xff\xf8")), SIZE_MAX);
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("\x42\x00\x7b\x01\x00\x00\x40\x00")), SIZE_MAX);
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("\x42\x00\x78\x01\x00\x00\x00\x10")), SIZE_MAX);
    assert_int_equal(kmsg_kmip_frame(SLICE_LIT("HTTP/1.1")), SIZE_MAX);
}

static void begin_attribute(const char *name, size_t *a, struct buf *b)
{
    *a = kmsg_ttlv_begin(b, ATTRIBUTE);
    kmsg_ttlv_put_text(b, NAME, name);
}

static void put_number(const char *name, bool is_enum, int v, struct buf *b)
{
    size_t a;

    begin_attribute(name, &a, b);
    if (is_enum)
        kmsg_ttlv_put_enum(b, VALUE, (uint32_t)v);
    else
        kmsg_ttlv_put_int(b, VALUE, v);
    kmsg_ttlv_end(b, a);
}

static void put_link(uint32_t type, const char *to, struct buf *b)
{
    size_t a;

    begin_attribute("Link", &a, b);
    size_t v = kmsg_ttlv_begin(b, VALUE);
    kmsg_ttlv_put_enum(b, LINK_TYPE, type);
    kmsg_ttlv_put_text(b, LINKED, to);
    kmsg_ttlv_end(b, v);
    kmsg_ttlv_end(b, a);
}

static void put_key(int algorithm, int bits, int usage, struct buf *b)
{
    kmsg_ttlv_put_text(b, UID, ID);
    put_number("State", true, KMSG_KMIP_ACTIVE, b);
    put_number("Cryptographic Algorithm", true, algorithm, b);
    put_number("Cryptographic Length", false, bits, b);
    put_number("Cryptographic Usage Mask", false, usage, b);
}

static enum err_code read_key(struct buf *b, struct kmsg_kmip_key *k)
{
    struct err e = { 0 };
    rc_t rc = kmsg_kmip_read_key(buf_view(b), ID, k, &e);

    assert_int_equal(rc.failed, e.code != ERR_NONE);
    return e.code;
}

static void keys_are_described(void **state)
{
    struct buf b = BUF_INIT;
    struct kmsg_kmip_key k;
    (void)state;

    put_key(3, 256, 4, &b);
    put_link(0x105, "older", &b);
    put_link(0x106, "newer", &b);
    put_number("x-vendor", true, 1, &b);
    assert_int_equal(read_key(&b, &k), ERR_NONE);
    assert_true(k.can_wrap && !k.can_unwrap);
    assert_string_equal(k.replacement, "newer");
    assert_int_equal(k.state, KMSG_KMIP_ACTIVE);
    put_link(0x106, "another", &b); /* two successors */
    assert_int_equal(read_key(&b, &k), ERR_KEY_BAD_ANSWER);
    assert_string_equal(k.replacement, "");

    static const int kinds[][2] = { { 3, 128 }, { 3, 0 }, { 4, 256 } };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        buf_clear(&b);
        put_key(kinds[i][0], kinds[i][1], 12, &b);
        assert_int_equal(read_key(&b, &k), ERR_CONFIG);
    }
    buf_clear(&b); /* one attribute twice */
    put_key(3, 256, 12, &b);
    put_number("State", true, KMSG_KMIP_ACTIVE, &b);
    assert_int_equal(read_key(&b, &k), ERR_KEY_BAD_ANSWER);
    buf_clear(&b); /* of another type */
    put_key(3, 256, 12, &b);
    put_number("Activation Date", false, 1, &b);
    assert_int_equal(read_key(&b, &k), ERR_KEY_BAD_ANSWER);
    buf_clear(&b); /* most are missing */
    kmsg_ttlv_put_text(&b, UID, ID);
    put_number("State", true, KMSG_KMIP_ACTIVE, &b);
    assert_int_equal(read_key(&b, &k), ERR_KEY_BAD_ANSWER);
    buf_clear(&b); /* a successor whose name no envelope can hold */
    put_key(3, 256, 12, &b);
    put_link(0x106, "a b", &b);
    assert_int_equal(read_key(&b, &k), ERR_KEY_BAD_ANSWER);
    buf_fini(&b);
}

static void ciphertexts_have_their_lengths(void **state)
{
    static const struct {
        enum kmsg_kmip_mode mode;
        size_t data, nonce, tag;
        bool taken;
    } cases[] = {
        { KMSG_KMIP_GCM, 32, 12, 16, true },  { KMSG_KMIP_GCM, 32, 16, 16, true },
        { KMSG_KMIP_GCM, 32, 11, 16, false }, { KMSG_KMIP_GCM, 32, 17, 16, false },
        { KMSG_KMIP_GCM, 32, 12, 12, false }, { KMSG_KMIP_GCM, 31, 12, 16, false },
        { KMSG_KMIP_GCM, 48, 12, 16, false }, { KMSG_KMIP_GCM, 32, 12, 0, false },
        { KMSG_KMIP_CBC, 48, 16, 0, true },   { KMSG_KMIP_CBC, 48, 12, 0, false },
        { KMSG_KMIP_CBC, 32, 16, 0, false },  { KMSG_KMIP_CBC, 48, 16, 16, false },
        { KMSG_KMIP_CBC, 48, 0, 0, false },   { KMSG_KMIP_CBC, 0, 16, 0, false },
    };
    uint8_t bytes[64] = { 1 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf p = BUF_INIT, out = BUF_INIT, again = BUF_INIT;
        struct err e = { 0 };
        kmsg_ttlv_put_text(&p, UID, ID);
        if (cases[i].data)
            kmsg_ttlv_put_bytes(&p, DATA, SLICE(bytes, cases[i].data));
        if (cases[i].nonce)
            kmsg_ttlv_put_bytes(&p, NONCE, SLICE(bytes, cases[i].nonce));
        if (cases[i].tag)
            kmsg_ttlv_put_bytes(&p, TAG, SLICE(bytes, cases[i].tag));
        rc_t rc = kmsg_kmip_read_wrapped(cases[i].mode, buf_view(&p), ID, 32, &out, &e);
        if (rc.failed == cases[i].taken || (out.len == 0) != rc.failed)
            fail_msg("case %zu", i);
        if (!rc.failed)
            CHECK_RC_OK(kmsg_kmip_decrypt(cases[i].mode, ID, buf_view(&out), &again, &e), &e);
        buf_fini(&p);
        buf_fini(&out);
        buf_fini(&again);
    }
}

static void algorithms_have_names(void **state)
{
    enum kmsg_kmip_mode m;
    (void)state;

    for (int i = KMSG_KMIP_GCM; i <= KMSG_KMIP_CBC; i++)
        assert_true(kmsg_kmip_mode_of(kmsg_kmip_alg((enum kmsg_kmip_mode)i), &m) && (int)m == i);
    assert_false(kmsg_kmip_mode_of("KMIP-AES", &m));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(requests_are_exact),
    cmocka_unit_test(wrapped_keys_are_checked),
    cmocka_unit_test(urls_name_a_key),
    cmocka_unit_test(answers_are_cut_and_changed),
    cmocka_unit_test(reasons_have_classes),
    cmocka_unit_test(a_plaintext_is_no_zeroes),
    cmocka_unit_test(items_are_whole_and_single),
    cmocka_unit_test(frames_are_bounded),
    cmocka_unit_test(keys_are_described),
    cmocka_unit_test(ciphertexts_have_their_lengths),
    cmocka_unit_test(algorithms_have_names),
};

TEST_MAIN(tests)
