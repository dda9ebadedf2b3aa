/* roles.c - the built-in roles as sets of actions on kinds of resources.
 *
 * The rows of roles.def become one array of privileges; each role then has the set of roles that it includes, closed over inclusion once. A check walks the privileges
 * of those roles: about a hundred rows, most of them dismissed by one comparison.
 */
#include "identity/roles.h"

#include <pthread.h>
#include <stdarg.h>

#include "base/mem.h"

enum where { ROLE_ON_ANY, ROLE_ON_ADMIN };
enum kind {
    RES_K_DB,
    RES_K_DB_COLL,
    RES_K_NORMAL,
    RES_K_NAMED_DB,
    RES_K_ANY_COLL,
    RES_K_COLL,
    RES_K_CLUSTER,
    RES_K_ALL,
};

static const char *const action_names[ACTION_NR] = {
#define ACTION(id, name) name,
#include "actions.def"
#undef ACTION
};

static const struct {
    const char *name;
    enum where where;
    const char *sentence;
} defs[ROLE_NR] = {
#define ROLE(id, name, where, sentence) { name, where, sentence },
#define INCLUDE(role, other)
#define PRIV(...)
#include "roles.def"
#undef ROLE
#undef INCLUDE
#undef PRIV
};

static const struct {
    enum role role, other;
} includes[] = {
#define ROLE(...)
#define INCLUDE(role, other) { role, other },
#define PRIV(...)
#include "roles.def"
#undef ROLE
#undef INCLUDE
#undef PRIV
};

static const struct priv {
    enum role role;
    enum kind kind;
    const char *db, *coll;
    const enum action *actions;
    int n_actions;
} privs[] = {
#define ROLE(...)
#define INCLUDE(...)
#define PRIV(role, kind, db, coll, ...)                                                            \
    { role,                                                                                        \
      kind,                                                                                        \
      db,                                                                                          \
      coll,                                                                                        \
      (const enum action[]){ __VA_ARGS__ },                                                        \
      sizeof((const enum action[]){ __VA_ARGS__ }) / sizeof(enum action) },
#include "roles.def"
#undef ROLE
#undef INCLUDE
#undef PRIV
};

enum { N_PRIVS = ARRAY_LEN(privs), SET_WORDS = (ACTION_NR + 63) / 64 };

static uint64_t action_sets[N_PRIVS][SET_WORDS];
static uint64_t closure[ROLE_NR]; /* bit r: that role's rows apply */
static pthread_once_t once = PTHREAD_ONCE_INIT;

_Static_assert(ROLE_NR <= 64, "a role set is one word");

static void prepare(void)
{
    for (int i = 0; i < N_PRIVS; i++)
        for (int k = 0; k < privs[i].n_actions; k++) {
            enum action a = privs[i].actions[k];

            if (a == ACTION_NR)
                memset(action_sets[i], 0xff, sizeof(action_sets[i]));
            else
                action_sets[i][a / 64] |= (uint64_t)1 << (a % 64);
        }
    for (int r = 0; r < ROLE_NR; r++)
        closure[r] = (uint64_t)1 << r;
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < ARRAY_LEN(includes); i++) {
            uint64_t all = closure[includes[i].role] | closure[includes[i].other];

            grew |= all != closure[includes[i].role];
            closure[includes[i].role] = all;
        }
    }
}

const char *action_name(enum action a)
{
    INVARIANT(a < ACTION_NR);
    return action_names[a];
}

const char *roles_name(enum role r)
{
    return defs[r].name;
}

const char *roles_sentence(enum role r)
{
    return defs[r].sentence;
}

bool roles_on_admin_only(enum role r)
{
    return defs[r].where == ROLE_ON_ADMIN;
}

bool roles_find(struct slice name, struct slice db, enum role *out)
{
    for (int r = 0; r < ROLE_NR; r++)
        if (slice_eq_str(name, defs[r].name)) {
            *out = (enum role)r;
            return defs[r].where == ROLE_ON_ANY || slice_eq_str(db, "admin");
        }
    return false;
}

bool roles_includes(enum role r, enum role other)
{
    pthread_once(&once, prepare);
    return closure[r] >> other & 1;
}

static bool is_system(struct slice coll)
{
    return slice_has_prefix(coll, SLICE_LIT("system."));
}

static bool is_normal_db(struct slice db)
{
    return !slice_eq_str(db, "local") && !slice_eq_str(db, "config");
}

static bool matches(const struct priv *p, struct slice role_db, struct identity_res res)
{
    if (p->kind == RES_K_ALL)
        return true;
    if (res.cluster || p->kind == RES_K_CLUSTER)
        return res.cluster && p->kind == RES_K_CLUSTER;
    switch (p->kind) {
    case RES_K_DB: return slice_eq(res.db, role_db) && !is_system(res.coll);
    case RES_K_DB_COLL: return slice_eq(res.db, role_db) && slice_eq_str(res.coll, p->coll);
    case RES_K_NORMAL: return is_normal_db(res.db) && !is_system(res.coll);
    case RES_K_NAMED_DB: return slice_eq_str(res.db, p->db) && !is_system(res.coll);
    case RES_K_ANY_COLL: return slice_eq_str(res.coll, p->coll);
    case RES_K_COLL: return slice_eq_str(res.db, p->db) && slice_eq_str(res.coll, p->coll);
    default: return false;
    }
}

static bool has(int priv, enum action a)
{
    return action_sets[priv][a / 64] >> (a % 64) & 1;
}

bool roles_grant(enum role r, struct slice db, struct identity_res res, enum action a)
{
    pthread_once(&once, prepare);
    for (int i = 0; i < N_PRIVS; i++)
        if ((closure[r] >> privs[i].role & 1) && has(i, a) && matches(&privs[i], db, res))
            return true;
    return false;
}

bool roles_grant_any(enum role r, struct slice db, struct slice where, enum action a)
{
    pthread_once(&once, prepare);
    for (int i = 0; i < N_PRIVS; i++) {
        const struct priv *p = &privs[i];
        struct identity_res res = RES_COLL(where, slice_str(p->coll));

        if ((closure[r] >> p->role & 1) && has(i, a) && p->kind != RES_K_CLUSTER &&
            matches(p, db, res))
            return true;
    }
    return false;
}

static void write_resource(const struct priv *p, struct slice db, struct bw *w)
{
    bw_doc_begin(w, "resource");
    switch (p->kind) {
    case RES_K_CLUSTER: bw_bool(w, "cluster", true); break;
    case RES_K_ALL: bw_bool(w, "anyResource", true); break;
    case RES_K_DB:
    case RES_K_DB_COLL:
        bw_str_slice(w, "db", db);
        bw_str(w, "collection", p->coll);
        break;
    default:
        bw_str(w, "db", p->db);
        bw_str(w, "collection", p->coll);
        break;
    }
    bw_doc_end(w);
}

void roles_write_privileges(enum role r, struct slice db, struct bw *w)
{
    pthread_once(&once, prepare);
    for (int i = 0; i < N_PRIVS; i++) {
        if (!(closure[r] >> privs[i].role & 1))
            continue;
        bw_doc_begin(w, NULL);
        write_resource(&privs[i], db, w);
        bw_array_begin(w, "actions");
        for (int a = 0; a < ACTION_NR; a++)
            if (has(i, (enum action)a))
                bw_str(w, NULL, action_names[a]);
        bw_array_end(w);
        bw_doc_end(w);
    }
}
