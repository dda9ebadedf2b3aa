/* keyctl.h - everything that changes which key wraps the SMKs, or under which version: one at a time.
 *
 *   Ready         follow (a newer version), set (another key, vault, identity), switch (between the service's key and the customer's), new generation
 *   Inaccessible  set, as long as it needs no SMK: another identity or way to the same key, or a key in another vault with the same RSA material
 *
 * Crashes  key-config.next is written before the envelope is touched, and taken over after (keyconf.h). A stop anywhere leaves either the old key or the
 *          new one in force, and the next start finds out which.
 * Order    the keyctl's busy flag before the custody's lock; never held by the prober's thread for longer than a rewrap takes.
 */
#ifndef COFFERD_KEYCTL_H
#define COFFERD_KEYCTL_H

#include "base/thread.h"
#include "keyloop.h"
#include "keys/preflight.h"
#include "process.h"

struct store;

struct keyctl {
    struct process *process;
    struct custody *custody; /* NULL while sealed */
    struct store *store;     /* NULL while sealed */
    struct keyloop *loop;
    struct mutex lock;
    struct cond free;
    bool busy, itself; /* guarded by lock; itself: what is under way was not asked for by anybody */
};

/* Who wants something: what the node does by itself gives way; somebody who asks waits for that, and is refused only when somebody else's change is under way. */
enum keyctl_who { KEYCTL_ASKED, KEYCTL_ITSELF };

void keyctl_init(struct keyctl *k, struct process *p);
void keyctl_fini(struct keyctl *k);

/* keyctl_check(): what keyctl_set() would look at before it did anything. ERR_CONFIG: to is no configuration; what the vault says is in out. [net] */
RC keyctl_check(struct keyctl *k, const struct keyconf *to, struct preflight *out, struct err *e);
/* keyctl_set(): to is in force, or nothing changed. [net]
 *   new_generation  also make a new SMK (one that somebody may have got hold of is used no more)
 * Errors: ERR_CONFLICT (another change that was asked for is under way), ERR_ILLEGAL_OPERATION (it needs the cluster to be Ready), the preflight's, the custody's. */
RC keyctl_set(struct keyctl *k, const struct keyconf *to, bool new_generation, struct err *e);
/* keyctl_follow(): wrap the SMKs with that version (NULL: the newest) of the same key; compromised: and make a new generation. Ready only. [net] */
RC keyctl_follow(struct keyctl *k, enum keyctl_who who, const char *version, bool compromised,
                 struct err *e);
/* keyctl_with_provider(): for other operations on the custody that wrap or unwrap: fn runs with the provider in force set, alone. Afterwards the store
 * knows the envelope's sequence. Ready only. [net] */
typedef RC (*keyctl_fn)(struct custody *custody, void *arg, struct err *e);
RC keyctl_with_provider(struct keyctl *k, enum keyctl_who who, keyctl_fn fn, void *arg,
                        struct err *e);

#endif
