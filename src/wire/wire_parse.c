/* wire_parse.c - messages from bytes. A reader walks the message; nothing is looked at before its length was compared with what is left. */
#include "wire_priv.h"

#include "base/arena.h"

struct reader {
    const uint8_t *p;
    size_t left;
};

static bool take(struct reader *r, size_t n, const uint8_t **out)
{
    if (r->left < n)
        return false;
    *out = r->p;
    r->p += n;
    r->left -= n;
    return true;
}

static bool take_i32(struct reader *r, int32_t *out)
{
    const uint8_t *p;

    if (!take(r, 4, &p))
        return false;
    *out = (int32_t)get_le32(p);
    return true;
}

static bool take_cstr(struct reader *r, struct slice *out)
{
    const uint8_t *nul = r->left ? memchr(r->p, 0, r->left) : NULL;

    if (!nul)
        return false;
    *out = SLICE(r->p, (size_t)(nul - r->p));
    r->left -= out->len + 1;
    r->p = nul + 1;
    return true;
}

static RC take_doc(struct reader *r, struct bdoc *out, struct err *e)
{
    uint32_t len;

    if (r->left < 5)
        FAIL(e, ERR_INVALID_BSON, "document is cut short");
    len = get_le32(r->p);
    if (len < 5 || len > r->left)
        FAIL(e, ERR_INVALID_BSON, "document says %u bytes where %zu are left", len, r->left);
    if (len > WIRE_MAX_DOC + WIRE_DOC_SLACK)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE,
             "BSONObj size: %u (0x%X) is invalid. Size must be between 0 and %d", len, len,
             WIRE_MAX_DOC + WIRE_DOC_SLACK);
    TRY(bdoc_validate(r->p, len, WIRE_MAX_DEPTH, out, e));
    r->p += len;
    r->left -= len;
    return RC_OK;
}

static bool op_is_known(int32_t op)
{
    return op == WIRE_OP_REPLY || op == WIRE_OP_QUERY || op == WIRE_OP_COMPRESSED ||
           op == WIRE_OP_MSG;
}

RC wire_frame(struct slice have, size_t max, size_t *need, struct err *e)
{
    uint32_t len;

    *need = WIRE_HEADER_LEN;
    if (have.len < 4)
        return RC_OK;
    len = get_le32(have.p);
    if (len < WIRE_HEADER_LEN || len > max)
        FAIL(e, ERR_PROTOCOL_ERROR, "message says %u bytes", len);
    if (have.len < WIRE_HEADER_LEN)
        return RC_OK;
    if (!op_is_known((int32_t)get_le32(have.p + 12)))
        FAIL(e, ERR_PROTOCOL_ERROR, "operation %d is not spoken here",
             (int32_t)get_le32(have.p + 12));
    *need = len;
    return RC_OK;
}

/* One kind-1 section: size int32 (counts itself), identifier, documents. */
static RC parse_sequence(struct reader *r, struct arena *a, struct wire_seq *out, struct err *e)
{
    int32_t size;
    struct reader in, count;
    const uint8_t *p;

    if (!take_i32(r, &size) || size < 4 || (size_t)size - 4 > r->left)
        FAIL(e, ERR_PROTOCOL_ERROR, "document sequence is longer than its message");
    in.left = (size_t)size - 4;
    if (!take(r, in.left, &in.p))
        FAIL(e, ERR_PROTOCOL_ERROR, "document sequence is longer than its message");
    if (!take_cstr(&in, &out->name))
        FAIL(e, ERR_PROTOCOL_ERROR, "document sequence has no name");
    /* Count first, so that the array is allocated once; every document takes five bytes at least. */
    out->n_docs = 0;
    for (count = in; count.left; out->n_docs++) {
        uint32_t len = count.left < 5 ? 0 : get_le32(count.p);

        if (len < 5 || !take(&count, len, &p))
            FAIL(e, ERR_INVALID_BSON, "document of a sequence is cut short");
    }
    out->docs = ARENA_ARRAY(a, struct bdoc, (size_t)out->n_docs + 1);
    for (int i = 0; i < out->n_docs; i++)
        TRY(take_doc(&in, &out->docs[i], e));
    return RC_OK;
}

static RC parse_sections(struct reader *r, struct arena *a, struct wire_msg *m, struct err *e)
{
    bool have_body = false;

    m->seqs = ARENA_ARRAY(a, struct wire_seq, WIRE_MAX_SEQUENCES);
    while (r->left) {
        const uint8_t *kind;

        if (!take(r, 1, &kind))
            FAIL(e, ERR_PROTOCOL_ERROR, "section is cut short");
        switch (*kind) {
        case 0:
            if (have_body)
                FAIL(e, ERR_LOC(40430), "Multiple body sections in message");
            TRY(take_doc(r, &m->body, e));
            have_body = true;
            break;
        case 1:
            if (m->n_seqs == WIRE_MAX_SEQUENCES)
                FAIL(e, ERR_PROTOCOL_ERROR, "Too many document sequences in message");
            TRY(parse_sequence(r, a, &m->seqs[m->n_seqs], e));
            for (int i = 0; i < m->n_seqs; i++)
                if (slice_eq(m->seqs[i].name, m->seqs[m->n_seqs].name))
                    FAIL(e, ERR_LOC(40431), "Duplicate document sequence in message");
            m->n_seqs++;
            break;
        default: FAIL(e, ERR_LOC(40432), "Unknown section kind %u", *kind);
        }
    }
    if (!have_body)
        FAIL(e, ERR_LOC(40587), "OP_MSG messages must have a body");
    return RC_OK;
}

/* whole: the message with its header, for the checksum; empty when it came compressed. */
static RC parse_msg(struct reader *r, struct slice whole, struct arena *a, struct wire_msg *m,
                    struct err *e)
{
    int32_t flags;
    struct bval db;

    if (!take_i32(r, &flags))
        FAIL(e, ERR_PROTOCOL_ERROR, "message is cut short");
    m->flags = (uint32_t)flags;
    if (m->flags & 0xffff & ~(uint32_t)(WIRE_CHECKSUM_PRESENT | WIRE_MORE_TO_COME))
        FAIL(e, ERR_LOC(223), "Message contains illegal flags value");
    if (m->flags & WIRE_CHECKSUM_PRESENT) {
        if (r->left < 4)
            FAIL(e, ERR_PROTOCOL_ERROR, "message is too short for its checksum");
        r->left -= 4;
        /* The checksum covers the message as it was sent, which only an uncompressed one still is. */
        if (whole.len && wire_crc32c(SLICE(whole.p, whole.len - 4)) != get_le32(r->p + r->left))
            FAIL(e, ERR_PROTOCOL_ERROR, "OP_MSG checksum does not match contents");
    }
    TRY(parse_sections(r, a, m, e));
    if (m->n_seqs) {
        struct biter it;

        biter_init(&it, m->body);
        while (biter_next(&it))
            for (int i = 0; i < m->n_seqs; i++)
                if (slice_eq(it.name, m->seqs[i].name))
                    FAIL(e, ERR_LOC(40433), "Duplicate field between body and document sequence");
    }
    db = bdoc_get(m->body, "$db");
    if (db.type == BT_STRING)
        m->db = bval_str(db);
    return RC_OK;
}

/* flags int32, fullCollectionName cstring, numberToSkip int32, numberToReturn int32, query document [, fields document] */
static RC parse_query(struct reader *r, struct wire_msg *m, struct err *e)
{
    int32_t flags, skip, n_return;
    struct slice ns;
    const uint8_t *dot;
    struct bdoc fields;
    struct biter it;

    if (!take_i32(r, &flags) || !take_cstr(r, &ns) || !take_i32(r, &skip) ||
        !take_i32(r, &n_return))
        FAIL(e, ERR_PROTOCOL_ERROR, "query message is cut short");
    m->flags = 0;
    TRY(take_doc(r, &m->body, e));
    if (r->left)
        TRY(take_doc(r, &fields, e));
    if (r->left)
        FAIL(e, ERR_PROTOCOL_ERROR, "query message has %zu bytes after its end", r->left);
    dot = ns.len ? memchr(ns.p, '.', ns.len) : NULL;
    if (!dot || !slice_eq_str(SLICE(dot, ns.len - (size_t)(dot - ns.p)), ".$cmd"))
        FAIL(e, ERR_UNSUPPORTED_OP_QUERY_COMMAND,
             "Unsupported OP_QUERY command. The client driver may require an upgrade.");
    m->db = SLICE(ns.p, (size_t)(dot - ns.p));
    /* {$query: {...}, $readPreference: ...} */
    biter_init(&it, m->body);
    if (biter_next(&it) && (slice_eq_str(it.name, "$query") || slice_eq_str(it.name, "query")) &&
        it.val.type == BT_DOCUMENT)
        m->body = bval_doc(it.val);
    return RC_OK;
}

/* flags int32, cursorID int64, startingFrom int32, numberReturned int32, documents */
static RC parse_reply(struct reader *r, struct wire_msg *m, struct err *e)
{
    const uint8_t *p;

    if (!take(r, 20, &p))
        FAIL(e, ERR_PROTOCOL_ERROR, "reply is cut short");
    m->flags = get_le32(p);
    if (get_le32(p + 16) != 1)
        FAIL(e, ERR_PROTOCOL_ERROR, "reply does not hold one document");
    TRY(take_doc(r, &m->body, e));
    if (r->left)
        FAIL(e, ERR_PROTOCOL_ERROR, "reply has %zu bytes after its end", r->left);
    return RC_OK;
}

RC wire_parse(struct slice msg, struct wire_codec *codec, struct arena *a, struct wire_msg *out,
              struct err *e)
{
    struct reader r = { .p = msg.p, .left = msg.len };
    int32_t len, op;

    memset(out, 0, sizeof(*out));
    out->body = BDOC_EMPTY;
    out->op = WIRE_OP_MSG;
    if (!take_i32(&r, &len) || !take_i32(&r, &out->request_id) ||
        !take_i32(&r, &out->response_to) || !take_i32(&r, &op) || len < 0 || (size_t)len != msg.len)
        FAIL(e, ERR_PROTOCOL_ERROR, "message is not as long as it says");
    if (op == WIRE_OP_COMPRESSED) {
        struct slice inner;

        if (!codec)
            FAIL(e, ERR_PROTOCOL_ERROR, "compressed message without an agreed compressor");
        TRY(wire__uncompress(SLICE(r.p, r.left), codec, a, &op, &out->compressor, &inner, e));
        out->compressed = true;
        r = (struct reader){ .p = inner.p, .left = inner.len };
    }
    switch (op) {
    case WIRE_OP_MSG: return parse_msg(&r, out->compressed ? SLICE_EMPTY : msg, a, out, e);
    case WIRE_OP_QUERY: out->op = WIRE_OP_QUERY; return parse_query(&r, out, e);
    case WIRE_OP_REPLY: out->op = WIRE_OP_REPLY; return parse_reply(&r, out, e);
    default: FAIL(e, ERR_PROTOCOL_ERROR, "operation %d is not spoken here", op);
    }
}
