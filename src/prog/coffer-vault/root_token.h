/* root_token.h - the PKCS #11 token whose key wraps the vault's root key: asked in a helper process, so that the vendor's module is never loaded here.
 *
 * A PIN that the token refused is remembered in the state directory (root.pin-refused) until the PIN's file is another: whatever starts the vault anew
 * and anew, the token is not locked by it.
 */
#ifndef COFFER_VAULT_ROOT_TOKEN_H
#define COFFER_VAULT_ROOT_TOKEN_H

#include "base/err.h"
#include "base/settings.h"

struct key_provider;

enum { ROOT_TOKEN_ID_MAX = 256 };
struct root_token {
    struct key_provider *provider;  /* NULL: no setting asks for a token */
    char pin_id[ROOT_TOKEN_ID_MAX]; /* which file the PIN is in; nothing of what is in it */
};

/* root_token_init(): nothing is asked of the token yet. Errors: ERR_CONFIG, ERR_KEY_DENIED (this PIN was refused before), ERR_IO. */
RC root_token_init(struct root_token *t, const struct settings *s, const char *argv0,
                   struct err *e);
/* root_token_note(): what came of the start; e: its error, empty when the vault opened. */
void root_token_note(const struct root_token *t, const struct settings *s, const struct err *e);
void root_token_fini(struct root_token *t);

/* root_token_helper(): main() of the helper; argv[1] is HELPER_ARG. Returns the exit code. */
int root_token_helper(void);

#endif
