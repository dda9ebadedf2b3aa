/* provider.h - which key provider this node uses, and which process it works in.
 *
 * SMK mode works in the server: the service root key is a file, there is no HTTP or JSON that could keep a copy. In CMK mode whatever sees the SMK
 * works in the unwrap helper, and the prober, which only ever sees the canary, works in the server; for a PKCS #11 token it has a helper too, since the
 * token's module is not loaded into the server.
 */
#ifndef COFFERD_PROVIDER_H
#define COFFERD_PROVIDER_H

#include "keys/provider.h"
#include "process.h"

/* provider_for_smk(): the provider that may see SMKs, as c says. SMK mode: the service root key's, with a warning when it lies on the data's device.
 *   make_root  the root key's file is made when it is not there. Only where nothing is wrapped by it yet: a root key that vanished must not be
 *              replaced by another, which could not open the envelope that is there. */
RC provider_for_smk(struct process *p, const struct keyconf *c, bool make_root,
                    struct key_provider **out, struct err *e);
/* provider_for_probe(): CMK mode: for the canary and for random bytes only: a provider in this process, or one in a helper of its own where it loads
 * a module of somebody else's. */
RC provider_for_probe(struct process *p, const struct keyconf *c, struct key_provider **out,
                      struct err *e);
void provider_freep(struct key_provider **p);

/* key_helper_main(): main() of the unwrap helper; argv[1] is HELPER_ARG. Returns the exit code. */
int key_helper_main(void);

#endif
