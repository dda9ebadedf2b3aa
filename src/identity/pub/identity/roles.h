/* roles.h - the built-in roles of tables/roles.def, and what they grant. [any] Everything here is constant after the first call. */
#ifndef IDENTITY_ROLES_H
#define IDENTITY_ROLES_H

#include "identity/identity.h"

enum role {
#define ROLE(id, name, where, sentence) id,
#define INCLUDE(role, other)
#define PRIV(...)
#include "roles.def"
#undef ROLE
#undef INCLUDE
#undef PRIV
    ROLE_NR
};

const char *roles_name(enum role r);
const char *roles_sentence(enum role r);
bool roles_on_admin_only(enum role r);
/* roles_find(): the role called name that exists on db; false when there is none. */
bool roles_find(struct slice name, struct slice db, enum role *out);
/* roles_grant(): role r on database db allows a on res. */
bool roles_grant(enum role r, struct slice db, struct identity_res res, enum action a);
/* roles_grant_any(): role r on db allows a on at least one resource of the database where. */
bool roles_grant_any(enum role r, struct slice db, struct slice where, enum action a);
/* roles_includes(): r grants what other grants (itself included). */
bool roles_includes(enum role r, enum role other);
/* roles_write_privileges(): append [{resource, actions}] elements of r on db to an open array. */
void roles_write_privileges(enum role r, struct slice db, struct bw *w);

#endif
