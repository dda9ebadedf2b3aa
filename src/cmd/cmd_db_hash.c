/* cmd_db_hash.c - dbHash: a checksum of each collection's documents in the order of their _id (of a capped one: in the order of insertion), and one of the whole database:
 * two copies of the same data have the same ones (compatibility 20). MD5, as everybody who compares them expects; it protects nothing.
 */
#include "cmd_priv.h"

#include "crypto/md5.h"

enum { HEX_LEN = 2 * MD5_LEN };

static void put_hex(const uint8_t hash[MD5_LEN], char out[HEX_LEN + 1])
{
    for (int i = 0; i < MD5_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static RC hash_documents(struct cmd_req *r, struct catalog_coll *x, struct md5 *h, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(arena_freep) struct arena *scratch = arena_new(0);
    AUTO(exec_closep) struct exec *scan = NULL;
    AUTO(buf_fini) struct buf sort = BUF_INIT;
    struct exec_row row;
    struct qctx q;
    struct bw w;
    bool valid;

    cmd_qctx(r, a, scratch, &q);
    bw_init(&w, &sort);
    if (!catalog_is_capped(x))
        bw_i32(&w, "_id", 1);
    struct exec_spec s = { .catalog = r->node->catalog,
                           .coll = x,
                           .q = &q,
                           .sort = bw_finish(&w),
                           .hint = BVAL_MISSING,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY };
    TRY(exec_open(&s, &scan, e));
    for (;;) {
        TRY(cmd_check(r, e));
        TRY(exec_next(scan, &row, &valid, e));
        if (!valid)
            return RC_OK;
        TRY(md5_add(h, SLICE(row.doc.p, row.doc.len), e));
    }
}

/* Dropped meanwhile: left out. */
static RC hash_collection(struct cmd_req *r, const struct catalog_named *c, struct md5 *all,
                          struct bw *w, struct err *e)
{
    AUTO(md5_freep) struct md5 *h = NULL;
    uint8_t hash[MD5_LEN];
    char hex[HEX_LEN + 1];

    TRY(md5_new(&h, e));
    TRY(hash_documents(r, c->x, h, e));
    TRY(md5_end(h, hash, e));
    put_hex(hash, hex);
    bw_val_slice(w, c->name, bval_new_str(r->arena, SLICE(hex, HEX_LEN)));
    TRY(md5_add(all, c->name, e));
    return md5_add(all, SLICE(hash, MD5_LEN), e);
}

static RC is_asked(struct bval list, struct slice name, bool *out, struct err *e)
{
    struct biter it;

    *out = list.type != BT_ARRAY || bdoc_is_empty(bval_doc(list));
    if (list.type != BT_ARRAY)
        return RC_OK;
    biter_init(&it, bval_doc(list));
    while (biter_next(&it)) {
        if (it.val.type != BT_STRING)
            FAIL(e, ERR_BAD_VALUE, "collections entries have to be strings");
        *out |= slice_eq(bval_str(it.val), name);
    }
    return RC_OK;
}

static RC hash_database(struct cmd_req *r, const struct catalog_list *l, bool *asked,
                        struct md5 *all, struct bw *w, struct err *e)
{
    bw_array_begin(w, "capped");
    for (int i = 0; i < l->n; i++)
        if (asked[i] && catalog_is_capped(l->v[i].x))
            bw_str_slice(w, NULL, l->v[i].name);
    bw_array_end(w);
    bw_doc_begin(w, "collections");
    for (int i = 0; i < l->n; i++)
        if (asked[i])
            TRY(hash_collection(r, &l->v[i], all, w, e));
    bw_doc_end(w);
    bw_doc_begin(w, "uuids");
    for (int i = 0; i < l->n; i++)
        if (asked[i])
            bw_val_slice(w, l->v[i].name,
                         bval_new_bin(r->arena, 4, SLICE(l->v[i].x->uuid, CATALOG_UUID_LEN)));
    bw_doc_end(w);
    return RC_OK;
}

RC cmd__dbHash(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(md5_freep) struct md5 *all = NULL;
    struct bval list = bdoc_get(r->body, "collections");
    uint64_t from_us = clock_mono_us();
    struct catalog_list l;
    uint8_t hash[MD5_LEN];
    char hex[HEX_LEN + 1];
    bool unused;

    TRY(is_asked(list, SLICE_EMPTY, &unused, e));
    TRY(md5_new(&all, e));
    bw_str(w, "host", r->node->host);
    catalog_list(r->node->catalog, r->db, &l);
    bool *asked = ARENA_ARRAY(r->arena, bool, (size_t)l.n + 1);
    rc_t rc = RC_OK;
    for (int i = 0; i < l.n && !rc.failed; i++) {
        rc = is_asked(list, l.v[i].name, &asked[i], e);
        asked[i] &= !l.v[i].x->is_view;
    }
    if (!rc.failed)
        rc = hash_database(r, &l, asked, all, w, e);
    catalog_list_free(&l);
    TRY(rc);
    TRY(md5_end(all, hash, e));
    put_hex(hash, hex);
    bw_str(w, "md5", hex);
    bw_i64(w, "timeMillis", (int64_t)((clock_mono_us() - from_us) / 1000));
    return RC_OK;
}
