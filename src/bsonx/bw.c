/* bw.c - the BSON writer. */
#include "bsonx_priv.h"

static void open_level(struct bw *w, uint32_t index)
{
    INVARIANT(w->depth < BW_DEPTH_MAX);
    w->start[w->depth] = (uint32_t)w->buf->len;
    w->index[w->depth] = index;
    w->depth++;
    memset(buf_extend(w->buf, 4), 0, 4); /* the length is known when it is closed */
}

static void close_level(struct bw *w)
{
    INVARIANT(w->depth > 0);
    w->depth--;
    buf_push_u8(w->buf, 0);
    uint32_t start = w->start[w->depth];

    put_le32(w->buf->p + start, (uint32_t)w->buf->len - start);
}

void bw_init(struct bw *w, struct buf *buf)
{
    w->buf = buf;
    w->depth = 0;
    open_level(w, UINT32_MAX);
}

struct bdoc bw_finish(struct bw *w)
{
    INVARIANT(w->depth == 1);
    close_level(w);
    uint32_t start = w->start[0];

    return (struct bdoc){ .p = w->buf->p + start, .len = (uint32_t)w->buf->len - start };
}

struct bdoc bw_done_arena(struct bw *w, struct arena *a)
{
    struct bdoc d = bw_finish(w);

    d.p = arena_dup(a, d.p, d.len);
    return d;
}

size_t bw_size(const struct bw *w)
{
    return w->buf->len - w->start[0];
}

/* element(): type and name; an array numbers its elements whatever name says. */
static void element(struct bw *w, uint8_t type, struct slice name)
{
    uint32_t *index = &w->index[w->depth - 1];

    INVARIANT(w->depth > 0);
    if (*index != UINT32_MAX) {
        char digits[11];
        int at = sizeof(digits);
        uint32_t n = (*index)++;

        do {
            digits[--at] = (char)('0' + n % 10);
            n /= 10;
        } while (n);
        size_t len = sizeof(digits) - (size_t)at;
        uint8_t *p = buf_extend(w->buf, len + 2);

        p[0] = type;
        memcpy(p + 1, digits + at, len);
        p[1 + len] = 0;
        return;
    }
    uint8_t *p = buf_extend(w->buf, name.len + 2);

    p[0] = type;
    if (name.len)
        memcpy(p + 1, name.p, name.len);
    p[1 + name.len] = 0;
}

void bw_val_slice(struct bw *w, struct slice name, struct bval v)
{
    if (v.type == BT_MISSING)
        return;
    element(w, v.type, name);
    if (v.len)
        buf_push(w->buf, v.p, v.len);
}

void bw_val(struct bw *w, const char *name, struct bval v)
{
    bw_val_slice(w, slice_str(name), v);
}

void bw_i32(struct bw *w, const char *name, int32_t v)
{
    element(w, BT_INT32, slice_str(name));
    buf_push_le32(w->buf, (uint32_t)v);
}

void bw_i64(struct bw *w, const char *name, int64_t v)
{
    element(w, BT_INT64, slice_str(name));
    buf_push_le64(w->buf, (uint64_t)v);
}

void bw_count(struct bw *w, const char *name, int64_t v)
{
    if (v >= INT32_MIN && v <= INT32_MAX)
        bw_i32(w, name, (int32_t)v);
    else
        bw_i64(w, name, v);
}

void bw_double(struct bw *w, const char *name, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    element(w, BT_DOUBLE, slice_str(name));
    buf_push_le64(w->buf, bits);
}

void bw_bool(struct bw *w, const char *name, bool v)
{
    element(w, BT_BOOL, slice_str(name));
    buf_push_u8(w->buf, v);
}

void bw_str_slice(struct bw *w, const char *name, struct slice v)
{
    element(w, BT_STRING, slice_str(name));
    buf_push_le32(w->buf, (uint32_t)v.len + 1);
    if (v.len)
        buf_push(w->buf, v.p, v.len);
    buf_push_u8(w->buf, 0);
}

void bw_str(struct bw *w, const char *name, const char *v)
{
    bw_str_slice(w, name, slice_str(v));
}

void bw_null(struct bw *w, const char *name)
{
    element(w, BT_NULL, slice_str(name));
}

void bw_date(struct bw *w, const char *name, int64_t ms)
{
    element(w, BT_DATE, slice_str(name));
    buf_push_le64(w->buf, (uint64_t)ms);
}

void bw_oid(struct bw *w, const char *name, const uint8_t oid[12])
{
    element(w, BT_OBJECT_ID, slice_str(name));
    buf_push(w->buf, oid, 12);
}

void bw_bin(struct bw *w, const char *name, uint8_t subtype, struct slice bytes)
{
    size_t inner = subtype == 2 ? 4 : 0;

    element(w, BT_BINARY, slice_str(name));
    buf_push_le32(w->buf, (uint32_t)(inner + bytes.len));
    buf_push_u8(w->buf, subtype);
    if (inner)
        buf_push_le32(w->buf, (uint32_t)bytes.len);
    if (bytes.len)
        buf_push(w->buf, bytes.p, bytes.len);
}

void bw_timestamp(struct bw *w, const char *name, uint64_t v)
{
    element(w, BT_TIMESTAMP, slice_str(name));
    buf_push_le64(w->buf, v);
}

void bw_doc(struct bw *w, const char *name, struct bdoc d)
{
    bw_val_slice(w, slice_str(name), bval_of_doc(d, BT_DOCUMENT));
}

void bw_array_doc(struct bw *w, const char *name, struct bdoc array)
{
    bw_val_slice(w, slice_str(name), bval_of_doc(array, BT_ARRAY));
}

void bw_doc_begin_slice(struct bw *w, struct slice name)
{
    element(w, BT_DOCUMENT, name);
    open_level(w, UINT32_MAX);
}

void bw_doc_begin(struct bw *w, const char *name)
{
    bw_doc_begin_slice(w, slice_str(name));
}

void bw_doc_end(struct bw *w)
{
    close_level(w);
}

void bw_array_begin_slice(struct bw *w, struct slice name)
{
    element(w, BT_ARRAY, name);
    open_level(w, 0);
}

void bw_array_begin(struct bw *w, const char *name)
{
    bw_array_begin_slice(w, slice_str(name));
}

void bw_array_end(struct bw *w)
{
    close_level(w);
}

void bw_fields(struct bw *w, struct bdoc d)
{
    struct biter it;

    if (w->index[w->depth - 1] == UINT32_MAX) {
        if (d.len > 5)
            buf_push(w->buf, d.p + 4, d.len - 5);
        return;
    }
    biter_init(&it, d);
    while (biter_next(&it))
        bw_val_slice(w, it.name, it.val);
}
