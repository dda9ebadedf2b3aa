/* custody.h - the keys of one cluster: the envelope on disk, its pin outside of it, and the key ring in memory.
 *
 * Model    The envelope (docs/formats/envelope.md) holds the SMK generations, each wrapped by exactly one version of the root: the
 *          service root key (SMK mode) or the customer's key in a vault (CMK mode). It is two files in the data directory,
 *          envelope.1 and envelope.2, replaced atomically one after the other. The pin is a small file outside the data
 *          directory that remembers how far the envelope had got and which keys it held: wrapping needs only a public
 *          key, so an envelope proves nothing by itself.
 * Opening  both copies are read; the newest undamaged one counts. It is compared with the pin; every live generation is unwrapped with
 *          exactly the version stored and compared with its commitment; every one of them must confirm the MAC of the
 *          whole envelope. Only then is anything written (a damaged copy repaired, the pin moved on, a rotation resumed).
 * Errors   ERR_ENVELOPE_CORRUPT (both copies damaged, or gone while the pin remembers them), ERR_ENVELOPE_FORGED, ERR_ENVELOPE_FOREIGN,
 *          ERR_ENVELOPE_STALE, ERR_PIN_MISSING, ERR_WRONG_KEY (the service root key is another one), ERR_KEY_BAD_ANSWER (the vault
 *          answered with something else than it was given), ERR_UNKNOWN_FORMAT, ERR_CONFIG (the mode is another one), and those of
 *          provider.h. Nothing of the data is touched by any of them.
 * Where    vault, key name and identity come from the configuration, by way of the provider; the envelope supplies the version only.
 * Threads  [any]: one mutex per custody, held over [net] calls: rotation and probing do not run at the same time. custody_status()
 *          does not wait for it. Lock order: custody before keyring.
 * Lock     Hold the data directory's lock before any of these is called.
 */
#ifndef KEYS_CUSTODY_H
#define KEYS_CUSTODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "keys/provider.h"

struct custody;
struct keyring;

enum { LINEAGE_LEN = 16, CUSTODY_GEN_MAX = 64 };

enum key_mode {
    KEY_MODE_SMK = 1, /* wrapped by the service root key */
    KEY_MODE_CMK = 2, /* wrapped by a key in the customer's vault */
};

struct custody_config {
    const char *dir;      /* where envelope.1 and envelope.2 are; exists */
    const char *pin_path; /* outside the data directory; its directory exists */
    enum key_mode mode;   /* what the configuration says; must agree with the envelope */
    /* borrowed; sees the SMK: for CMK a helper's (helper.h). Used by these calls only */
    struct key_provider *provider;
    uint64_t timeout_us; /* for one call of the provider */
    /* the operator said so: take this envelope although there is no pin */
    bool adopt;
};

/* What opening found besides success: for the caller to log. */
struct custody_report {
    bool repaired; /* a copy was damaged, missing or behind, and was written anew */
    /* it could not be written: one good copy is all there is; see degraded_err */
    bool degraded;
    struct err degraded_err;
    bool pin_moved; /* the pin was behind: a stop between envelope and pin */
    bool adopted;
    int n_leftovers; /* temporary files of an interrupted write, removed */
    bool resumed;    /* an interrupted rotation was finished */
    /* it was given up: it led to another root, which only custody_switch() knows */
    bool abandoned;
    /* it could not be finished: see pending_err. The keys in use are not affected */
    bool pending;
    struct err pending_err;
};

/* custody_exists(): whether either copy is there, damaged or not. */
bool custody_exists(const char *dir);
/* custody_clean(): remove what a write that was cut short left; how many files. Before anything else has the directory open. */
int custody_clean(const char *dir);
/* custody_create(): a new lineage with generation 1: wrapped, verified by a real unwrap, then written. Refused (ERR_CONFLICT) when a
 * copy exists; ERR_ENVELOPE_CORRUPT when the pin remembers an envelope that is not there. [net] */
RC custody_create(const struct custody_config *c, struct custody **out, struct err *e);
/* [net] */
RC custody_open(const struct custody_config *c, struct custody **out, struct custody_report *r,
                struct err *e);
/* custody_read_copy(): the keys of a copy of a data directory (a backup): unwrapped and authenticated as by custody_open(), but nothing is written, and no pin
 * asked. *out is a reference of the caller's. [net] */
RC custody_read_copy(const struct custody_config *c, struct keyring **out, struct err *e);
void custody_free(struct custody *k); /* NULL is fine; the ring lives on while others hold it */
void custody_freep(struct custody **k);
struct keyring *custody_keyring(struct custody *k); /* borrowed: keyring_ref() to keep it */

/* custody_set_provider(): use p from now on (the one given before was freed, or is about to be). NULL between operations is fine. */
void custody_set_provider(struct custody *k, struct key_provider *p);

/* Rotation. Each step is durable before the next; a stop anywhere is resumed at the next opening, or by the next call. [net]
 *
 * custody_rewrap(): wrap every live generation with another version of the key (version NULL: the newest) of the same root; no data is
 * touched. Does nothing when that is the version in use.
 * custody_new_generation(): a new SMK for new files, under the newest version; the others are re-wrapped to it as well. When the envelope is full, here and in
 * custody_switch(), the oldest retired generation is destroyed by the write that prepares the new one; ERR_CONFLICT when none is retired.
 * custody_switch(): to another root: from SMK to CMK mode (a new generation; older ones are marked exposed), or to another key or
 * vault (re-wrap only, unless new_generation). The old root is not needed: the SMKs are in the ring. On success to->provider is
 * the one from then on. */
RC custody_rewrap(struct custody *k, const char *version, struct err *e);
RC custody_new_generation(struct custody *k, struct err *e);
struct custody_target {
    enum key_mode mode;
    struct key_provider *provider;
    const char *version; /* NULL: the newest */
    bool new_generation; /* also when the mode stays */
};
RC custody_switch(struct custody *k, const struct custody_target *to, struct err *e);
/* custody_resume(): finish an interrupted rotation, if there is one. */
RC custody_resume(struct custody *k, bool *did, struct err *e);
/* custody_heal(): a write of the second copy or of the pin that failed (status: degraded) does not undo an operation, whose result the
 * first copy holds. It is written again here, and before the next operation. So is a copy or a pin that is gone, damaged or another one since: what
 * is in memory was verified, and stays what counts. Nothing to do: RC_OK and not *did. To be called now and then. */
RC custody_heal(struct custody *k, bool *did, struct err *e);

/* Census: what lies under each generation. The store counts; see store_census(). */
struct census_row {
    uint32_t gen;
    uint64_t n_files, bytes;
};
uint64_t census_bytes(const struct census_row *rows, size_t n, uint32_t gen);
bool census_unused(const struct census_row *rows, size_t n, uint32_t gen);
/* census_merge(): add the rows of another count (archived logs, checkpoints, backups) to rows, in place; false when max is too small. */
bool census_merge(struct census_row *rows, size_t *n, size_t max, const struct census_row *more,
                  size_t n_more);

/* custody_retire(): the census says that nothing lies under gen: it leaves the ring and the envelope's MACs; its wrapped form stays.
 * Refused (ERR_CONFLICT) while it is current, while the census counts anything under it, or during a rotation.
 * custody_destroy(): a retired generation's wrapped form is erased. */
RC custody_retire(struct custody *k, uint32_t gen, const struct census_row *rows, size_t n,
                  struct err *e);
RC custody_destroy(struct custody *k, uint32_t gen, struct err *e);

/* What status and reports show. */
enum gen_state { GEN_PREPARED = 1, GEN_LIVE = 2, GEN_RETIRED = 3 };
enum rotation_state { ROT_IDLE = 0, ROT_PREPARED = 1, ROT_VERIFIED = 2 };

struct generation_status {
    uint32_t gen;
    enum gen_state state;
    /* was once wrapped by the service root key, and the cluster is in CMK mode now */
    bool exposed;
    int64_t created_s;
    char version[65];    /* what wraps it; "" for one that is being prepared */
    uint32_t n_versions; /* how many versions ever wrapped it, this one included */
};
struct custody_status {
    enum key_mode mode;
    uint64_t sequence;
    uint8_t lineage[LINEAGE_LEN];
    uint32_t current;
    enum rotation_state rotation;
    char pending[65]; /* the version that a rotation under way goes to; "" when idle */
    char version[65]; /* of the current generation's wrap, and of the canary's */
    char alg[24];
    int64_t wrapped_s; /* when that was */
    bool degraded;
    size_t n;
    struct generation_status row[CUSTODY_GEN_MAX];
};
/* [any] never waits for the network */
void custody_status(struct custody *k, struct custody_status *out);
/* custody_status_of(): the row of a generation, which lives as long as st; NULL: there is none. */
const struct generation_status *custody_status_of(const struct custody_status *st, uint32_t gen);
/* custody_versions(): every version that ever wrapped gen, oldest first: fn is called with the custody's lock held. */
void custody_versions(struct custody *k, uint32_t gen,
                      void (*fn)(const char *version, int64_t since_s, void *arg), void *arg);
const char *key_mode_name(enum key_mode m);             /* "smk", "cmk" */
const char *gen_state_name(enum gen_state s);           /* "prepared", "live", "retired" */
const char *rotation_state_name(enum rotation_state s); /* "idle", "prepared", "verified" */

/* The canary, by which the key is probed: random bytes wrapped under the version in use, never the SMK. A copy that needs no lock. */
struct probe_target {
    struct wrapped_key canary;
    uint8_t mac[32];
    uint8_t lineage[LINEAGE_LEN];
};
void custody_probe_target(struct custody *k, struct probe_target *out);
/* custody_read_target(): from the files alone, for a sealed process: no key is needed, and none of it is authenticated but by the
 * pin. Being able to unwrap it is a reason to try custody_open(), and no more. */
RC custody_read_target(const struct custody_config *c, struct probe_target *out, struct err *e);
/* custody_root(): what wraps the SMKs, as the files say: not authenticated, and compared with no pin. For whoever has to find out which of
 * two configurations an interrupted change left in force. */
struct custody_root {
    enum key_mode mode;
    char version[65];
    uint8_t key_sha256[32]; /* of the public key; zero in SMK mode */
};
RC custody_root(const char *dir, struct custody_root *out, struct err *e);

#endif
