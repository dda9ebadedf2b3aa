/* users.c - user documents: build, change, list, show. */
#include "identity/users.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "identity/scram.h"
#include "identity_priv.h"

/* ---- roles in commands ---- */

static RC parse_role(struct bval v, struct slice db, struct users_role *out, struct err *e)
{
    enum role found;
    struct biter it;

    *out = (struct users_role){ .db = db };
    if (v.type == BT_STRING) {
        out->name = bval_str(v);
    } else if (v.type == BT_DOCUMENT) {
        out->db = SLICE_EMPTY;
        biter_init(&it, bval_doc(v));
        while (biter_next(&it)) {
            struct slice *to = slice_eq_str(it.name, "role") ? &out->name
                               : slice_eq_str(it.name, "db") ? &out->db
                                                             : NULL;

            if (!to)
                FAIL(e, ERR_BAD_VALUE, "role document has a field other than \"role\" and \"db\"");
            if (it.val.type != BT_STRING)
                FAIL(e, ERR_TYPE_MISMATCH, "role names and role databases must be strings");
            *to = bval_str(it.val);
        }
        if (out->name.len == 0 || out->db.len == 0)
            FAIL(e, ERR_BAD_VALUE, "role document needs \"role\" and \"db\"");
    } else {
        FAIL(e, ERR_TYPE_MISMATCH, "Role names must be either strings or objects");
    }
    if (!roles_find(out->name, out->db, &found))
        FAIL(e, ERR_ROLE_NOT_FOUND, "Could not find role: %.*s@%.*s", (int)out->name.len,
             (const char *)out->name.p, (int)out->db.len, (const char *)out->db.p);
    return RC_OK;
}

RC users_parse_roles(struct bval v, struct slice db, struct arena *a, struct users_role **out,
                     int *n, struct err *e)
{
    struct biter it;
    uint32_t count;

    *out = NULL;
    *n = 0;
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "\"roles\" must be an array");
    count = bdoc_count(bval_doc(v));
    if (count > USERS_ROLES_MAX)
        FAIL(e, ERR_BAD_VALUE, "more than %d roles", USERS_ROLES_MAX);
    *out = ARENA_ARRAY(a, struct users_role, (size_t)count + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        TRY(parse_role(it.val, db, &(*out)[(*n)++], e));
    return RC_OK;
}

static bool same_role(const struct users_role *a, const struct users_role *b)
{
    return slice_eq(a->name, b->name) && slice_eq(a->db, b->db);
}

static bool has_role(const struct users_role *list, int n, const struct users_role *r)
{
    for (int i = 0; i < n; i++)
        if (same_role(&list[i], r))
            return true;
    return false;
}

static void write_roles(const struct users_role *roles, int n, struct bw *w)
{
    bw_array_begin(w, "roles");
    for (int i = 0; i < n; i++) {
        if (has_role(roles, i, &roles[i]))
            continue; /* named twice */
        bw_doc_begin(w, NULL);
        bw_str_slice(w, "role", roles[i].name);
        bw_str_slice(w, "db", roles[i].db);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

/* The roles of a stored document, without the check that they still exist. */
static struct users_role *stored_roles(struct bdoc user, struct arena *a, int *n)
{
    struct bval v = bdoc_get(user, "roles");
    struct users_role *out;
    struct biter it;

    *n = 0;
    if (v.type != BT_ARRAY)
        return ARENA_ARRAY(a, struct users_role, 1);
    out = ARENA_ARRAY(a, struct users_role, (size_t)bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct bval name = BVAL_MISSING, db = BVAL_MISSING;

        if (it.val.type == BT_DOCUMENT) {
            name = bdoc_get(bval_doc(it.val), "role");
            db = bdoc_get(bval_doc(it.val), "db");
        }
        if (name.type == BT_STRING && db.type == BT_STRING)
            out[(*n)++] = (struct users_role){ .name = bval_str(name), .db = bval_str(db) };
    }
    return out;
}

/* ---- writing ---- */

static RC check_name(struct slice db, struct slice user, struct err *e)
{
    if (user.len == 0)
        FAIL(e, ERR_BAD_VALUE, "User document needs 'user' field to be non-empty");
    if (db.len == 0)
        FAIL(e, ERR_BAD_VALUE, "User document needs 'db' field to be non-empty");
    if (user.len > USERS_NAME_MAX || memchr(user.p, 0, user.len))
        FAIL(e, ERR_BAD_VALUE, "user name is longer than %d bytes or holds a NUL", USERS_NAME_MAX);
    if (slice_eq_str(db, "local"))
        FAIL(e, ERR_BAD_VALUE, "Cannot create users in the local database");
    if (slice_eq_str(db, "$external"))
        FAIL(e, ERR_BAD_VALUE, "users of $external are not supported");
    return RC_OK;
}

static RC need_store(struct identity *id, struct err *e)
{
    if (!id->store)
        FAIL(e, ERR_CLUSTER_INACCESSIBLE, "users are not available while the node is sealed");
    return RC_OK;
}

/* bw writes to a buf; the finished document moves to the arena and the buf, which held keys, is wiped. */
static struct bdoc settle(struct bw *w, struct buf *b, struct arena *a)
{
    struct bdoc d = bw_finish(w);

    d.p = arena_dup(a, d.p, d.len);
    buf_wipe(b);
    return d;
}

/* Of two clients that both found no user, one makes the first. */
static RC insert_first(struct identity *id, struct slice key, struct bdoc doc, struct err *e)
    TS_REQUIRES(id->change_lock)
{
    bool none;

    TRY(identity__no_users(id, &none, e));
    if (!none)
        FAIL(e, ERR_UNAUTHORIZED, "Command createUser requires authentication");
    return id->store->insert(id->store->ctx, key, doc, e);
}

static RC insert(struct identity *id, const struct users_spec *s, struct slice key, struct bdoc doc,
                 struct err *e)
{
    if (!s->first)
        return id->store->insert(id->store->ctx, key, doc, e);
    mutex_lock(&id->change_lock);
    rc_t rc = insert_first(id, key, doc, e);
    mutex_unlock(&id->change_lock);
    return rc;
}

RC users_create(struct identity *id, const struct users_spec *s, struct arena *a, struct err *e)
{
    struct slice key = identity__id(a, s->db, s->user);
    struct buf b = BUF_INIT;
    uint8_t uuid[16];
    struct bdoc doc;
    struct bw w;

    TRY(check_name(s->db, s->user, e));
    TRY(need_store(id, e));
    TRY(random_bytes(uuid, sizeof(uuid), e));
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122 4.4 */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    bw_init(&w, &b);
    bw_str_slice(&w, "_id", key);
    bw_bin(&w, "userId", /* subtype= */ 4, SLICE(uuid, sizeof(uuid)));
    bw_str_slice(&w, "user", s->user);
    bw_str_slice(&w, "db", s->db);
    if (scram_write_credentials(s->password, SCRAM_ITERATIONS, &w, e).failed) {
        buf_wipe(&b);
        return RC_FAILED;
    }
    write_roles(s->roles, s->n_roles, &w);
    if (s->custom_data.p)
        bw_doc(&w, "customData", s->custom_data);
    doc = settle(&w, &b, a);
    TRY(insert(id, s, key, doc, e));
    atomic_store(&id->users_seen, true);
    identity__changed(id);
    return RC_OK;
}

/* The document old with what s names replaced. */
static RC changed_doc(struct bdoc old, const struct users_spec *s, struct arena *a,
                      struct bdoc *out, struct err *e)
{
    struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    biter_init(&it, old);
    while (biter_next(&it)) {
        if ((s->password && slice_eq_str(it.name, "credentials")) ||
            (s->n_roles >= 0 && slice_eq_str(it.name, "roles")) ||
            (s->custom_data.p && slice_eq_str(it.name, "customData")))
            continue;
        bw_val_slice(&w, it.name, it.val);
    }
    if (s->password && scram_write_credentials(s->password, SCRAM_ITERATIONS, &w, e).failed) {
        buf_wipe(&b);
        return RC_FAILED;
    }
    if (s->n_roles >= 0)
        write_roles(s->roles, s->n_roles, &w);
    if (s->custom_data.p)
        bw_doc(&w, "customData", s->custom_data);
    *out = settle(&w, &b, a);
    return RC_OK;
}

static RC update_locked(struct identity *id, const struct users_spec *s, struct arena *a,
                        struct err *e) TS_REQUIRES(id->change_lock)
{
    struct bdoc old, fresh;

    TRY(users_get(id, s->db, s->user, a, &old, e));
    TRY(changed_doc(old, s, a, &fresh, e));
    TRY(id->store->replace(id->store->ctx, identity__id(a, s->db, s->user), fresh, e));
    identity__changed(id);
    return RC_OK;
}

RC users_update(struct identity *id, const struct users_spec *s, struct arena *a, struct err *e)
{
    rc_t rc;

    TRY(need_store(id, e));
    mutex_lock(&id->change_lock);
    rc = update_locked(id, s, a, e);
    mutex_unlock(&id->change_lock);
    return rc;
}

/* Replaces the roles of a user by those it has plus add, less take. */
static RC change_roles(struct identity *id, struct users_spec *s, const struct users_role *add,
                       int n_add, const struct users_role *take, int n_take, struct arena *a,
                       struct err *e) TS_REQUIRES(id->change_lock)
{
    struct users_role *had, *all;
    struct bdoc old;
    int n;

    TRY(users_get(id, s->db, s->user, a, &old, e));
    had = stored_roles(old, a, &n);
    all = ARENA_ARRAY(a, struct users_role, (size_t)n + (size_t)n_add + 1);
    for (int i = 0; i < n; i++)
        if (!has_role(take, n_take, &had[i]))
            all[s->n_roles++] = had[i];
    for (int i = 0; i < n_add; i++)
        all[s->n_roles++] = add[i];
    s->roles = all;
    return update_locked(id, s, a, e);
}

RC users_grant(struct identity *id, struct slice db, struct slice user,
               const struct users_role *roles, int n, struct arena *a, struct err *e)
{
    struct users_spec s = { .db = db, .user = user };
    rc_t rc;

    TRY(need_store(id, e));
    mutex_lock(&id->change_lock);
    rc = change_roles(id, &s, roles, n, NULL, 0, a, e);
    mutex_unlock(&id->change_lock);
    return rc;
}

RC users_revoke(struct identity *id, struct slice db, struct slice user,
                const struct users_role *roles, int n, struct arena *a, struct err *e)
{
    struct users_spec s = { .db = db, .user = user };
    rc_t rc;

    TRY(need_store(id, e));
    mutex_lock(&id->change_lock);
    rc = change_roles(id, &s, NULL, 0, roles, n, a, e);
    mutex_unlock(&id->change_lock);
    return rc;
}

static RC not_found(struct slice db, struct slice user, struct err *e)
{
    FAIL(e, ERR_USER_NOT_FOUND, "Could not find user \"%.*s\" for db \"%.*s\"", (int)user.len,
         (const char *)user.p, (int)db.len, (const char *)db.p);
}

RC users_drop(struct identity *id, struct slice db, struct slice user, struct arena *a,
              struct err *e)
{
    struct err why = { 0 };

    TRY(need_store(id, e));
    if (id->store->remove(id->store->ctx, identity__id(a, db, user), &why).failed) {
        rc_t rc = why.code == ERR_USER_NOT_FOUND ? not_found(db, user, e) : err_take(e, &why);

        err_reset(&why);
        return rc;
    }
    identity__changed(id);
    return RC_OK;
}

struct name_list {
    struct arena *a;
    struct slice *names;
    int n, cap;
};

static void keep_name(void *arg, struct bdoc user)
{
    struct name_list *l = arg;
    struct bval v = bdoc_get(user, "user");

    if (v.type != BT_STRING)
        return;
    if (l->n == l->cap) {
        struct slice *more = ARENA_ARRAY(l->a, struct slice, (size_t)l->cap * 2 + 16);

        if (l->n)
            memcpy(more, l->names, (size_t)l->n * sizeof(*more));
        l->cap = l->cap * 2 + 16;
        l->names = more;
    }
    l->names[l->n++] = SLICE(arena_dup(l->a, bval_str(v).p, bval_str(v).len), bval_str(v).len);
}

RC users_drop_all(struct identity *id, struct slice db, struct arena *a, int *n, struct err *e)
{
    struct name_list l = { .a = a };

    *n = 0;
    TRY(users_each(id, db, a, keep_name, &l, e));
    for (int i = 0; i < l.n; i++, (*n)++)
        TRY(users_drop(id, db, l.names[i], a, e));
    return RC_OK;
}

/* ---- reading ---- */

RC users_get(struct identity *id, struct slice db, struct slice user, struct arena *a,
             struct bdoc *out, struct err *e)
{
    struct err why = { 0 };
    rc_t rc;

    if (!identity__load(id, db, user, a, out, &why).failed)
        return RC_OK;
    rc = why.code == ERR_USER_NOT_FOUND ? not_found(db, user, e) : err_take(e, &why);
    err_reset(&why);
    return rc;
}

struct collect {
    struct arena *a;
    struct slice db;
    struct bdoc *docs;
    int n, cap;
};

static RC collect_one(void *arg, struct bdoc user, struct err *e)
{
    struct collect *c = arg;
    struct bval db = bdoc_get(user, "db");

    TRY(arena_check(c->a, e));
    if (db.type != BT_STRING || (c->db.len && !slice_eq(bval_str(db), c->db)))
        return RC_OK;
    if (c->n == c->cap) {
        struct bdoc *more = ARENA_ARRAY(c->a, struct bdoc, (size_t)c->cap * 2 + 16);

        if (c->n)
            memcpy(more, c->docs, (size_t)c->n * sizeof(*more));
        c->cap = c->cap * 2 + 16;
        c->docs = more;
    }
    c->docs[c->n++] = (struct bdoc){ .p = arena_dup(c->a, user.p, user.len), .len = user.len };
    return RC_OK;
}

static int by_id(const void *x, const void *y)
{
    return bval_cmp(bdoc_get(*(const struct bdoc *)x, "_id"),
                    bdoc_get(*(const struct bdoc *)y, "_id"));
}

RC users_each(struct identity *id, struct slice db, struct arena *a,
              void (*fn)(void *arg, struct bdoc user), void *arg, struct err *e)
{
    struct collect c = { .a = a, .db = db };

    TRY(need_store(id, e));
    TRY(id->store->each(id->store->ctx, collect_one, &c, e));
    if (c.n)
        qsort(c.docs, (size_t)c.n, sizeof(*c.docs), by_id);
    for (int i = 0; i < c.n; i++)
        fn(arg, c.docs[i]);
    return RC_OK;
}

static void write_inherited(struct bdoc user, struct bw *w)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    int n;
    struct users_role *roles = stored_roles(user, a, &n);
    enum role r;

    /* Built-in roles are shown as they were granted: MongoDB resolves only user-defined ones further. */
    bw_array_begin(w, "inheritedRoles");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(w, NULL);
        bw_str_slice(w, "role", roles[i].name);
        bw_str_slice(w, "db", roles[i].db);
        bw_doc_end(w);
    }
    bw_array_end(w);
    bw_array_begin(w, "inheritedPrivileges");
    for (int i = 0; i < n; i++)
        if (roles_find(roles[i].name, roles[i].db, &r))
            roles_write_privileges(r, roles[i].db, w);
    bw_array_end(w);
}

void users_write(struct bdoc user, unsigned show, struct bw *w)
{
    struct biter it;

    biter_init(&it, user);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "credentials") && !(show & USERS_SHOW_CREDENTIALS))
            continue;
        if (slice_eq_str(it.name, "customData") && !(show & USERS_SHOW_CUSTOM_DATA))
            continue;
        bw_val_slice(w, it.name, it.val);
    }
    bw_array_begin(w, "mechanisms");
    if (scram_has_credentials(user))
        bw_str(w, NULL, "SCRAM-SHA-256");
    bw_array_end(w);
    if (show & USERS_SHOW_PRIVILEGES)
        write_inherited(user, w);
}
