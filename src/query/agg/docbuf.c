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
    buf_fini(&b->rec[0]);
    buf_fini(&b->rec[1]);
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

RC spill_write_kept(const struct agg_spill_ops *ops, void *file, struct kept_doc d, struct err *e)
{
    TRY(spill_write_doc(ops, file, d.doc, e));
    return spill_write_doc(ops, file, d.meta.p ? d.meta : BDOC_EMPTY, e);
}

RC spill_read_kept(const struct agg_spill_ops *ops, void *file, struct buf rec[2],
                   struct kept_doc *d, bool *valid, struct err *e)
{
    bool whole;

    TRY(spill_read_doc(ops, file, &rec[0], &d->doc, valid, e));
    if (!*valid)
        return RC_OK;
    TRY(spill_read_doc(ops, file, &rec[1], &d->meta, &whole, e));
    if (!whole)
        FAIL(e, ERR_INTERNAL, "a spill file ended between a document and its metadata");
    if (bdoc_is_empty(d->meta))
        d->meta = (struct bdoc){ 0 };
    return RC_OK;
}

RC docbuf_add(struct docbuf *b, struct bdoc d, struct err *e)
{
    struct kept_doc k = { .doc = d, .meta = b->r.q->meta };

    if (!b->file && arena_used(b->arena) + d.len > stage__spill_at(&b->r)) {
        TRY(stage__may_spill(&b->r, b->what, e));
        TRY(b->r.env->spill->open(b->r.env->env, &b->file, e));
    }
    if (b->file)
        return spill_write_kept(b->r.env->spill, b->file, k, e);
    if (b->n == b->cap) {
        uint32_t cap = b->cap ? b->cap * 2 : 64;
        struct kept_doc *more = arena_alloc(b->arena, sizeof(*more) * cap);
        if (b->n)
            memcpy(more, b->docs, sizeof(*more) * b->n);
        b->docs = more;
        b->cap = cap;
    }
    b->docs[b->n++] =
        (struct kept_doc){ .doc = bdoc_keep(b->arena, k.doc), .meta = bdoc_keep(b->arena, k.meta) };
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
    struct kept_doc d = { 0 };

    *valid = b->at < b->n;
    if (*valid)
        d = b->docs[b->at++];
    else if (b->file)
        TRY(spill_read_kept(b->r.env->spill, b->file, b->rec, &d, valid, e));
    if (*valid) {
        *doc = d.doc;
        b->r.q->meta = d.meta;
    }
    return RC_OK;
}

RC docbuf_fill(struct docbuf *b, struct doc_source *in, struct err *e)
{
    for (;;) {
        struct arena_mark mark = arena_mark(b->r.q->scratch);
        struct bdoc d;
        bool valid;

        TRY(in->next(in, &d, &valid, e));
        if (!valid)
            return RC_OK;
        TRY(docbuf_add(b, d, e));
        arena_rewind(b->r.q->scratch, mark);
        TRY(qctx_check(b->r.q, e));
    }
}

struct docbuf_source {
    struct doc_source src;
    struct docbuf *docs;
};

static RC source_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    return docbuf_next(((struct docbuf_source *)s)->docs, doc, valid, e);
}

static void source_close(struct doc_source *s)
{
    mem_free(s);
}

RC docbuf_source(struct docbuf *b, struct doc_source **out, struct err *e)
{
    struct docbuf_source *s;

    *out = NULL;
    TRY(docbuf_rewind(b, e));
    s = NEW(struct docbuf_source);
    s->src = (struct doc_source){ source_next, source_close };
    s->docs = b;
    *out = &s->src;
    return RC_OK;
}
