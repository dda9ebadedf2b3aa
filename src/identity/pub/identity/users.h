/* users.h - making, changing and listing users.
 *
 * A user document: {_id: "db.user", userId: UUID, user, db, credentials, roles: [{role, db}, ...], customData?}. These functions build it, keep it through the
 * struct identity_store, and move the generation on, so that open sessions see the change at their next check. They check no privilege: their callers do.
 * [any] Each is one durable write.
 */
#ifndef IDENTITY_USERS_H
#define IDENTITY_USERS_H

#include "identity/identity.h"

struct arena;
struct secret;

enum { USERS_NAME_MAX = 512, USERS_PASSWORD_MAX = 4096 - 1, USERS_ROLES_MAX = 256 };

/* A role in a command: "name" (of the command's database) or {role, db}. */
struct users_role {
    struct slice name, db;
};
/* users_parse_roles(): v is an array. Errors: ERR_ROLE_NOT_FOUND, ERR_BAD_VALUE, ERR_TYPE_MISMATCH. */
RC users_parse_roles(struct bval v, struct slice db, struct arena *a, struct users_role **out,
                     int *n, struct err *e);

struct users_spec {
    struct slice db, user;
    const struct secret *password; /* NULL: unchanged (users_update()), none for $external */
    const struct users_role *roles;
    int n_roles;             /* -1: unchanged */
    struct bdoc custom_data; /* p NULL: none, or unchanged */
    bool first;              /* users_create(): only if there is no user at all */
};
/* Errors: ERR_LOC(51003) for a user that exists; ERR_UNAUTHORIZED for a first one that is not. */
RC users_create(struct identity *id, const struct users_spec *s, struct arena *a, struct err *e);
/* Errors: ERR_USER_NOT_FOUND, also for the two below. */
RC users_update(struct identity *id, const struct users_spec *s, struct arena *a, struct err *e);
RC users_drop(struct identity *id, struct slice db, struct slice user, struct arena *a,
              struct err *e);
RC users_drop_all(struct identity *id, struct slice db, struct arena *a, int *n, struct err *e);
/* users_grant(), users_revoke(): add and take away roles. */
RC users_grant(struct identity *id, struct slice db, struct slice user,
               const struct users_role *roles, int n, struct arena *a, struct err *e);
RC users_revoke(struct identity *id, struct slice db, struct slice user,
                const struct users_role *roles, int n, struct arena *a, struct err *e);

/* users_each(): every user of db, or of all databases when db is empty, in order of _id. */
RC users_each(struct identity *id, struct slice db, struct arena *a,
              void (*fn)(void *arg, struct bdoc user), void *arg, struct err *e);
RC users_get(struct identity *id, struct slice db, struct slice user, struct arena *a,
             struct bdoc *out, struct err *e);

enum users_show {
    USERS_SHOW_CREDENTIALS = 1,
    USERS_SHOW_PRIVILEGES = 2,
    USERS_SHOW_CUSTOM_DATA = 4
};
/* users_write(): the fields of user as usersInfo shows it, into an open document. */
void users_write(struct bdoc user, unsigned show, struct bw *w);

#endif
