/* identity_priv.h - between the files of identity. */
#ifndef IDENTITY_IDENTITY_PRIV_H
#define IDENTITY_IDENTITY_PRIV_H

#include <stdatomic.h>

#include "base/thread.h"
#include "identity/identity.h"
#include "identity/roles.h"

struct identity {
    const struct identity_store *store;
    const struct secret *fake_salt_key;
    struct secret *own_salt_key; /* drawn at start when none was handed in */
    bool auth;
    atomic_uint_least64_t generation; /* moves on with every change of a user; sessions compare */
    /* read-change-write of a user document; held while the store is called */
    struct mutex change_lock;
    atomic_bool users_seen; /* once true, the localhost exception is gone for good */
};

struct identity__role {
    enum role role;
    char *db;
};

enum { IDENTITY_USER_ID_LEN = 16 };

struct identity__user {
    char *db, *name;
    uint8_t id[IDENTITY_USER_ID_LEN]; /* userId: a user that was dropped and made anew is another */
    struct identity__role *roles;
    int n_roles;
};

struct identity_session {
    struct identity *id;
    bool loopback;
    uint64_t generation; /* of the users below */
    struct identity__user *users;
    int n_users;
};

/* identity__id(): "db.user" in a. */
struct slice identity__id(struct arena *a, struct slice db, struct slice user);
/* identity__load(): ERR_USER_NOT_FOUND also when there is no store. */
RC identity__load(struct identity *id, struct slice db, struct slice user, struct arena *a,
                  struct bdoc *out, struct err *e);
const struct secret *identity__salt_key(const struct identity *id);
void identity__changed(struct identity *id);
/* identity__no_users(): true while there is no user at all. Remembers that there was one. */
RC identity__no_users(struct identity *id, bool *out, struct err *e);

#endif
