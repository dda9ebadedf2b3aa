/* drill_key.h - the customer's key from its owner's side: taken away for a drill, and given back whatever happens.
 *
 * Model    The version of the key that the cluster uses is disabled and enabled in its vault, as an identity that may. A second process, the guard,
 *          is there from the start: when this one ends without having given the key back, killed or not, the guard does it.
 * Threads  None: opened before anything that starts one.
 */
#ifndef COFFER_DRILL_KEY_H
#define COFFER_DRILL_KEY_H

#include <stdbool.h>
#include <sys/types.h>

#include "bsonx/bval.h"
#include "coffer.h"

struct key_provider;

struct drill_key {
    struct key_provider *provider;
    char *url;        /* versionless */
    char *version;    /* the one that is disabled */
    uint64_t give_us; /* how long giving it back is tried here, before that is left to the guard */
    int guard;        /* pipe to the guard; -1: none */
    pid_t guard_pid;
    bool away; /* disabled, or may be */
};
#define DRILL_KEY_INIT ((struct drill_key){ .guard = -1 })

/* drill_key_open(): shown is the answer of the cluster's operation keyShow. Who may disable the key is said by the settings, else by the
 * installation's run.env. Nothing is sent yet. Errors: ERR_CONFIG, ERR_ILLEGAL_OPERATION for a cluster without a customer's key. */
RC drill_key_open(const struct coffer *c, struct bdoc shown, struct drill_key *out, struct err *e);
/* drill_key_take(): disabled when it returns; on failure it may be. */
RC drill_key_take(struct drill_key *k, struct err *e);
/* drill_key_give(): tries again for a while. Fine when it is not away. */
RC drill_key_give(struct drill_key *k, struct err *e);
/* drill_key_close(): an away key is left to the guard. */
void drill_key_close(struct drill_key *k);

#endif
