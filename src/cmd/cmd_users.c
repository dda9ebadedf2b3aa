/* cmd_users.c - users and roles as commands: createUser, updateUser, dropUser, dropAllUsersFromDatabase, grantRolesToUser, revokeRolesFromUser, usersInfo, rolesInfo.
 *
 * Who may do what: a user is managed with the privileges of its own database, a role is given away or taken back with those of the role's database.
 * Passwords move from the message to a struct secret at once; none of these commands is ever printed or compressed (CMD_NO_LOG).
 */
#include "cmd_priv.h"

#include "crypto/secret.h"
#include "identity/roles.h"
#include "identity/users.h"
#include "query/match.h"

struct user_args {
    struct bval pwd, roles, custom_data, mechanisms, restrictions;
    bool digest;
};

static const struct arg user_table[] = {
    ARG(struct user_args, pwd, "pwd", ARG_ANY, 0),
    ARG(struct user_args, roles, "roles", ARG_ARRAY, 0),
    ARG(struct user_args, custom_data, "customData", ARG_DOC, 0),
    ARG(struct user_args, mechanisms, "mechanisms", ARG_ARRAY, 0),
    ARG(struct user_args, restrictions, "authenticationRestrictions", ARG_ARRAY, 0),
    ARG(struct user_args, digest, "digestPassword", ARG_SAFE_BOOL, 0),
};

static RC need_users(struct cmd_req *r, struct err *e)
{
    if (!r->node->identity)
        FAIL(e, ERR_ILLEGAL_OPERATION, "this node has no users");
    return RC_OK;
}

static RC user_name(struct cmd_req *r, struct slice *out, struct err *e)
{
    struct bval v = cmd_first(r);

    TRY(need_users(r, e));

    if (v.type != BT_STRING)
        return cmd_wrong_type(r->def->name, r->def->name, v, "string", e);
    *out = bval_str(v);
    return RC_OK;
}

static RC check_mechanisms(const struct user_args *a, struct err *e)
{
    struct biter it;
    int n = 0;

    if (!a->digest)
        FAIL(e, ERR_BAD_VALUE, "Use of SCRAM-SHA-256 requires undigested passwords");
    if (a->restrictions.type == BT_ARRAY && !bdoc_is_empty(bval_doc(a->restrictions)))
        FAIL(e, ERR_NOT_IMPLEMENTED, "authenticationRestrictions are not supported");
    if (a->mechanisms.type != BT_ARRAY)
        return RC_OK;
    biter_init(&it, bval_doc(a->mechanisms));
    for (; biter_next(&it); n++)
        if (it.val.type != BT_STRING || !slice_eq_str(bval_str(it.val), "SCRAM-SHA-256"))
            FAIL(e, ERR_BAD_VALUE, "Unknown auth mechanism: only SCRAM-SHA-256 is supported");
    if (n == 0)
        FAIL(e, ERR_BAD_VALUE, "mechanisms field must not be empty");
    return RC_OK;
}

static RC take_password(struct cmd_req *r, struct bval v, struct secret **out, struct err *e)
{
    struct slice s;

    *out = NULL;
    if (v.type != BT_STRING)
        return cmd_wrong_type(r->def->name, "pwd", v, "string", e);
    s = bval_str(v);
    if (s.len == 0)
        FAIL(e, ERR_LOC(50687), "Password cannot be empty");
    if (s.len > USERS_PASSWORD_MAX)
        FAIL(e, ERR_BAD_VALUE, "password is longer than %d bytes", USERS_PASSWORD_MAX);
    return secret_from(s.p, s.len, out, e);
}

static RC require_roles(struct cmd_req *r, const struct users_role *roles, int n, enum action a,
                        struct err *e)
{
    for (int i = 0; i < n; i++)
        TRY(identity_require(r->client->identity, RES_DB(roles[i].db), a, r->def->name, e));
    return RC_OK;
}

/* ---- createUser, updateUser ---- */

static RC read_user(struct cmd_req *r, struct user_args *a, struct users_spec *s,
                    struct users_role **roles, struct err *e)
{
    *a = (struct user_args){ .digest = true };
    *s = (struct users_spec){ .db = r->db, .n_roles = -1 };
    TRY(user_name(r, &s->user, e));
    TRY(cmd_args(r, user_table, ARRAY_LEN(user_table), a, e));
    TRY(check_mechanisms(a, e));
    if (a->roles.type == BT_ARRAY)
        TRY(users_parse_roles(a->roles, r->db, r->arena, roles, &s->n_roles, e));
    s->roles = *roles;
    if (a->custom_data.type == BT_DOCUMENT)
        s->custom_data = bval_doc(a->custom_data);
    return RC_OK;
}

RC cmd__createUser(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(secret_freep) struct secret *password = NULL;
    struct users_role *roles = NULL;
    struct user_args a;
    struct users_spec s;

    (void)w;
    TRY(read_user(r, &a, &s, &roles, e));
    if (a.roles.type != BT_ARRAY)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'createUser.roles' is missing but a required field");
    if (a.pwd.type == BT_MISSING || a.pwd.type == BT_NULL)
        FAIL(
            e, ERR_BAD_VALUE,
            "Must provide a 'pwd' field for all user documents, except those with '$external' as the user's source db");
    TRY(require_roles(r, roles, s.n_roles, ACT_GRANT_ROLE, e));
    TRY(take_password(r, a.pwd, &password, e));
    s.password = password;
    s.first = !identity_is_authenticated(r->client->identity); /* by the localhost exception */
    return users_create(r->node->identity, &s, r->arena, e);
}

RC cmd__updateUser(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(secret_freep) struct secret *password = NULL;
    struct identity_session *me = r->client->identity;
    struct users_role *roles = NULL;
    struct user_args a;
    struct users_spec s;

    (void)w;
    TRY(read_user(r, &a, &s, &roles, e));
    if (s.n_roles < 0 && !s.custom_data.p && bval_is_nullish(a.pwd) &&
        a.mechanisms.type == BT_MISSING)
        FAIL(e, ERR_BAD_VALUE, "Must specify at least one field to update in updateUser");
    if (!bval_is_nullish(a.pwd))
        TRY(identity_require(me, RES_DB(r->db), ACT_CHANGE_PASSWORD, r->def->name, e));
    if (s.custom_data.p)
        TRY(identity_require(me, RES_DB(r->db), ACT_CHANGE_CUSTOM_DATA, r->def->name, e));
    if (s.n_roles >= 0) { /* all that it had is taken away first, whatever database that is of */
        TRY(identity_require(me, RES_ANY_DB, ACT_REVOKE_ROLE, r->def->name, e));
        TRY(require_roles(r, roles, s.n_roles, ACT_GRANT_ROLE, e));
    }
    if (bval_is_nullish(a.pwd) && s.n_roles < 0 && !s.custom_data.p)
        TRY(identity_require(me, RES_DB(r->db), ACT_CHANGE_PASSWORD, r->def->name, e));
    if (!bval_is_nullish(a.pwd))
        TRY(take_password(r, a.pwd, &password, e));
    s.password = password;
    return users_update(r->node->identity, &s, r->arena, e);
}

/* ---- dropUser, dropAllUsersFromDatabase ---- */

RC cmd__dropUser(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct slice user;

    (void)w;
    TRY(user_name(r, &user, e));
    TRY(cmd_no_args(r, e));
    return users_drop(r->node->identity, r->db, user, r->arena, e);
}

RC cmd__dropAllUsersFromDatabase(struct cmd_req *r, struct bw *w, struct err *e)
{
    int n;

    TRY(need_users(r, e));
    TRY(cmd_no_args(r, e));
    TRY(users_drop_all(r->node->identity, r->db, r->arena, &n, e));
    bw_i32(w, "n", n);
    return RC_OK;
}

/* ---- grantRolesToUser, revokeRolesFromUser ---- */

struct roles_args {
    struct bval roles;
};

static const struct arg roles_table[] = {
    ARG(struct roles_args, roles, "roles", ARG_ARRAY, ARG_REQUIRED),
};

static RC read_roles(struct cmd_req *r, enum action needed, struct slice *user,
                     struct users_role **roles, int *n, struct err *e)
{
    struct roles_args a = { 0 };

    TRY(user_name(r, user, e));
    TRY(cmd_args(r, roles_table, ARRAY_LEN(roles_table), &a, e));
    TRY(users_parse_roles(a.roles, r->db, r->arena, roles, n, e));
    if (*n == 0)
        FAIL(e, ERR_BAD_VALUE, "%s command requires a non-empty \"roles\" array", r->def->name);
    return require_roles(r, *roles, *n, needed, e);
}

RC cmd__grantRolesToUser(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct users_role *roles;
    struct slice user;
    int n;

    (void)w;
    TRY(read_roles(r, ACT_GRANT_ROLE, &user, &roles, &n, e));
    return users_grant(r->node->identity, r->db, user, roles, n, r->arena, e);
}

RC cmd__revokeRolesFromUser(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct users_role *roles;
    struct slice user;
    int n;

    (void)w;
    TRY(read_roles(r, ACT_REVOKE_ROLE, &user, &roles, &n, e));
    return users_revoke(r->node->identity, r->db, user, roles, n, r->arena, e);
}

/* ---- usersInfo ---- */

struct info_args {
    bool credentials, privileges, custom_data, restrictions;
    struct bval filter;
};

static const struct arg info_table[] = {
    ARG(struct info_args, credentials, "showCredentials", ARG_SAFE_BOOL, 0),
    ARG(struct info_args, privileges, "showPrivileges", ARG_SAFE_BOOL, 0),
    ARG(struct info_args, custom_data, "showCustomData", ARG_SAFE_BOOL, 0),
    ARG(struct info_args, restrictions, "showAuthenticationRestrictions", ARG_SAFE_BOOL, 0),
    ARG(struct info_args, filter, "filter", ARG_DOC, 0),
};

struct info_walk {
    struct cmd_req *r;
    struct bw *w;
    unsigned show;
    struct match *filter;
    struct qctx *q;
    struct err *e; /* of the filter */
};

static void show_user(void *arg, struct bdoc user)
{
    struct info_walk *k = arg;
    struct buf b = BUF_INIT;
    bool take = true;
    struct bw w;
    struct bdoc d;

    bw_init(&w, &b);
    users_write(user, k->show, &w);
    d = bw_finish(&w);
    if (!err_is(k->e) &&
        (!k->filter || !match_eval(k->filter, k->q, d, NULL, &take, k->e).failed) && take)
        bw_doc(k->w, NULL, d);
    buf_wipe(&b);
}

/* One user named by a string or {user, db}. A client may always look at its own. */
static RC one_user(struct info_walk *k, struct bval v, struct err *e)
{
    struct slice user, db = k->r->db, my_db, me;
    struct err why = { 0 };
    struct bdoc doc;
    bool own = false;

    if (v.type == BT_STRING) {
        user = bval_str(v);
    } else if (v.type == BT_DOCUMENT && bdoc_get(bval_doc(v), "user").type == BT_STRING &&
               bdoc_get(bval_doc(v), "db").type == BT_STRING) {
        user = bval_str(bdoc_get(bval_doc(v), "user"));
        db = bval_str(bdoc_get(bval_doc(v), "db"));
    } else {
        FAIL(e, ERR_BAD_VALUE,
             "UserName must be either a string or an object with \"user\" and \"db\"");
    }
    for (int i = 0; identity_current(k->r->client->identity, i, &my_db, &me); i++)
        own |= slice_eq(my_db, db) && slice_eq(me, user);
    if (!own || (k->show & USERS_SHOW_CREDENTIALS))
        TRY(identity_require(k->r->client->identity, RES_DB(db), ACT_VIEW_USER, k->r->def->name,
                             e));
    if (!users_get(k->r->node->identity, db, user, k->r->arena, &doc, &why).failed) {
        show_user(k, doc);
        return RC_OK;
    }
    if (why.code != ERR_USER_NOT_FOUND)
        return err_take(e, &why);
    err_reset(&why);
    return RC_OK;
}

static RC all_users(struct info_walk *k, struct slice db, struct err *e)
{
    TRY(identity_require(k->r->client->identity, db.len ? RES_DB(db) : RES_ANY_DB, ACT_VIEW_USER,
                         k->r->def->name, e));
    return users_each(k->r->node->identity, db, k->r->arena, show_user, k, e);
}

static RC list_users(struct info_walk *k, struct bval which, struct err *e)
{
    struct biter it;

    if (which.type == BT_ARRAY) {
        biter_init(&it, bval_doc(which));
        while (biter_next(&it))
            TRY(one_user(k, it.val, e));
        return RC_OK;
    }
    if (bval_is_number(which))
        return all_users(k, k->r->db, e);
    if (which.type == BT_DOCUMENT && bval_truthy(bdoc_get(bval_doc(which), "forAllDBs")))
        return all_users(k, SLICE_EMPTY, e);
    return one_user(k, which, e);
}

RC cmd__usersInfo(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct info_args a = { .custom_data = true };
    struct info_walk k = { .r = r, .w = w, .e = e };

    TRY(need_users(r, e));
    TRY(cmd_args(r, info_table, ARRAY_LEN(info_table), &a, e));
    k.show = (a.credentials ? USERS_SHOW_CREDENTIALS : 0u) |
             (a.privileges ? USERS_SHOW_PRIVILEGES : 0u) |
             (a.custom_data ? USERS_SHOW_CUSTOM_DATA : 0u);
    if (a.filter.type == BT_DOCUMENT) {
        k.q = ARENA_NEW(r->arena, struct qctx);
        cmd_qctx(r, r->arena, r->scratch, k.q);
        TRY(match_parse(k.q, bval_doc(a.filter), /* flags= */ 0, &k.filter, e));
    }
    bw_array_begin(w, "users");
    TRY(list_users(&k, cmd_first(r), e));
    bw_array_end(w);
    return err_is(e) ? RC_FAILED : RC_OK;
}

/* ---- rolesInfo ---- */

struct roles_info_args {
    bool privileges, builtin, restrictions;
};

static const struct arg roles_info_table[] = {
    ARG(struct roles_info_args, privileges, "showPrivileges", ARG_SAFE_BOOL, 0),
    ARG(struct roles_info_args, builtin, "showBuiltinRoles", ARG_SAFE_BOOL, 0),
    ARG(struct roles_info_args, restrictions, "showAuthenticationRestrictions", ARG_SAFE_BOOL, 0),
};

static void show_role(enum role role, struct slice db, const struct roles_info_args *a,
                      struct bw *w)
{
    bw_doc_begin(w, NULL);
    bw_str_slice(w, "db", db);
    bw_str(w, "role", roles_name(role));
    bw_bool(w, "isBuiltin", true);
    bw_array_begin(w, "roles");
    bw_array_end(w);
    bw_array_begin(w, "inheritedRoles");
    bw_array_end(w);
    if (a->privileges) {
        bw_array_begin(w, "privileges");
        roles_write_privileges(role, db, w);
        bw_array_end(w);
        bw_array_begin(w, "inheritedPrivileges");
        roles_write_privileges(role, db, w);
        bw_array_end(w);
    }
    bw_doc_end(w);
}

static RC one_role(struct cmd_req *r, struct bval v, const struct roles_info_args *a, struct bw *w,
                   struct err *e)
{
    struct slice name, db = r->db;
    enum role role;

    if (v.type == BT_STRING) {
        name = bval_str(v);
    } else if (v.type == BT_DOCUMENT && bdoc_get(bval_doc(v), "role").type == BT_STRING &&
               bdoc_get(bval_doc(v), "db").type == BT_STRING) {
        name = bval_str(bdoc_get(bval_doc(v), "role"));
        db = bval_str(bdoc_get(bval_doc(v), "db"));
    } else {
        FAIL(e, ERR_BAD_VALUE,
             "RoleName must be either a string or an object with \"role\" and \"db\"");
    }
    TRY(identity_require(r->client->identity, RES_DB(db), ACT_VIEW_ROLE, r->def->name, e));
    if (roles_find(name, db, &role))
        show_role(role, db, a, w);
    return RC_OK;
}

RC cmd__rolesInfo(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct roles_info_args a = { 0 };
    struct bval which = cmd_first(r);
    struct biter it;

    TRY(cmd_args(r, roles_info_table, ARRAY_LEN(roles_info_table), &a, e));
    bw_array_begin(w, "roles");
    if (which.type == BT_ARRAY) {
        biter_init(&it, bval_doc(which));
        while (biter_next(&it))
            TRY(one_role(r, it.val, &a, w, e));
    } else if (bval_is_number(which)) {
        TRY(identity_require(r->client->identity, RES_DB(r->db), ACT_VIEW_ROLE, r->def->name, e));
        for (int i = 0; a.builtin && i < ROLE_NR; i++)
            if (!roles_on_admin_only((enum role)i) || slice_eq_str(r->db, "admin"))
                show_role((enum role)i, r->db, &a, w);
    } else {
        TRY(one_role(r, which, &a, w, e));
    }
    bw_array_end(w);
    return RC_OK;
}
