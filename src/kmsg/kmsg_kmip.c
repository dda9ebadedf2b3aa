/* kmsg_kmip.c - see kmsg/kmsg_kmip.h; spec: KMIP 1.4, 4.11 "Get Attributes", 4.29 "Encrypt", 4.30 "Decrypt", 7 "Message Contents".
 *
 *   RequestMessage                                 ResponseMessage
 *     RequestHeader                                  ResponseHeader
 *       ProtocolVersion, MaximumResponseSize,          ProtocolVersion, TimeStamp, BatchCount
 *       BatchCount
 *     BatchItem                                      BatchItem
 *       Operation                                      Operation, ResultStatus [ResultReason, ResultMessage]
 *       RequestPayload                                 ResponsePayload
 */
#include "kmsg/kmsg_kmip.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "kmsg/kmsg_ttlv.h"
#include "kmsg_priv.h"

/* KMIP 1.4, 9.1.3.1 "Tags" */
enum {
    TAG_ATTRIBUTE = 0x420008,
    TAG_ATTRIBUTE_NAME = 0x42000a,
    TAG_ATTRIBUTE_VALUE = 0x42000b,
    TAG_BATCH_COUNT = 0x42000d,
    TAG_BATCH_ITEM = 0x42000f,
    TAG_BLOCK_CIPHER_MODE = 0x420011,
    TAG_CRYPTOGRAPHIC_ALGORITHM = 0x420028,
    TAG_CRYPTOGRAPHIC_PARAMETERS = 0x42002b,
    TAG_NONCE = 0x42003d, /* IV/Counter/Nonce */
    TAG_LINK_TYPE = 0x42004b,
    TAG_LINKED_OBJECT = 0x42004c,
    TAG_MAXIMUM_RESPONSE_SIZE = 0x420050,
    TAG_OPERATION = 0x42005c,
    TAG_PADDING_METHOD = 0x42005f,
    TAG_PROTOCOL_VERSION = 0x420069,
    TAG_PROTOCOL_MAJOR = 0x42006a,
    TAG_PROTOCOL_MINOR = 0x42006b,
    TAG_REQUEST_HEADER = 0x420077,
    TAG_REQUEST_MESSAGE = 0x420078,
    TAG_REQUEST_PAYLOAD = 0x420079,
    TAG_RESPONSE_HEADER = 0x42007a,
    TAG_RESPONSE_MESSAGE = 0x42007b,
    TAG_RESPONSE_PAYLOAD = 0x42007c,
    TAG_RESULT_MESSAGE = 0x42007d,
    TAG_RESULT_REASON = 0x42007e,
    TAG_RESULT_STATUS = 0x42007f,
    TAG_TIME_STAMP = 0x420092,
    TAG_UNIQUE_IDENTIFIER = 0x420094,
    TAG_DATA = 0x4200c2,
    TAG_RANDOM_IV = 0x4200c5,
    TAG_TAG_LENGTH = 0x4200ce,
    TAG_AUTHENTICATION_TAG = 0x4200ff,
};

enum {
    ALGORITHM_AES = 3,
    MODE_CBC = 1,
    MODE_GCM = 9,
    PADDING_PKCS5 = 3,
    LINK_REPLACEMENT = 0x106,
    USAGE_ENCRYPT = 4,
    USAGE_DECRYPT = 8,
};
enum { KEY_BITS = 256, BLOCK_LEN = 16, TAG_LEN = 16, NONCE_MIN = 12, NONCE_MAX = 16 };

/* ---- where a key lives ---- */

static bool is_id(const char *s, size_t len)
{
    if (len < 1 || len > KMSG_KMIP_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !memchr("-_.:", s[i], 4))
            return false;
    return true;
}

bool kmsg_kmip_is_id(const char *id)
{
    return is_id(id, strlen(id));
}

/* "host", "host:5696", "[::1]:5696" */
static bool copy_host(const char *s, size_t len, char out[KMSG_KMIP_HOST_MAX])
{
    const char *colon = len > 0 && s[0] == '[' ? memchr(s, ']', len) : s;

    if (!colon || len < 1 || len > KMSG_KMIP_HOST_MAX - 8)
        return false;
    colon = memchr(colon, ':', len - (size_t)(colon - s));
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !memchr("-.:[]", s[i], 5))
            return false;
    if (colon == s || (colon && colon + 1 == s + len))
        return false;
    for (const char *c = colon ? colon + 1 : s + len; c < s + len; c++)
        if (!isdigit((unsigned char)*c))
            return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)s[i]);
    out[len] = 0;
    if (!colon)
        (void)snprintf(out + len, KMSG_KMIP_HOST_MAX - len, ":%d", KMSG_KMIP_PORT);
    return true;
}

static bool cut_url(const char *url, struct kmsg_kmip_target *t)
{
    static const char scheme[] = "kmip://";

    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *host = url + sizeof scheme - 1;
    size_t host_len = strcspn(host, "/");
    if (host[host_len] != '/' || !copy_host(host, host_len, t->host))
        return false;
    const char *id = host + host_len + 1;
    size_t id_len = strcspn(id, "?");
    if (!is_id(id, id_len))
        return false;
    memcpy(t->id, id, id_len);
    t->id[id_len] = 0;
    if (strcmp(id + id_len, "?mode=cbc") == 0)
        t->mode = KMSG_KMIP_CBC;
    return t->mode == KMSG_KMIP_CBC || !id[id_len] || strcmp(id + id_len, "?mode=gcm") == 0;
}

RC kmsg_kmip_target(const char *url, struct kmsg_kmip_target *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (cut_url(url, out))
        return RC_OK;
    memset(out, 0, sizeof *out);
    return kmsg__bad_url(
        e, url,
        "a KMIP key: kmip://HOST:PORT/UNIQUE-ID is, with ?mode=cbc for a server without GCM");
}

static const char *const algs[] = { [KMSG_KMIP_GCM] = "KMIP-AES-GCM",
                                    [KMSG_KMIP_CBC] = "KMIP-AES-CBC" };

const char *kmsg_kmip_alg(enum kmsg_kmip_mode m)
{
    return algs[m];
}

bool kmsg_kmip_mode_of(const char *alg, enum kmsg_kmip_mode *out)
{
    for (size_t i = 0; i < ARRAY_LEN(algs); i++)
        if (strcmp(alg, algs[i]) == 0) {
            *out = (enum kmsg_kmip_mode)i;
            return true;
        }
    return false;
}

/* ---- requests ---- */

/* The tag of an authenticated encryption is of 1.4 and has no place in an earlier message. */
static int32_t minor_of(enum kmsg_kmip_mode m)
{
    return m == KMSG_KMIP_GCM ? 4 : 2;
}

/* The structures that are open around a payload. */
struct opened {
    size_t message, item, payload;
};

static struct opened open_request(enum kmsg_kmip_mode m, enum kmsg_kmip_op op, const char *id,
                                  struct buf *out)
{
    struct opened o;

    o.message = kmsg_ttlv_begin(out, TAG_REQUEST_MESSAGE);
    size_t header = kmsg_ttlv_begin(out, TAG_REQUEST_HEADER);
    size_t version = kmsg_ttlv_begin(out, TAG_PROTOCOL_VERSION);
    kmsg_ttlv_put_int(out, TAG_PROTOCOL_MAJOR, 1);
    kmsg_ttlv_put_int(out, TAG_PROTOCOL_MINOR, minor_of(m));
    kmsg_ttlv_end(out, version);
    kmsg_ttlv_put_int(out, TAG_MAXIMUM_RESPONSE_SIZE, KMSG_KMIP_ANSWER_MAX);
    kmsg_ttlv_put_int(out, TAG_BATCH_COUNT, 1);
    kmsg_ttlv_end(out, header);
    o.item = kmsg_ttlv_begin(out, TAG_BATCH_ITEM);
    kmsg_ttlv_put_enum(out, TAG_OPERATION, op);
    o.payload = kmsg_ttlv_begin(out, TAG_REQUEST_PAYLOAD);
    kmsg_ttlv_put_text(out, TAG_UNIQUE_IDENTIFIER, id);
    return o;
}

static void close_request(struct opened o, struct buf *out)
{
    kmsg_ttlv_end(out, o.payload);
    kmsg_ttlv_end(out, o.item);
    kmsg_ttlv_end(out, o.message);
}

static const char *const attributes[] = {
    "State",
    "Cryptographic Algorithm",
    "Cryptographic Length",
    "Cryptographic Usage Mask",
    "Activation Date",
    "Deactivation Date",
    "Link",
};

void kmsg_kmip_describe(enum kmsg_kmip_mode m, const char *id, struct buf *out)
{
    struct opened o = open_request(m, KMSG_KMIP_OP_DESCRIBE, id, out);

    for (size_t i = 0; i < ARRAY_LEN(attributes); i++)
        kmsg_ttlv_put_text(out, TAG_ATTRIBUTE_NAME, attributes[i]);
    close_request(o, out);
}

/* KMIP 1.4, 3.6: "Random IV ... the server SHALL generate"; the tag's length is one in bytes. */
static void put_parameters(enum kmsg_kmip_mode m, bool encrypts, struct buf *out)
{
    size_t p = kmsg_ttlv_begin(out, TAG_CRYPTOGRAPHIC_PARAMETERS);

    kmsg_ttlv_put_enum(out, TAG_BLOCK_CIPHER_MODE, m == KMSG_KMIP_GCM ? MODE_GCM : MODE_CBC);
    if (m == KMSG_KMIP_CBC)
        kmsg_ttlv_put_enum(out, TAG_PADDING_METHOD, PADDING_PKCS5);
    kmsg_ttlv_put_enum(out, TAG_CRYPTOGRAPHIC_ALGORITHM, ALGORITHM_AES);
    if (encrypts)
        kmsg_ttlv_put_bool(out, TAG_RANDOM_IV, true);
    if (m == KMSG_KMIP_GCM)
        kmsg_ttlv_put_int(out, TAG_TAG_LENGTH, TAG_LEN);
    kmsg_ttlv_end(out, p);
}

void kmsg_kmip_encrypt(enum kmsg_kmip_mode m, const char *id, struct slice plain, struct buf *out)
{
    buf_reserve(out, 1024 + plain.len); /* what is wrapped does not move */
    struct opened o = open_request(m, KMSG_KMIP_OP_ENCRYPT, id, out);

    put_parameters(m, /* encrypts= */ true, out);
    kmsg_ttlv_put_bytes(out, TAG_DATA, plain);
    close_request(o, out);
}

/* The parts of a wrapped key. */
struct parts {
    struct slice nonce, tag, cipher;
};

static bool lengths_fit(enum kmsg_kmip_mode m, const struct parts *p)
{
    if (m == KMSG_KMIP_CBC)
        return p->nonce.len == BLOCK_LEN && p->tag.len == 0 && p->cipher.len % BLOCK_LEN == 0 &&
               p->cipher.len > 0;
    return p->nonce.len >= NONCE_MIN && p->nonce.len <= NONCE_MAX && p->tag.len == TAG_LEN &&
           p->cipher.len > 0;
}

static bool take_apart(enum kmsg_kmip_mode m, struct slice w, struct parts *out)
{
    if (w.len < 2 || w.len > KMSG_KMIP_WRAP_MAX)
        return false;
    size_t nonce = w.p[0], tag = w.p[1], rest = w.len - 2;
    if (nonce > rest || tag > rest - nonce)
        return false;
    *out = (struct parts){
        .nonce = SLICE(w.p + 2, nonce),
        .tag = SLICE(w.p + 2 + nonce, tag),
        .cipher = SLICE(w.p + 2 + nonce + tag, rest - nonce - tag),
    };
    return lengths_fit(m, out);
}

RC kmsg_kmip_decrypt(enum kmsg_kmip_mode m, const char *id, struct slice wrapped, struct buf *out,
                     struct err *e)
{
    struct parts w;

    if (!take_apart(m, wrapped, &w))
        FAIL(e, ERR_BAD_VALUE, "the wrapped key is no ciphertext of %s", algs[m]);
    struct opened o = open_request(m, KMSG_KMIP_OP_DECRYPT, id, out);
    put_parameters(m, /* encrypts= */ false, out);
    kmsg_ttlv_put_bytes(out, TAG_DATA, w.cipher);
    kmsg_ttlv_put_bytes(out, TAG_NONCE, w.nonce);
    if (m == KMSG_KMIP_GCM)
        kmsg_ttlv_put_bytes(out, TAG_AUTHENTICATION_TAG, w.tag);
    close_request(o, out);
    return RC_OK;
}

/* ---- answers ---- */

size_t kmsg_kmip_frame(struct slice have)
{
    if (have.len < KMSG_KMIP_HEAD_LEN)
        return 0;
    size_t len = get_be32(have.p + 4);
    if (get_be32(have.p) != ((uint32_t)TAG_RESPONSE_MESSAGE << 8 | KMSG_TTLV_STRUCTURE) ||
        len % 8 != 0 || len > KMSG_KMIP_ANSWER_MAX - KMSG_KMIP_HEAD_LEN)
        return SIZE_MAX;
    return KMSG_KMIP_HEAD_LEN + len;
}

static bool find(struct slice in, uint32_t tag, enum kmsg_ttlv_type type, struct slice *value)
{
    return kmsg_ttlv_find(in, tag, type, value) == KMSG_TTLV_FOUND;
}

static bool find_u32(struct slice in, uint32_t tag, enum kmsg_ttlv_type type, uint32_t *out)
{
    struct slice v;

    *out = 0;
    if (!find(in, tag, type, &v))
        return false;
    *out = get_be32(v.p);
    return true;
}

static const char *const results[] = {
    [0x01] = "Item Not Found",
    [0x02] = "Response Too Large",
    [0x03] = "Authentication Not Successful",
    [0x04] = "Invalid Message",
    [0x05] = "Operation Not Supported",
    [0x06] = "Missing Data",
    [0x07] = "Invalid Field",
    [0x08] = "Feature Not Supported",
    [0x09] = "Operation Canceled By Requester",
    [0x0a] = "Cryptographic Failure",
    [0x0b] = "Illegal Operation",
    [0x0c] = "Permission Denied",
    [0x0d] = "Object Archived",
    [0x14] = "Attestation Required",
    [0x15] = "Attestation Failed",
    [0x1a] = "Usage Limit Exceeded",
    [0x29] = "Incompatible Cryptographic Usage Mask",
    [0x2a] = "Internal Server Error",
    [0x36] = "Object Destroyed",
    [0x37] = "Object Not Found",
    [0x39] = "Not Authorised",
    [0x3a] = "Server Limit Exceeded",
    [0x43] = "Wrong Key Lifecycle State",
    [0x44] = "Protection Storage Unavailable",
    [0x100] = "General Failure",
};

/* KMIP 1.4, 9.1.3.2.29 "Result Reason"; those past 0x18 are of 2.0, and servers send them to older clients too. */
static enum kmsg_class class_of(uint32_t reason)
{
    switch (reason) {
    case 0x01:
    case 0x36:
    case 0x37: return KMSG_NOT_FOUND;
    case 0x03:
    case 0x0c:
    case 0x0d:
    case 0x14:
    case 0x15:
    case 0x1a:
    case 0x29:
    case 0x39:
    case 0x43: return KMSG_DENIED;
    case 0x3a: return KMSG_THROTTLED;
    case 0x2a:
    case 0x44:
    case 0x100: return KMSG_UNREACHABLE;
    default: return KMSG_BAD;
    }
}

static enum kmsg_class say(char cause[KMSG_CAUSE_MAX], enum kmsg_class c, const char *what)
{
    (void)snprintf(cause, KMSG_CAUSE_MAX, "%s", what);
    return c;
}

static enum kmsg_class refused(struct slice item, char cause[KMSG_CAUSE_MAX])
{
    struct slice text;
    uint32_t reason;
    char shown[160], raw[256];

    if (!find_u32(item, TAG_RESULT_REASON, KMSG_TTLV_ENUMERATION, &reason) ||
        kmsg_ttlv_find(item, TAG_RESULT_MESSAGE, KMSG_TTLV_TEXT, &text) == KMSG_TTLV_MALFORMED)
        return say(cause, KMSG_BAD, "the server's refusal is malformed");
    size_t n = MIN(text.len, sizeof raw - 1);
    if (n > 0)
        memcpy(raw, text.p, n);
    raw[n] = 0;
    kmsg_printable(raw, shown, sizeof shown);
    const char *name = reason < ARRAY_LEN(results) ? results[reason] : NULL;
    (void)snprintf(cause, KMSG_CAUSE_MAX, "%s (0x%x)%s%s", name ? name : "result reason", reason,
                   *shown ? ": " : "", shown);
    return class_of(reason);
}

static bool read_header(struct slice header, uint32_t *minor, int64_t *date_s)
{
    struct slice version, date;
    uint32_t major, count;

    if (!find(header, TAG_PROTOCOL_VERSION, KMSG_TTLV_STRUCTURE, &version) ||
        !find_u32(version, TAG_PROTOCOL_MAJOR, KMSG_TTLV_INTEGER, &major) ||
        !find_u32(version, TAG_PROTOCOL_MINOR, KMSG_TTLV_INTEGER, minor) ||
        !find(header, TAG_TIME_STAMP, KMSG_TTLV_DATE_TIME, &date) ||
        !find_u32(header, TAG_BATCH_COUNT, KMSG_TTLV_INTEGER, &count))
        return false;
    *date_s = (int64_t)get_be64(date.p);
    return major == 1 && count == 1 && *date_s >= 0;
}

enum kmsg_class kmsg_kmip_open(enum kmsg_kmip_mode m, enum kmsg_kmip_op op, struct slice message,
                               struct kmsg_kmip_answer *out, char cause[KMSG_CAUSE_MAX])
{
    struct kmsg_ttlv whole;
    struct slice header, item, payload;
    uint32_t minor, status, answered;
    int64_t date_s;

    memset(out, 0, sizeof *out);
    cause[0] = 0;
    if (message.len == 0 || !kmsg_ttlv_next(&message, &whole) || message.len > 0 ||
        whole.tag != TAG_RESPONSE_MESSAGE || whole.type != KMSG_TTLV_STRUCTURE)
        return say(cause, KMSG_BAD, "the server's answer is no message of KMIP");
    if (!find(whole.value, TAG_RESPONSE_HEADER, KMSG_TTLV_STRUCTURE, &header) ||
        !find(whole.value, TAG_BATCH_ITEM, KMSG_TTLV_STRUCTURE, &item) ||
        !read_header(header, &minor, &date_s) ||
        !find_u32(item, TAG_RESULT_STATUS, KMSG_TTLV_ENUMERATION, &status))
        return say(cause, KMSG_BAD, "the server's answer is malformed, or not one item");
    out->date_s = date_s;
    /* Operation Failed; a server that refuses the version answers in one of its own */
    if (status == 1)
        return refused(item, cause);
    if (status != 0 || minor != (uint32_t)minor_of(m) ||
        !find_u32(item, TAG_OPERATION, KMSG_TTLV_ENUMERATION, &answered) || answered != op ||
        !find(item, TAG_RESPONSE_PAYLOAD, KMSG_TTLV_STRUCTURE, &payload))
        return say(cause, KMSG_BAD, "the server's answer is to another question");
    out->payload = payload;
    return KMSG_OK;
}

static RC check_id(struct slice payload, const char *id, struct err *e)
{
    struct slice v;

    if (!find(payload, TAG_UNIQUE_IDENTIFIER, KMSG_TTLV_TEXT, &v) || !slice_eq_str(v, id))
        return kmsg__bad(e, "is about another key");
    return RC_OK;
}

static bool read_link(struct slice value, struct kmsg_kmip_key *k)
{
    struct slice id;
    uint32_t type;

    if (!find_u32(value, TAG_LINK_TYPE, KMSG_TTLV_ENUMERATION, &type) ||
        !find(value, TAG_LINKED_OBJECT, KMSG_TTLV_TEXT, &id))
        return false;
    if (type != LINK_REPLACEMENT)
        return true;
    if (*k->replacement || !is_id((const char *)id.p, id.len))
        return false;
    memcpy(k->replacement, id.p, id.len);
    return true;
}

/* What the attributes are put together from. */
struct described {
    struct kmsg_kmip_key key;
    uint32_t seen; /* one bit for each of attributes[] */
    int algorithm;
    int usage;
};

static bool read_value(size_t which, const struct kmsg_ttlv *v, struct described *d)
{
    static const enum kmsg_ttlv_type types[] = {
        KMSG_TTLV_ENUMERATION, KMSG_TTLV_ENUMERATION, KMSG_TTLV_INTEGER,   KMSG_TTLV_INTEGER,
        KMSG_TTLV_DATE_TIME,   KMSG_TTLV_DATE_TIME,   KMSG_TTLV_STRUCTURE,
    };
    bool is_link = v->type == KMSG_TTLV_STRUCTURE;

    /* an object may have several links, and one of anything else */
    if (v->type != types[which] || (!is_link && (d->seen & 1u << which)))
        return false;
    d->seen |= 1u << which;
    switch (which) {
    case 0: d->key.state = (int)get_be32(v->value.p); return d->key.state >= 0;
    case 1: d->algorithm = (int)get_be32(v->value.p); return true;
    case 2: d->key.bits = (int)get_be32(v->value.p); return d->key.bits >= 0;
    case 3: d->usage = (int)get_be32(v->value.p); return true;
    case 4: d->key.active_s = (int64_t)get_be64(v->value.p); return d->key.active_s >= 0;
    case 5: d->key.inactive_s = (int64_t)get_be64(v->value.p); return d->key.inactive_s >= 0;
    default: return read_link(v->value, &d->key);
    }
}

static bool read_attribute(struct slice in, struct described *d)
{
    struct slice name, rest = in;
    struct kmsg_ttlv item, value = { .tag = 0 };

    if (!find(in, TAG_ATTRIBUTE_NAME, KMSG_TTLV_TEXT, &name))
        return false;
    while (rest.len > 0) {
        if (!kmsg_ttlv_next(&rest, &item) || (value.tag && item.tag == TAG_ATTRIBUTE_VALUE))
            return false;
        if (item.tag == TAG_ATTRIBUTE_VALUE)
            value = item;
    }
    for (size_t i = 0; i < ARRAY_LEN(attributes); i++)
        if (slice_eq_str(name, attributes[i]))
            return value.tag && read_value(i, &value, d);
    return true; /* one that nobody asked for */
}

RC kmsg_kmip_read_key(struct slice payload, const char *id, struct kmsg_kmip_key *out,
                      struct err *e)
{
    struct described d = { .algorithm = 0 };
    struct slice in = payload;
    struct kmsg_ttlv t;

    memset(out, 0, sizeof *out);
    TRY(check_id(payload, id, e));
    while (in.len > 0) {
        if (!kmsg_ttlv_next(&in, &t) || (t.tag == TAG_ATTRIBUTE && (t.type != KMSG_TTLV_STRUCTURE ||
                                                                    !read_attribute(t.value, &d))))
            return kmsg__bad(e, "has a malformed attribute");
    }
    if ((d.seen & 0xf) != 0xf)
        return kmsg__bad(e, "lacks the key's state, algorithm, length or usage mask");
    if (d.algorithm != ALGORITHM_AES || d.key.bits != KEY_BITS)
        FAIL(e, ERR_CONFIG, "the object is no AES key of %d bits", KEY_BITS);
    d.key.can_wrap = d.usage & USAGE_ENCRYPT;
    d.key.can_unwrap = d.usage & USAGE_DECRYPT;
    *out = d.key;
    return RC_OK;
}

RC kmsg_kmip_read_wrapped(enum kmsg_kmip_mode m, struct slice payload, const char *id,
                          uint32_t plain_len, struct buf *out, struct err *e)
{
    size_t want = m == KMSG_KMIP_GCM ? plain_len : (plain_len / BLOCK_LEN + 1) * BLOCK_LEN;
    struct parts p = { .tag = SLICE_EMPTY };

    TRY(check_id(payload, id, e));
    if (!find(payload, TAG_DATA, KMSG_TTLV_BYTES, &p.cipher) ||
        !find(payload, TAG_NONCE, KMSG_TTLV_BYTES, &p.nonce) ||
        kmsg_ttlv_find(payload, TAG_AUTHENTICATION_TAG, KMSG_TTLV_BYTES, &p.tag) ==
            KMSG_TTLV_MALFORMED ||
        !lengths_fit(m, &p) || p.cipher.len != want)
        return kmsg__bad(e, "is no ciphertext with its nonce and tag");
    buf_push_u8(out, (uint8_t)p.nonce.len);
    buf_push_u8(out, (uint8_t)p.tag.len);
    buf_push(out, p.nonce.p, p.nonce.len);
    buf_push(out, p.tag.p, p.tag.len);
    buf_push(out, p.cipher.p, p.cipher.len);
    return RC_OK;
}

RC kmsg_kmip_read_plain(struct slice payload, const char *id, uint32_t len, struct slice *out,
                        struct err *e)
{
    struct slice v;
    uint8_t any = 0;

    *out = SLICE_EMPTY;
    TRY(check_id(payload, id, e));
    if (!find(payload, TAG_DATA, KMSG_TTLV_BYTES, &v) || v.len != len)
        return kmsg__bad(e, "is not as long as what was wrapped");
    for (size_t i = 0; i < v.len; i++)
        any |= v.p[i];
    if (!any)
        return kmsg__bad(e, "is all zeroes");
    *out = v;
    return RC_OK;
}
