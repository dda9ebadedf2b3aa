/* identity.h - who a client is and what it may do: users, built-in roles, privileges.
 *
 * Model    Users are documents {_id: "db.user", user, db, userId, credentials, roles, ...}, kept by a struct identity_store that is handed in. A struct
 *          identity_session belongs to a connection: the users it authenticated as, one a database, and the privileges of their roles. Any change of a user
 *          made through this module moves a generation on, and every session reloads its users before its next check.
 * Rule     Nothing is allowed that a role of tables/roles.def does not grant. With authentication off every check passes. While there is no user at all, a
 *          loopback client may create the first one, on admin (identity_localhost_exception()).
 * Threads  struct identity is shared [any]. A session is used by one thread at a time.
 * Locks    One lock orders changes of user documents and is held while the store is called; checks and logins take none.
 */
#ifndef IDENTITY_IDENTITY_H
#define IDENTITY_IDENTITY_H

#include "base/err.h"
#include "base/slice.h"
#include "bsonx/bw.h"

struct arena;
struct identity;
struct identity_session;
struct secret;

enum action {
#define ACTION(id, name) id,
#include "actions.def"
#undef ACTION
    ACTION_NR
};
const char *action_name(enum action a); /* static */

/* Where the user documents are. Ids are "db.user". Each call is one transaction, durable when it returns. */
struct identity_store {
    void *ctx;
    /* load(): *out in a; ERR_USER_NOT_FOUND. */
    RC (*load)(void *ctx, struct slice id, struct arena *a, struct bdoc *out, struct err *e);
    /* insert(): ERR_LOC(51003) when the id is taken. replace(): ERR_USER_NOT_FOUND. */
    RC (*insert)(void *ctx, struct slice id, struct bdoc user, struct err *e);
    RC (*replace)(void *ctx, struct slice id, struct bdoc user, struct err *e);
    RC (*remove)(void *ctx, struct slice id, struct err *e); /* ERR_USER_NOT_FOUND */
    /* each(): hands every user document to fn, in any order, until fn fails. */
    RC (*each)(void *ctx, RC (*fn)(void *arg, struct bdoc user, struct err *e), void *arg,
               struct err *e);
};

struct identity_config {
    /* outlives the identity; NULL while sealed: nobody can log in */
    const struct identity_store *store;
    /* per cluster, so that an unknown user's salt never changes; borrowed */
    const struct secret *fake_salt_key;
    bool auth; /* false: every check passes */
};

struct identity *identity_new(const struct identity_config *c);
void identity_free(struct identity *id); /* NULL is fine; sessions are gone before */
bool identity_auth_on(const struct identity *id);

/* Sessions. loopback: the client connects over the loopback interface or a Unix socket. */
struct identity_session *identity_session_new(struct identity *id, bool loopback);
void identity_session_free(struct identity_session *s); /* NULL is fine */
bool identity_is_authenticated(const struct identity_session *s);
/* identity_localhost_exception(): true when s may act as nobody because there is no user yet. Reads the store until a first user was seen. */
bool identity_localhost_exception(struct identity_session *s);

/* What is acted on. cluster true: the cluster itself; else a collection; coll empty: the database as a whole. */
struct identity_res {
    bool cluster;
    struct slice db, coll;
};
#define RES_CLUSTER ((struct identity_res){ .cluster = true })
/* every database a client may make: only a role of all of them grants it */
#define RES_ANY_DB ((struct identity_res){ 0 })
#define RES_DB(db_) ((struct identity_res){ .db = (db_) })
#define RES_COLL(db_, coll_) ((struct identity_res){ .db = (db_), .coll = (coll_) })

/* identity_allows(): the one check. True when authentication is off. */
bool identity_allows(struct identity_session *s, struct identity_res r, enum action a);
/* identity_require(): identity_allows() or ERR_UNAUTHORIZED 'not authorized on DB to execute command "CMD"'. */
RC identity_require(struct identity_session *s, struct identity_res r, enum action a,
                    const char *cmd, struct err *e);
/* identity_allows_any(): a is allowed on at least one resource in db (listCollections with authorizedCollections, listDatabases). */
bool identity_allows_any(struct identity_session *s, struct slice db, enum action a);

/* Logging in and out. A session holds one user a database; a second login on the same database replaces the first. */
RC identity_login(struct identity_session *s, struct slice db, struct slice user, struct err *e);
void identity_logout(struct identity_session *s, struct slice db);
/* identity_write_status(): connectionStatus's {authInfo: {authenticatedUsers, authenticatedUserRoles[, authenticatedUserPrivileges]}} fields into w. */
void identity_write_status(struct identity_session *s, bool privileges, struct bw *w);
/* identity_current(): the idx-th authenticated user; false past the end. The slices hold until the session changes. */
bool identity_current(const struct identity_session *s, int idx, struct slice *db,
                      struct slice *user);

#endif
