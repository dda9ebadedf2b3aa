/* cmd_list.c - listCollections and listDatabases. */
#include "cmd_priv.h"

struct list_args {
    struct bval filter, cursor;
    bool name_only, authorized;
};

static const struct arg list_table[] = {
    ARG(struct list_args, filter, "filter", ARG_DOC, 0),
    ARG(struct list_args, cursor, "cursor", ARG_DOC, 0),
    ARG(struct list_args, name_only, "nameOnly", ARG_BOOL, 0),
    ARG(struct list_args, authorized, "authorizedCollections", ARG_BOOL, 0),
};

struct cursor_args {
    int64_t batch_size;
};

static const struct arg cursor_table[] = {
    ARG(struct cursor_args, batch_size, "batchSize", ARG_I64, ARG_NOT_NEGATIVE),
};

static void put_collection(const struct catalog_named *c, bool name_only, struct buf *out)
{
    struct catalog_coll *x = c->x;
    struct bw w;

    bw_init(&w, out);
    pthread_rwlock_rdlock(&x->lock);
    bw_str_slice(&w, "name", c->name);
    bw_str(&w, "type", x->is_view ? "view" : "collection");
    if (!name_only) {
        bw_doc(&w, "options", x->options);
        bw_doc_begin(&w, "info");
        bw_bool(&w, "readOnly", x->is_view);
        if (!x->is_view)
            bw_bin(&w, "uuid", 4, SLICE(x->uuid, CATALOG_UUID_LEN));
        bw_doc_end(&w);
        if (x->n_indexes)
            bw_doc(&w, "idIndex", x->indexes[0].spec);
    }
    pthread_rwlock_unlock(&x->lock);
    bw_finish(&w);
}

static bool may_see(struct cmd_req *r, const struct catalog_named *c, bool authorized)
{
    if (!r->node->auth_enabled || !authorized)
        return true;
    return identity_allows(r->client->identity, RES_COLL(c->db, c->name), ACT_FIND);
}

RC cmd__listCollections(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct list_args a = { 0 };
    struct cursor_args c = { .batch_size = -1 };
    struct match *m = NULL;
    struct qctx q;

    TRY(cmd_args(r, list_table, ARRAY_LEN(list_table), &a, e));
    if (!bval_is_missing(a.cursor))
        TRY(cmd_fields(bval_doc(a.cursor), "listCollections.cursor", cursor_table,
                       ARRAY_LEN(cursor_table), &c, e));
    cmd_qctx(r, r->arena, r->scratch, &q);
    if (!bval_is_missing(a.filter))
        TRY(match_parse(&q, bval_doc(a.filter), 0, &m, e));
    AUTO(buf_fini) struct buf all = BUF_INIT, one = BUF_INIT;
    struct catalog_list l;
    struct bw docs;
    rc_t rc = RC_OK;
    bw_init(&docs, &all);
    bw_array_begin(&docs, "d");
    catalog_list(r->node->catalog, r->db, &l);
    for (int i = 0; !rc.failed && i < l.n; i++) {
        bool ok = true;
        if (!may_see(r, &l.v[i], a.authorized))
            continue;
        buf_clear(&one);
        put_collection(&l.v[i], a.name_only, &one);
        struct bdoc d = { .p = one.p, .len = (uint32_t)one.len };
        if (m)
            rc = match_eval(m, &q, d, NULL, &ok, e);
        if (!rc.failed && ok)
            bw_doc(&docs, NULL, d);
    }
    catalog_list_free(&l);
    bw_array_end(&docs);
    struct bdoc list = bw_finish(&docs);
    TRY(rc);
    const char *ns = arena_printf(r->arena, "%.*s.$cmd.listCollections", (int)r->db.len, r->db.p);
    return cmd_list_cursor(r, w, ns, bval_doc(bdoc_get(list, "d")), c.batch_size, e);
}

struct dbs_args {
    struct bval filter;
    bool name_only;
    struct bval authorized_v;
};

static const struct arg dbs_table[] = {
    ARG(struct dbs_args, filter, "filter", ARG_DOC, 0),
    ARG(struct dbs_args, name_only, "nameOnly", ARG_SAFE_BOOL, 0),
    ARG(struct dbs_args, authorized_v, "authorizedDatabases", ARG_ANY, 0),
};

/* Bytes on disk of a collection and its indexes, for listDatabases. */
static RC add_size(struct catalog_coll *x, int64_t *bytes, struct err *e)
{
    struct coll_info info;
    struct err why = { 0 };

    if (x->is_view)
        return RC_OK;
    if (coll_info(x, &info, &why).failed) {
        if (why.code == ERR_NAMESPACE_NOT_FOUND)
            return RC_OK; /* dropped meanwhile */
        return err_take(e, &why);
    }
    *bytes += (int64_t)(info.disk_bytes + info.index_bytes);
    if (info.disk_bytes == 0)
        *bytes += info.n_bytes; /* not written to a file yet */
    return RC_OK;
}

struct dbs {
    struct cmd_req *r;
    struct qctx q;
    struct match *m;
    bool name_only;
    struct bw *w;
    int64_t total;
};

static RC put_db(struct dbs *x, struct slice db, int64_t bytes, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;
    bool ok = true;

    bw_init(&w, &b);
    bw_str_slice(&w, "name", db);
    if (!x->name_only) {
        bw_i64(&w, "sizeOnDisk", bytes);
        bw_bool(&w, "empty", false);
    }
    struct bdoc d = bw_finish(&w);
    if (x->m)
        TRY(match_eval(x->m, &x->q, d, NULL, &ok, e));
    if (!ok)
        return RC_OK;
    x->total += bytes;
    bw_doc(x->w, NULL, d);
    return RC_OK;
}

/* admin is always there: users and roles are kept for it. */
static RC put_admin(struct dbs *x, const struct catalog_list *l, bool only_authorized,
                    struct err *e)
{
    struct slice admin = SLICE_LIT("admin");
    uint8_t lower[8], upper[8];
    uint64_t bytes;

    for (int i = 0; i < l->n; i++)
        if (slice_eq(l->v[i].db, admin))
            return RC_OK;
    if (only_authorized && !identity_allows_any(x->r->client->identity, admin, ACT_FIND))
        return RC_OK;
    put_be64(lower, META_USERS);
    put_be64(upper, META_USERS + 1);
    store_range_size(x->r->node->store, STORE_META, SLICE(lower, 8), SLICE(upper, 8), &bytes);
    return put_db(x, admin, (int64_t)bytes, e);
}

static RC put_dbs(struct dbs *x, const struct catalog_list *l, bool only_authorized, struct err *e)
{
    for (int i = 0; i < l->n;) {
        struct slice db = l->v[i].db;
        int64_t bytes = 0;
        for (; i < l->n && slice_eq(l->v[i].db, db); i++)
            if (!x->name_only)
                TRY(add_size(l->v[i].x, &bytes, e));
        if (only_authorized && !identity_allows_any(x->r->client->identity, db, ACT_FIND))
            continue;
        TRY(put_db(x, db, bytes, e));
    }
    return RC_OK;
}

RC cmd__listDatabases(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct dbs_args a = { 0 };
    struct dbs x = { .r = r, .w = w };
    struct catalog_list l;

    TRY(cmd_args(r, dbs_table, ARRAY_LEN(dbs_table), &a, e));
    if (!bval_is_missing(a.authorized_v) && a.authorized_v.type != BT_BOOL &&
        a.authorized_v.type != BT_NULL)
        return cmd_wrong_type("listDatabases", "authorizedDatabases", a.authorized_v, "bool", e);
    bool all = !r->node->auth_enabled ||
               identity_allows(r->client->identity, RES_CLUSTER, ACT_LIST_DATABASES);
    bool asked = a.authorized_v.type == BT_BOOL;
    if (!all && asked && !bval_bool(a.authorized_v))
        FAIL(e, ERR_UNAUTHORIZED, "Insufficient permissions to list all databases");
    bool only_authorized = r->node->auth_enabled && (asked ? bval_bool(a.authorized_v) : !all);
    cmd_qctx(r, r->arena, r->scratch, &x.q);
    if (!bval_is_missing(a.filter))
        TRY(match_parse(&x.q, bval_doc(a.filter), 0, &x.m, e));
    x.name_only = a.name_only;
    bw_array_begin(w, "databases");
    catalog_list(r->node->catalog, SLICE_EMPTY, &l);
    rc_t rc = put_admin(&x, &l, only_authorized, e);
    if (!rc.failed)
        rc = put_dbs(&x, &l, only_authorized, e);
    catalog_list_free(&l);
    TRY(rc);
    bw_array_end(w);
    if (!x.name_only) {
        bw_i64(w, "totalSize", x.total);
        bw_i64(w, "totalSizeMb", x.total >> 20);
    }
    return RC_OK;
}
