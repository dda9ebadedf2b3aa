/* cmd_util.c - what most commands need: names, documents of sections, query contexts, cursor replies. */
#include "cmd_priv.h"

struct bval cmd_first(const struct cmd_req *r)
{
    struct biter it;

    biter_init(&it, r->body);
    return biter_next(&it) ? it.val : BVAL_MISSING;
}

RC cmd_first_required(const struct cmd_req *r, struct err *e)
{
    if (cmd_first(r).type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE, "BSON field '%s.%s' is missing but a required field",
             r->def->name, r->def->name);
    return RC_OK;
}

struct cmd_ns cmd_ns_join(struct cmd_req *r, struct slice db, struct slice coll)
{
    return (struct cmd_ns){ .db = db,
                            .coll = coll,
                            .ns = arena_printf(r->arena, "%.*s.%.*s", (int)db.len, db.p,
                                               (int)coll.len, coll.p) };
}

static RC fill_ns(struct cmd_req *r, struct slice db, struct slice coll, struct cmd_ns *out,
                  struct err *e)
{
    TRY(catalog_ns_check(db, coll, e));
    *out = cmd_ns_join(r, db, coll);
    return RC_OK;
}

bool cmd_is_no_name(struct slice coll)
{
    return coll.len == 0 || coll.p[0] == '.' || memchr(coll.p, 0, coll.len);
}

RC cmd_ns_any(struct cmd_req *r, struct cmd_ns *out, struct err *e)
{
    struct bval name = cmd_first(r);

    if (name.type != BT_STRING)
        FAIL(e, ERR_INVALID_NAMESPACE, "collection name has invalid type %s",
             btype_name(name.type));
    if (cmd_is_no_name(bval_str(name)))
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid namespace specified");
    *out = cmd_ns_join(r, r->db, bval_str(name));
    return RC_OK;
}

RC cmd_ns_of(struct cmd_req *r, struct bval name, struct cmd_ns *out, struct err *e)
{
    if (name.type != BT_STRING)
        FAIL(e, ERR_INVALID_NAMESPACE, "collection name has invalid type %s",
             btype_name(name.type));
    return fill_ns(r, r->db, bval_str(name), out, e);
}

RC cmd_ns(struct cmd_req *r, struct cmd_ns *out, struct err *e)
{
    return cmd_ns_of(r, cmd_first(r), out, e);
}

RC cmd_ns_full(struct cmd_req *r, struct bval full, struct cmd_ns *out, struct err *e)
{
    if (full.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "BSON field '%s' is the wrong type '%s', expected type 'string'",
             r->def->name, btype_name(full.type));
    struct slice s = bval_str(full);
    const uint8_t *dot = s.len ? memchr(s.p, '.', s.len) : NULL;
    if (!dot)
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid namespace specified '%.*s'", (int)MIN(s.len, 100u),
             s.p);
    size_t db_len = (size_t)(dot - s.p);
    return fill_ns(r, SLICE(s.p, db_len), SLICE(dot + 1, s.len - db_len - 1), out, e);
}

RC cmd_check_writable_ns(const struct cmd_ns *ns, struct err *e)
{
    static const char *const writable[] = { "system.js", "system.users", "system.roles",
                                            "system.version" };

    if (!slice_has_prefix(ns->coll, SLICE_LIT("system.")))
        return RC_OK;
    for (size_t i = 0; i < ARRAY_LEN(writable); i++)
        if (slice_eq_str(ns->coll, writable[i]))
            return RC_OK;
    FAIL(e, ERR_INVALID_NAMESPACE, "cannot write to %s", ns->ns);
}

struct catalog_coll *cmd_coll(struct cmd_req *r, const struct cmd_ns *ns)
{
    return catalog_find(r->node->catalog, slice_str(ns->ns));
}

RC cmd_not_view(const struct catalog_coll *x, struct err *e)
{
    if (x && x->is_view)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED_ON_VIEW, "Namespace is a view, not a collection");
    return RC_OK;
}

RC cmd_uuid_check(struct cmd_req *r, struct bval uuid, const struct cmd_ns *ns, struct err *e)
{
    uint8_t subtype;

    if (bval_is_missing(uuid) || uuid.type == BT_NULL)
        return RC_OK;
    if (uuid.type != BT_BINARY)
        return cmd_wrong_type(r->def->name, "collectionUUID", uuid, "binData", e);
    struct slice id = bval_bin(uuid, &subtype);
    if (subtype == 4 && id.len != CATALOG_UUID_LEN)
        FAIL(e, ERR_INVALID_UUID, "collectionUUID must have 16 bytes");
    if (subtype != 4)
        return cmd_wrong_type(r->def->name, "collectionUUID", uuid, "UUID", e);
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(r, ns);
    if (x && memcmp(x->uuid, id.p, CATALOG_UUID_LEN) == 0)
        return RC_OK;
    FAIL(e, ERR_COLLECTION_UUID_MISMATCH, "Collection UUID does not match that specified");
}

void cmd_docs_any(struct cmd_req *r, const char *name, struct bval body, struct cmd_docs *out)
{
    *out = (struct cmd_docs){ .array = BDOC_EMPTY };
    for (int i = 0; i < r->n_seqs; i++) {
        if (slice_eq_str(r->seqs[i].name, name)) {
            out->seq = &r->seqs[i];
            out->n = out->seq->n_docs;
        }
    }
    if (!out->seq && body.type == BT_ARRAY) {
        out->array = bval_doc(body);
        out->n = (int)bdoc_count(out->array);
    }
    cmd_docs_rewind(out);
}

RC cmd_docs(struct cmd_req *r, const char *name, struct bval body, struct cmd_docs *out,
            struct err *e)
{
    cmd_docs_any(r, name, body, out);
    if (out->n == 0 || out->n > 100000)
        FAIL(e, ERR_INVALID_LENGTH,
             "Write batch sizes must be between 1 and 100000. Got %d operations.", out->n);
    return RC_OK;
}

void cmd_docs_rewind(struct cmd_docs *d)
{
    d->at = 0;
    if (!d->seq)
        biter_init(&d->it, d->array);
}

bool cmd_docs_next(struct cmd_docs *d, struct bval *out)
{
    if (d->at == d->n)
        return false;
    if (d->seq) {
        *out = bval_of_doc(d->seq->docs[d->at++], BT_DOCUMENT);
        return true;
    }
    d->at++;
    if (!biter_next(&d->it))
        return false;
    *out = d->it.val;
    return true;
}

void cmd_qctx(struct cmd_req *r, struct arena *a, struct arena *scratch, struct qctx *out)
{
    *out = (struct qctx){ .arena = a,
                          .scratch = scratch,
                          .let = BDOC_EMPTY,
                          .now_ms = clock_real_ms(),
                          .deadline_us = r->deadline_us,
                          .interrupt = r->client ? &r->client->interrupt : NULL };
}

static void note_path(struct slice path, void *arg)
{
    (void)path;
    *(bool *)arg = true;
}

RC cmd_let(struct qctx *q, struct bval let, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    if (let.type != BT_DOCUMENT)
        return RC_OK;
    bw_init(&w, &b);
    biter_init(&it, bval_doc(let));
    while (biter_next(&it)) {
        struct expr_env env = { .q = q,
                                .root = bval_of_doc(BDOC_EMPTY, BT_DOCUMENT),
                                .current = bval_of_doc(BDOC_EMPTY, BT_DOCUMENT) };
        struct expr *x;
        struct bval v;
        if (it.name.len == 0 || it.name.p[0] < 'a' || (it.name.p[0] > 'z' && it.name.p[0] < 0x80))
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "'%.*s' starts with an invalid character for a user variable name",
                 (int)MIN(it.name.len, 100u), it.name.p);
        TRY(expr_parse(q, it.val, &x, e));
        bool reads = false;
        expr_deps(x, note_path, &reads, &reads);
        if (reads)
            FAIL(
                e, ERR_LOC(4890500),
                "Command let Expression tried to access a field, but this is not allowed because command let expressions run before the query examines any documents.");
        TRY(expr_eval(x, &env, &v, e));
        if (bval_is_missing(v))
            v = bval_new_null();
        bw_val_slice(&w, it.name, v);
    }
    struct bdoc d = bw_finish(&w);
    q->let = (struct bdoc){ .p = arena_dup(q->arena, d.p, d.len), .len = d.len };
    return RC_OK;
}

RC cmd_collate(struct qctx *q, struct bval v, struct err *e)
{
    struct bdoc spec;

    if (bval_is_nullish(v) || (v.type == BT_DOCUMENT && bdoc_is_empty(bval_doc(v))))
        return RC_OK;
    TRY(collation_complete(q->arena, v, &spec, e));
    return collation_in(q->arena, spec, &q->collator, e);
}

RC cmd_collate_on(struct qctx *q, struct bval v, struct catalog_coll *x, struct err *e)
{
    if (bval_is_nullish(v) || (v.type == BT_DOCUMENT && bdoc_is_empty(bval_doc(v))))
        return exec_collator(x, q->arena, &q->collator, e);
    return cmd_collate(q, v, e);
}

RC cmd_collation(struct bval v, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct qctx q = { .arena = a };

    return cmd_collate(&q, v, e);
}

RC cmd_check(void *req, struct err *e)
{
    struct cmd_req *r = req;

    if (r->client)
        TRY(cmd_client_check(r->client, e));
    if (r->deadline_us && clock_mono_us() > r->deadline_us)
        FAIL(e, ERR_MAX_TIME_MS_EXPIRED, "operation exceeded time limit");
    return RC_OK;
}

static enum catalog_top top_of(const struct cmd_req *r)
{
    static const struct {
        const char *name;
        enum catalog_top top;
    } rows[] = {
        { "find", TOP_QUERIES },  { "getMore", TOP_GETMORE }, { "insert", TOP_INSERT },
        { "update", TOP_UPDATE }, { "delete", TOP_REMOVE },
    };

    for (size_t i = 0; r->def && i < ARRAY_LEN(rows); i++)
        if (strcmp(r->def->name, rows[i].name) == 0)
            return rows[i].top;
    return TOP_COMMANDS;
}

void cmd_note_use(const struct cmd_req *r, struct catalog_coll *x, enum catalog_use use)
{
    if (!x)
        return;
    uint64_t us = clock_mono_us() - r->start_us;
    enum catalog_top top = top_of(r);
    atomic_fetch_add_explicit(&x->usage.top[top].n, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&x->usage.top[top].us, (int64_t)us, memory_order_relaxed);
    int log = us ? 63 - __builtin_clzll(us) : 0;
    atomic_fetch_add_explicit(&x->usage.latency[use].n, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&x->usage.latency[use].us, (int64_t)us, memory_order_relaxed);
    atomic_fetch_add_explicit(&x->usage.latency[use].histogram[MIN(log, CATALOG_HISTOGRAM - 1)], 1,
                              memory_order_relaxed);
}

enum store_durability cmd_durability(const struct cmd_req *r)
{
    return r->g.no_journal ? STORE_NOSYNC : STORE_SYNC;
}

char *cmd_user(struct cmd_req *r, struct arena *a)
{
    struct slice db, user;

    if (r->node->auth_enabled && r->client && identity_current(r->client->identity, 0, &db, &user))
        return arena_printf(a, "%.*s.%.*s", (int)db.len, db.p, (int)user.len, user.p);
    return arena_strdup(a, "");
}

RC cmd_hint(struct bval hint, struct err *e)
{
    if (hint.type == BT_DOCUMENT) {
        struct bval natural = bdoc_get(bval_doc(hint), "$natural");
        int64_t direction;
        if (bval_is_missing(natural))
            return RC_OK;
        if (bdoc_count(bval_doc(hint)) != 1)
            FAIL(e, ERR_BAD_VALUE, "a hint of $natural cannot name other fields");
        if (!bval_is_number(natural) || !bval_to_i64(natural, &direction) ||
            (direction != 1 && direction != -1))
            FAIL(e, ERR_BAD_VALUE, "$natural hint cannot be set to a value other than -1 or 1.");
        return RC_OK;
    }
    if (bval_is_missing(hint) || hint.type == BT_STRING)
        return RC_OK;
    FAIL(e, ERR_FAILED_TO_PARSE, "hint must be a string or an object");
}

static void close_cursor_doc(struct bw *w, int64_t id, const char *ns)
{
    bw_array_end(w);
    bw_i64(w, "id", id);
    bw_str(w, "ns", ns);
    bw_doc_end(w);
}

RC cmd_cursor_reply(struct cmd_req *r, struct bw *w, struct cursor *c, const struct cmd_batch *b,
                    struct err *e)
{
    int64_t n = b->batch_size < 0 ? CURSOR_FIRST_BATCH : b->batch_size;

    bw_doc_begin(w, "cursor");
    bw_array_begin(w, "firstBatch");
    rc_t rc = RC_OK;
    if (n > 0)
        rc = cursor_fill(c, w, n, CURSOR_BATCH_BYTES, e);
    bool more = !c->exhausted || c->has_pending;
    if (rc.failed || !more || b->single_batch) {
        const char *ns = arena_strdup(r->arena, c->ns);
        cursor_free(c);
        if (rc.failed)
            return rc;
        close_cursor_doc(w, 0, ns);
        return RC_OK;
    }
    c->has_lsid = r->g.has_lsid;
    memcpy(c->lsid, r->g.lsid, sizeof(c->lsid));
    cmd_cursor_keep(r, c);
    const char *ns = arena_strdup(r->arena, c->ns);
    if (cursors_add(r->node->cursors, c, e).failed) {
        cursor_free(c);
        return RC_FAILED;
    }
    close_cursor_doc(w, c->id, ns);
    return RC_OK;
}

struct list_source {
    struct doc_source base;
    struct biter it;
};

static RC list_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct list_source *l = CONTAINER_OF(s, struct list_source, base);

    (void)e;
    *valid = biter_next(&l->it);
    if (*valid)
        *doc = bval_doc(l->it.val);
    return RC_OK;
}

static void list_close(struct doc_source *s)
{
    mem_free(CONTAINER_OF(s, struct list_source, base));
}

RC cmd_list_cursor(struct cmd_req *r, struct bw *w, const char *ns, struct bdoc docs,
                   int64_t batch_size, struct err *e)
{
    struct cursor *c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    struct list_source *l = NEW(struct list_source);
    struct cmd_batch b = { .batch_size = batch_size };

    l->base = (struct doc_source){ .next = list_next, .close = list_close };
    biter_init(&l->it,
               (struct bdoc){ .p = arena_dup(c->arena, docs.p, docs.len), .len = docs.len });
    c->source = &l->base;
    c->ns = arena_strdup(c->arena, ns);
    if (b.batch_size < 0 || (b.batch_size > 0 && b.batch_size >= (int64_t)bdoc_count(docs)))
        b.batch_size = INT64_MAX; /* lists are given whole unless asked otherwise */
    return cmd_cursor_reply(r, w, c, &b, e);
}
