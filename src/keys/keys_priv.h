/* keys_priv.h - the envelope in memory, and what the files of this module share. */
#ifndef KEYS_KEYS_PRIV_H
#define KEYS_KEYS_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/thread.h"
#include "keys/custody.h"
#include "keys/keyring.h"
#include "keys/provider.h"

enum {
    COMMITMENT_LEN = 32,
    CANARY_LEN = 32,
    CANARY_MAC_LEN = 32,
    KEY_HASH_LEN = 32,
    ENV_FORMAT = 1,
    ENV_HISTORY_MAX = 256, /* versions remembered per generation; older ones are counted */
    ENV_FILE_MAX = 2 * 1024 * 1024,
    ENV_MAC_LEN = 32,
    ENV_DIGEST_LEN = 32,
};

/* What a running rotation does, as bits. */
enum rotation_kind { ROT_REWRAP = 1, ROT_NEW_GENERATION = 2, ROT_SWITCH = 4 };
enum gen_flags { GEN_EXPOSED = 1 };

struct env_version {
    char version[65];
    int64_t wrapped_s; /* Unix seconds */
};

struct env_gen {
    uint32_t gen;
    enum gen_state state;
    uint8_t flags;
    int64_t created_s;
    uint8_t commitment[COMMITMENT_LEN];
    struct wrapped_key wrap;    /* len 0 = none: a PREPARED generation has none yet */
    struct wrapped_key pending; /* len 0 = none */
    uint32_t n_dropped;         /* versions that history no longer names */
    uint16_t n_history;
    struct env_version *history; /* owned; oldest first; the version of wrap is the last */
};

struct envelope {
    uint64_t sequence;            /* from 1; grows by at least 1 with each write */
    uint8_t lineage[LINEAGE_LEN]; /* random, made with generation 1: the cluster's identity */
    uint8_t first_commitment[COMMITMENT_LEN];
    enum key_mode mode, target_mode; /* target_mode: of a running rotation, else equal to mode */
    enum rotation_state rotation;
    uint8_t rotation_kind; /* enum rotation_kind bits; 0 when idle */
    uint32_t current, next_gen;
    int64_t created_s, written_s;
    /* SHA-256 of the public key that wraps; zero in SMK mode */
    uint8_t key_hash[KEY_HASH_LEN], pending_key_hash[KEY_HASH_LEN];
    struct wrapped_key canary, pending_canary;
    uint8_t canary_mac[CANARY_MAC_LEN], pending_canary_mac[CANARY_MAC_LEN];
    uint16_t n_gens;
    struct env_gen *gens; /* owned; ascending by gen */
};

/* envelope.c: bytes and back. */
struct envelope *envelope_new(void);
struct envelope *envelope_dup(const struct envelope *env);
void envelope_free(struct envelope *env);
void envelope_freep(struct envelope **env);
struct env_gen *envelope_gen(const struct envelope *env, uint32_t gen); /* NULL if there is none */
/* envelope_add_gen(): a new last generation with number env->next_gen, PREPARED; valid until the next call. */
struct env_gen *envelope_add_gen(struct envelope *env);
void envelope_drop_gen(struct envelope *env, uint32_t gen);
void envelope_note_version(struct env_gen *g, const char *version, int64_t now_s);
/* envelope_check(): the rules that docs/formats/envelope.md lists; "" when they hold, else the one that does not. */
const char *envelope_check(const struct envelope *env);
/* envelope_encode(): with the MACs of all live generations, whose SMKs must be in ring, and the digest. */
RC envelope_encode(const struct envelope *env, struct keyring *ring, struct buf *out,
                   struct err *e);
/* envelope_decode(): ERR_ENVELOPE_CORRUPT, ERR_UNKNOWN_FORMAT. What it returns obeys envelope_check() and is not authenticated. */
RC envelope_decode(struct slice bytes, struct envelope **out, struct err *e);
/* envelope_verify(): every live generation's MAC over bytes, from which env was decoded. ERR_ENVELOPE_FORGED. */
RC envelope_verify(const struct envelope *env, struct slice bytes, struct keyring *ring,
                   struct err *e);
/* env_commitment(): what stands beside a wrapped SMK: reveals nothing of it, and no other SMK has the same. */
RC env_commitment(const struct secret *smk, const uint8_t lineage[LINEAGE_LEN], uint32_t gen,
                  uint8_t out[COMMITMENT_LEN], struct err *e);
RC env_canary_mac(const struct secret *canary, const uint8_t lineage[LINEAGE_LEN],
                  uint8_t out[CANARY_MAC_LEN], struct err *e);

/* rotation.c: the machine, without I/O. Each changes env only on success and keeps envelope_check() true. */
struct rotation_plan {
    uint8_t kind;       /* enum rotation_kind bits */
    enum key_mode mode; /* after the rotation */
    uint8_t key_hash[KEY_HASH_LEN];
    /* one per live generation, in order, when kind has ROT_REWRAP */
    const struct wrapped_key *wraps;
    size_t n_wraps;
    const struct wrapped_key *new_wrap; /* when kind has ROT_NEW_GENERATION */
    uint8_t new_commitment[COMMITMENT_LEN];
    struct wrapped_key canary;
    uint8_t canary_mac[CANARY_MAC_LEN];
};
enum rotation_action { ROT_DO_NOTHING, ROT_DO_VERIFY, ROT_DO_COMMIT };
enum rotation_action rotation_next(const struct envelope *env);
/* rotation_prepare(): in a full envelope the oldest retired generation makes room for a new one. */
RC rotation_prepare(struct envelope *env, const struct rotation_plan *p, int64_t now_s,
                    struct err *e);
RC rotation_verified(struct envelope *env, struct err *e);
RC rotation_commit(struct envelope *env, int64_t now_s, struct err *e);
/* rotation_abandon(): before the commit nothing depends on what was prepared. */
RC rotation_abandon(struct envelope *env, struct err *e);
RC rotation_retire(struct envelope *env, uint32_t gen, struct err *e);
RC rotation_destroy(struct envelope *env, uint32_t gen, struct err *e);

/* envelope_file.c: the two copies and the pin. */
struct env_pin {
    uint64_t sequence; /* 0: an envelope is about to be made */
    uint8_t lineage[LINEAGE_LEN];
    uint8_t first_commitment[COMMITMENT_LEN];
    uint32_t gen;                       /* the current one when this was written, */
    uint8_t commitment[COMMITMENT_LEN]; /* and its commitment */
};
void pin_encode(const struct env_pin *p, struct buf *out);
RC pin_decode(struct slice bytes, struct env_pin *out, struct err *e);
/* ERR_PIN_MISSING: also when it is damaged */
RC pin_read(const char *path, struct env_pin *out, struct err *e);
RC pin_write(const char *path, const struct env_pin *p, struct err *e);
void pin_of(const struct envelope *env, struct env_pin *out);
/* pin_check(): does env follow p? ERR_ENVELOPE_FOREIGN, ERR_ENVELOPE_FORGED, ERR_ENVELOPE_STALE. */
RC pin_check(const struct env_pin *p, const struct envelope *env, struct err *e);

enum { ENV_COPIES = 2 };
struct env_loaded {
    struct envelope *env;  /* owned */
    struct buf bytes;      /* owned: what env was decoded from */
    bool good[ENV_COPIES]; /* copies that hold exactly bytes */
};
void env_loaded_fini(struct env_loaded *l);
bool env_files_exist(const char *dir);
RC env_files_load(const char *dir, struct env_loaded *out, struct err *e);
/* env_files_write(): copy after copy. When the first is durable the new state is in force; *written counts. */
RC env_files_write(const char *dir, struct slice bytes, int *written, struct err *e);
/* env_files_hold(): whether both copies are these bytes. */
bool env_files_hold(const char *dir, struct slice bytes);
RC env_files_repair(const char *dir, const struct env_loaded *l, struct err *e);

/* keyring__dup_smk(): a copy of a generation's SMK, for wrapping it anew. ERR_MISSING_GENERATION. */
RC keyring__dup_smk(struct keyring *k, uint32_t gen, struct secret **out, struct err *e);

/* custody.c and custody_rotate.c */
struct custody {
    struct mutex lock; /* one operation at a time; held over [net] calls; above view */
    struct mutex view; /* short: guards env and degraded against custody_status() */
    char *dir, *pin_path;
    uint64_t timeout_us;
    struct key_provider *provider; /* guarded by lock; borrowed */
    struct keyring *ring;          /* owned reference */
    struct envelope *env;          /* owned; replaced with both locks held, read with either */
    uint64_t tried;                /* guarded by lock: the highest sequence that may be on disk */
    bool degraded;                 /* as env: a copy or the pin is behind env */
};
/* custody__save(): make next the envelope in force; takes it on success and leaves NULL. On failure the old one stays in force. */
RC custody__save(struct custody *k, struct envelope **next, struct err *e);
RC custody__heal(struct custody *k, struct err *e);
/* custody__unwrap(): a generation's SMK by w, checked against its commitment. */
RC custody__unwrap(struct custody *k, struct key_provider *p, const struct wrapped_key *w,
                   const struct env_gen *g, struct secret **out, struct err *e);
RC custody__wrap(struct custody *k, struct key_provider *p, const char *version,
                 const struct secret *plain, struct wrapped_key *out, struct err *e);
/* custody__canary(): a new canary, wrapped and unwrapped again. */
RC custody__canary(struct custody *k, struct key_provider *p, const char *version,
                   const uint8_t lineage[LINEAGE_LEN], struct wrapped_key *out,
                   uint8_t mac[CANARY_MAC_LEN], struct err *e);
RC custody__wrapping_key(struct custody *k, struct key_provider *p, const char *version,
                         struct key_info *out, struct err *e);
/* custody__resume(): lock held. p: the provider of the rotation's target. */
RC custody__resume(struct custody *k, struct key_provider *p, struct err *e);
RC custody__abandon(struct custody *k, struct err *e);

bool wrapped_key_equal(const struct wrapped_key *a, const struct wrapped_key *b);

#endif
