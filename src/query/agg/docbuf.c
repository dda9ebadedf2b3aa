/* docbuf.c - documents kept for later: in memory up to the budget, the rest in a sealed spill file. */
#include "agg_priv.h"

#include "base/mem.h"

void docbuf_init(struct docbuf *b, const struct stage_run *r, const char *what)
{
    *b = (struct docbuf){ .r = *r, .what = what, .arena = arena_new(0) };
}

void docbuf_fini(struct docbuf *b)
{
    if (b->file)
        b->r.env->spill->close(b->file);
    b->file = NULL;
    buf_fini(&b->rec);
    arena_free(b->arena);
    b->arena = NULL;
}

RC spill_write_doc(const struct agg_spill_ops *ops, void *file, struct bdoc d, struct err *e)
{
    return ops->write(file, SLICE(d.p, d.len), e); /* a document starts with its own length */
}

RC spill_read_doc(const struct agg_spill_ops *ops, void *file, struct buf *rec, struct bdoc *doc,
                  bool *valid, struct err *e)
{
    uint8_t head[4];
    size_t got;

    *valid = false;
    TRY(ops->read(file, head, 4, &got, e));
    if (got == 0)
        return RC_OK;
    uint32_t len = got == 4 ? get_le32(head) : 0;
    if (len < 5 || len > VALS_BYTES_MAX * 2u)
        FAIL(e, ERR_INTERNAL, "a record of a spill file has no valid length");
    buf_clear(rec);
    uint8_t *p = buf_extend(rec, len);
    memcpy(p, head, 4);
    TRY(ops->read(file, p + 4, len - 4, &got, e));
    if (got != len - 4)
        FAIL(e, ERR_INTERNAL, "a spill file ended inside of a record");
    *doc = (struct bdoc){ .p = p, .len = len };
    *valid = true;
    return RC_OK;
}

RC docbuf_add(struct docbuf *b, struct bdoc d, struct err *e)
{
    if (!b->file && arena_used(b->arena) + d.len > stage__spill_at(&b->r)) {
        TRY(stage__may_spill(&b->r, b->what, e));
        TRY(b->r.env->spill->open(b->r.env->env, &b->file, e));
    }
    if (b->file)
        return spill_write_doc(b->r.env->spill, b->file, d, e);
    if (b->n == b->cap) {
        uint32_t cap = b->cap ? b->cap * 2 : 64;
        struct bdoc *more = arena_alloc(b->arena, sizeof(*more) * cap);
        if (b->n)
            memcpy(more, b->docs, sizeof(*more) * b->n);
        b->docs = more;
        b->cap = cap;
    }
    b->docs[b->n++] = (struct bdoc){ .p = arena_dup(b->arena, d.p, d.len), .len = d.len };
    return RC_OK;
}

RC docbuf_rewind(struct docbuf *b, struct err *e)
{
    b->at = 0;
    if (b->file)
        TRY(b->r.env->spill->rewind(b->file, e));
    return RC_OK;
}

RC docbuf_next(struct docbuf *b, struct bdoc *doc, bool *valid, struct err *e)
{
    *valid = b->at < b->n;
    if (*valid) {
        *doc = b->docs[b->at++];
        return RC_OK;
    }
    if (b->file)
        return spill_read_doc(b->r.env->spill, b->file, &b->rec, doc, valid, e);
    return RC_OK;
}
