/* state.h - Ready or Inaccessible: the machine that decides when a node seals itself and when it comes back. Pure: no I/O, no clock.
 *
 *             2 x DENIED, >= confirm apart, fresh          ┌──────────────┐
 *   ┌───────┐ or no OK for the grace period                │              │
 *   │ READY ├─────────────────────────────────────────────▶│ INACCESSIBLE │
 *   │       │◀─────────────────────────────────────────────┤              │
 *   └───────┘                      OK                      └──────────────┘
 *
 * Use      A driver (one thread) loops: ks_next() says when to probe and whether on a fresh connection; after the probe it calls
 *          ks_probed() and carries out what that returns. ks_next() may also be asked early (revalidate): it never
 *          makes a confirmation come sooner.
 * Denied   Only a denial on a fresh connection counts. A first one on a reused connection asks for a fresh probe at once. Answers that
 *          carry no verdict on the key (throttled, unreachable, bad) neither confirm a denial nor clear it; OK clears it.
 * Grace    Every class but OK runs it down, on the larger of boot time and real time since the last OK, so that a paused machine does
 *          not gain time. It is looked at only when a probe has ended (or is overdue), so that a clock that jumps while the
 *          vault is well does no harm. The customer's tag can shorten it.
 * Persist  ks_save() / ks_restore(): last OK, state, cause, across a restart or the exec into sealed mode.
 */
#ifndef KEYS_STATE_H
#define KEYS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "keys/probe.h"

enum key_state { KEY_READY, KEY_INACCESSIBLE };
const char *key_state_name(enum key_state s); /* "Ready", "Inaccessible" */

struct ks_time {
    uint64_t boot_us; /* CLOCK_BOOTTIME */
    int64_t real_ms;  /* CLOCK_REALTIME */
};
struct ks_time ks_now(void); /* the only impure call here: reads both clocks */

struct ks_config {
    uint64_t interval_us;        /* between probes while Ready: 15 s */
    uint64_t sealed_interval_us; /* while Inaccessible: 5 s */
    uint64_t confirm_us;         /* least distance of the two denials: 5 s */
    uint64_t grace_us;           /* 60 min */
    /* a probe that has not ended after so long counts as unreachable: 10 s */
    uint64_t overdue_us;
    unsigned jitter_pct; /* of interval_us, downwards: 10 */
};
#define KS_CONFIG_DEFAULT                                                                          \
    ((struct ks_config){ .interval_us = 15000000,                                                  \
                         .sealed_interval_us = 5000000,                                            \
                         .confirm_us = 5000000,                                                    \
                         .grace_us = 3600000000,                                                   \
                         .overdue_us = 10000000,                                                   \
                         .jitter_pct = 10 })

enum ks_cause {
    KS_CAUSE_NONE,
    KS_CAUSE_DENIED,
    KS_CAUSE_GRACE,
    /* the key was in order, and the data could not be opened; of this image alone: never saved */
    KS_CAUSE_STORAGE
};
const char *ks_cause_name(enum ks_cause c); /* "", "denied", "gracePeriod", "storage" */

struct key_machine {
    struct ks_config cfg;
    enum key_state state;
    struct ks_time since;   /* of the state */
    enum ks_cause cause;    /* of Inaccessible */
    struct ks_time last_ok; /* have_ok: is set */
    bool have_ok;
    struct ks_time last_probe; /* end of the last probe */
    enum probe_class last_class;
    bool denied; /* one fresh denial stands, since denied_boot_us */
    uint64_t denied_boot_us;
    uint64_t next_boot_us; /* when the next probe is due, and whether on a fresh connection */
    bool next_fresh;
    bool probing; /* since probe_boot_us */
    uint64_t probe_boot_us;
    bool alarmed;           /* the last verdict was BAD and was told */
    uint64_t saved_boot_us; /* when KS_SAVE was last returned */
    int64_t tag_grace_ms;   /* -1 = none */
    uint64_t seed;          /* of the jitter */
};

/* ks_init(): Ready with the key just unwrapped (the unwrap was an OK), or Inaccessible from the start. */
void ks_init(struct key_machine *m, const struct ks_config *cfg, enum key_state s,
             struct ks_time now, uint64_t seed);

struct ks_plan {
    uint64_t due_boot_us; /* probe then; <= now means at once */
    bool fresh;
};
struct ks_plan ks_next(const struct key_machine *m);
void ks_began(struct key_machine *m, struct ks_time now); /* a probe starts */

enum ks_action {
    KS_NOTHING = 0,
    KS_SEAL = 1,   /* go Inaccessible: m->cause says why */
    KS_RETURN = 2, /* try to come back: custody_open(); then ks_returned() or ks_return_failed() */
    /* a BAD answer: somebody should look (returned once until another class is seen) */
    KS_ALARM = 4,
    KS_SAVE = 8, /* ks_save() is worth writing */
};
/* ks_probed(): a probe ended; tag_grace_ms as in struct key_info. Returns enum ks_action bits. Once KS_SEAL was returned the state is Inaccessible. */
unsigned ks_probed(struct key_machine *m, enum probe_class cls, bool fresh, int64_t tag_grace_ms,
                   struct ks_time now);
/* ks_discard(): a probe ended that says nothing, since the key was changed meanwhile: another one soon, on a fresh connection. */
void ks_discard(struct key_machine *m, struct ks_time now);
/* ks_overdue(): call while the driver does not come back from a probe, or from what followed from it: it counts as unreachable once it is overdue, and
 * again after as long. The driver measures that on a clock which stands still while the machine sleeps; here it is looked at once more. */
unsigned ks_overdue(struct key_machine *m, struct ks_time now);
/* ks_revalidate(): somebody asks for a probe now. Coalesced; a pending confirmation keeps its time. */
void ks_revalidate(struct key_machine *m, struct ks_time now);
void ks_returned(struct key_machine *m, struct ks_time now);
void ks_return_failed(struct key_machine *m, struct ks_time now);
/* ks_storage_failed(): of a machine that is Inaccessible from the start: an image before tried to come back, in vain for the tries-th time (1 is the first), since the
 * disk would not have it. The next probe, and with it the next try, waits for the sealed interval, twice as long after each try, a minute at the most. A
 * denial that is seen meanwhile is the cause from then on. */
void ks_storage_failed(struct key_machine *m, unsigned tries, struct ks_time now);

/* ks_grace_left_us(): counted down in the open; 0 when it is over, the whole of it right after an OK. */
uint64_t ks_grace_left_us(const struct key_machine *m, struct ks_time now);
/* the one in force: the setting, or the tag when lower */
uint64_t ks_grace_us(const struct key_machine *m);

/* ks_save(): to be written with file_write_atomic(). boot_id: 16 bytes of /proc/sys/kernel/random/boot_id. */
void ks_save(const struct key_machine *m, const uint8_t boot_id[16], struct buf *out);
/* ks_restore(): takes over last OK, and for an Inaccessible machine since and cause; boot time only when boot_id is the same. Refuses
 * (ERR_CORRUPT) what ks_save() did not write and leaves m alone. */
RC ks_restore(struct key_machine *m, const uint8_t boot_id[16], struct slice saved,
              struct ks_time now, struct err *e);
/* ks_boot_id(): zeroes when the kernel does not say. */
void ks_boot_id(uint8_t out[16]);

#endif
