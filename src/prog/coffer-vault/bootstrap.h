/* bootstrap.h - what the settings ask to be there before clients come, and what is told to whoever started us. Idempotent. */
#ifndef COFFER_VAULT_BOOTSTRAP_H
#define COFFER_VAULT_BOOTSTRAP_H

#include "base/err.h"
#include "base/settings.h"

struct vault_service;

enum vault_setting {
#define SETTING(id, type, name, def, min, max, flags, doc) id,
#include "vault_settings.def"
#undef SETTING
    VS_NR
};

/* bootstrap_path(): the setting, or state-dir with suffix appended; mem_free() it. */
char *bootstrap_path(const struct settings *s, enum vault_setting which, const char *suffix);
/* bootstrap_credential_file(): where a principal's credential goes; place as vault_principal_place() says it; id NULL: a managed
 * identity's. mem_free() it. */
char *bootstrap_credential_file(const struct settings *s, const char *place, const char *id);
/* bootstrap_make(): vault, keys, identities, roles, credentials. */
RC bootstrap_make(const struct settings *s, struct vault_service *v, struct err *e);
/* bootstrap_tell(): CA file, facts file, port file, in this order: the port file says that all is there. */
RC bootstrap_tell(const struct settings *s, struct vault_service *v, struct err *e);

#endif
