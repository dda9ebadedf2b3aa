/* identity.c - sessions: who is logged in on a connection, and the one check. */
#include "identity_priv.h"

#include "base/arena.h"
#include "base/mem.h"
#include "crypto/secret.h"

struct identity *identity_new(const struct identity_config *c)
{
    struct identity *id = NEW(struct identity);

    id->store = c->store;
    id->fake_salt_key = c->fake_salt_key;
    id->auth = c->auth;
    mutex_init(&id->change_lock);
    if (!id->fake_salt_key) {
        struct err e = { 0 };

        /* Salts of unknown users then change at a restart, which tells them apart from known ones: for tests and sealed nodes. */
        if (secret_random(32, &id->own_salt_key, &e).failed)
            base_panic(__FILE__, __LINE__, e.msg);
    }
    return id;
}

void identity_free(struct identity *id)
{
    if (!id)
        return;
    secret_free(id->own_salt_key);
    mutex_fini(&id->change_lock);
    mem_free(id);
}

bool identity_auth_on(const struct identity *id)
{
    return id->auth;
}

const struct secret *identity__salt_key(const struct identity *id)
{
    return id->fake_salt_key ? id->fake_salt_key : id->own_salt_key;
}

void identity__changed(struct identity *id)
{
    atomic_fetch_add(&id->generation, 1);
}

struct slice identity__id(struct arena *a, struct slice db, struct slice user)
{
    uint8_t *p = arena_alloc(a, db.len + 1 + user.len + 1);

    if (db.len)
        memcpy(p, db.p, db.len);
    p[db.len] = '.';
    if (user.len)
        memcpy(p + db.len + 1, user.p, user.len);
    return SLICE(p, db.len + 1 + user.len);
}

RC identity__load(struct identity *id, struct slice db, struct slice user, struct arena *a,
                  struct bdoc *out, struct err *e)
{
    *out = BDOC_EMPTY;
    if (!id->store)
        FAIL(e, ERR_USER_NOT_FOUND, "users are not available");
    return id->store->load(id->store->ctx, identity__id(a, db, user), a, out, e);
}

/* ---- sessions ---- */

struct identity_session *identity_session_new(struct identity *id, bool loopback)
{
    struct identity_session *s = NEW(struct identity_session);

    s->id = id;
    s->loopback = loopback;
    return s;
}

static void user_fini(struct identity__user *u)
{
    for (int i = 0; i < u->n_roles; i++)
        mem_free(u->roles[i].db);
    mem_free(u->roles);
    mem_free(u->db);
    mem_free(u->name);
}

static void remove_user(struct identity_session *s, int i)
{
    user_fini(&s->users[i]);
    s->users[i] = s->users[--s->n_users];
}

void identity_session_free(struct identity_session *s)
{
    if (!s)
        return;
    while (s->n_users)
        remove_user(s, 0);
    mem_free(s->users);
    mem_free(s);
}

/* A role that a later release wrote grants nothing here. */
static void read_roles(struct bdoc doc, struct identity__user *u)
{
    struct bval roles = bdoc_get(doc, "roles");
    struct biter it;

    if (roles.type != BT_ARRAY)
        return;
    u->roles = NEW_ARRAY(struct identity__role, bdoc_count(bval_doc(roles)) + 1);
    biter_init(&it, bval_doc(roles));
    while (biter_next(&it)) {
        struct bval name, db;
        enum role r;

        if (it.val.type != BT_DOCUMENT)
            continue;
        name = bdoc_get(bval_doc(it.val), "role");
        db = bdoc_get(bval_doc(it.val), "db");
        if (name.type != BT_STRING || db.type != BT_STRING ||
            !roles_find(bval_str(name), bval_str(db), &r))
            continue;
        u->roles[u->n_roles++] = (struct identity__role){
            .role = r, .db = mem_strndup((const char *)bval_str(db).p, bval_str(db).len)
        };
    }
}

static void read_id(struct bdoc doc, struct identity__user *u)
{
    struct bval v = bdoc_get(doc, "userId");
    struct slice id = v.type == BT_BINARY ? bval_bin(v, NULL) : SLICE_EMPTY;

    if (id.len == sizeof(u->id))
        memcpy(u->id, id.p, sizeof(u->id));
}

static RC load_user(struct identity_session *s, struct slice db, struct slice name,
                    struct identity__user *out, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc doc;

    *out = (struct identity__user){ 0 };
    TRY(identity__load(s->id, db, name, a, &doc, e));
    out->db = mem_strndup((const char *)db.p, db.len);
    out->name = mem_strndup((const char *)name.p, name.len);
    read_id(doc, out);
    read_roles(doc, out);
    return RC_OK;
}

static bool same_user(const struct identity__user *x, const struct identity__user *y)
{
    return memcmp(x->id, y->id, sizeof(x->id)) == 0;
}

/* Users that changed are read anew; one that is gone, another of that name, or cannot be read, is logged out. */
static void refresh(struct identity_session *s)
{
    uint64_t now = atomic_load(&s->id->generation);

    if (now == s->generation || s->n_users == 0) {
        s->generation = now;
        return;
    }
    for (int i = 0; i < s->n_users;) {
        struct identity__user fresh;
        struct err e = { 0 };

        if (load_user(s, slice_str(s->users[i].db), slice_str(s->users[i].name), &fresh, &e)
                .failed) {
            err_reset(&e);
            remove_user(s, i);
            continue;
        }
        if (!same_user(&s->users[i], &fresh)) {
            user_fini(&fresh);
            remove_user(s, i);
            continue;
        }
        user_fini(&s->users[i]);
        s->users[i++] = fresh;
    }
    s->generation = now;
}

bool identity_is_authenticated(const struct identity_session *s)
{
    return !s->id->auth || s->n_users > 0;
}

static RC first_user(void *arg, struct bdoc user, struct err *e)
{
    (void)user;
    *(bool *)arg = true;
    FAIL(e, ERR_CONFLICT, "enough"); /* one is enough: ends the walk */
}

RC identity__no_users(struct identity *id, bool *out, struct err *e)
{
    struct err why = { 0 };
    bool any = atomic_load(&id->users_seen);

    *out = false;
    if (any)
        return RC_OK;
    rc_t rc = id->store->each(id->store->ctx, first_user, &any, &why);
    if (any)
        atomic_store(&id->users_seen, true);
    if (rc.failed && !any) /* users that cannot be read are not "no users" */
        rc = err_take(e, &why);
    else
        rc = RC_OK;
    err_reset(&why);
    *out = !any && !rc.failed;
    return rc;
}

bool identity_localhost_exception(struct identity_session *s)
{
    struct identity *id = s->id;
    struct err e = { 0 };
    bool none;

    if (!id->auth || !s->loopback || s->n_users || !id->store)
        return false;
    if (identity__no_users(id, &none, &e).failed)
        err_reset(&e);
    return none;
}

bool identity_allows(struct identity_session *s, struct identity_res r, enum action a)
{
    if (!s->id->auth)
        return true;
    refresh(s);
    for (int i = 0; i < s->n_users; i++)
        for (int k = 0; k < s->users[i].n_roles; k++) {
            const struct identity__role *role = &s->users[i].roles[k];

            if (roles_grant(role->role, slice_str(role->db), r, a))
                return true;
        }
    if (s->n_users == 0 && (a == ACT_CREATE_USER || a == ACT_GRANT_ROLE) && !r.cluster &&
        (a == ACT_GRANT_ROLE || slice_eq_str(r.db, "admin")))
        return identity_localhost_exception(s);
    return false;
}

bool identity_allows_any(struct identity_session *s, struct slice db, enum action a)
{
    if (!s->id->auth)
        return true;
    refresh(s);
    for (int i = 0; i < s->n_users; i++)
        for (int k = 0; k < s->users[i].n_roles; k++)
            if (roles_grant_any(s->users[i].roles[k].role, slice_str(s->users[i].roles[k].db), db,
                                a))
                return true;
    return false;
}

RC identity_require(struct identity_session *s, struct identity_res r, enum action a,
                    const char *cmd, struct err *e)
{
    if (identity_allows(s, r, a))
        return RC_OK;
    if (r.cluster)
        FAIL(e, ERR_UNAUTHORIZED, "not authorized on admin to execute command \"%s\"", cmd);
    if (!r.db.len)
        FAIL(e, ERR_UNAUTHORIZED, "not authorized on every database to execute command \"%s\"",
             cmd);
    FAIL(e, ERR_UNAUTHORIZED, "not authorized on %.*s to execute command \"%s\"", (int)r.db.len,
         (const char *)r.db.p, cmd);
}

/* ---- logging in and out ---- */

static int find_user(const struct identity_session *s, struct slice db)
{
    for (int i = 0; i < s->n_users; i++)
        if (slice_eq_str(db, s->users[i].db))
            return i;
    return -1;
}

RC identity_login(struct identity_session *s, struct slice db, struct slice user, struct err *e)
{
    struct identity__user u;
    /* before the read: a change during it is seen later */
    uint64_t generation = atomic_load(&s->id->generation);
    int at;

    TRY(load_user(s, db, user, &u, e));
    refresh(s);
    at = find_user(s, db);
    if (at >= 0)
        remove_user(s, at);
    s->users = mem_realloc(s->users, (size_t)(s->n_users + 1) * sizeof(*s->users));
    s->users[s->n_users++] = u;
    s->generation = generation < s->generation ? generation : s->generation;
    return RC_OK;
}

void identity_logout(struct identity_session *s, struct slice db)
{
    int at = find_user(s, db);

    if (at >= 0)
        remove_user(s, at);
}

bool identity_current(const struct identity_session *s, int idx, struct slice *db,
                      struct slice *user)
{
    if (idx < 0 || idx >= s->n_users)
        return false;
    *db = slice_str(s->users[idx].db);
    *user = slice_str(s->users[idx].name);
    return true;
}

void identity_write_status(struct identity_session *s, bool privileges, struct bw *w)
{
    refresh(s);
    bw_doc_begin(w, "authInfo");
    bw_array_begin(w, "authenticatedUsers");
    for (int i = 0; i < s->n_users; i++) {
        bw_doc_begin(w, NULL);
        bw_str(w, "user", s->users[i].name);
        bw_str(w, "db", s->users[i].db);
        bw_doc_end(w);
    }
    bw_array_end(w);
    bw_array_begin(w, "authenticatedUserRoles");
    for (int i = 0; i < s->n_users; i++)
        for (int k = 0; k < s->users[i].n_roles; k++) {
            bw_doc_begin(w, NULL);
            bw_str(w, "role", roles_name(s->users[i].roles[k].role));
            bw_str(w, "db", s->users[i].roles[k].db);
            bw_doc_end(w);
        }
    bw_array_end(w);
    if (privileges) {
        bw_array_begin(w, "authenticatedUserPrivileges");
        for (int i = 0; i < s->n_users; i++)
            for (int k = 0; k < s->users[i].n_roles; k++)
                roles_write_privileges(s->users[i].roles[k].role,
                                       slice_str(s->users[i].roles[k].db), w);
        bw_array_end(w);
    }
    bw_doc_end(w);
}
