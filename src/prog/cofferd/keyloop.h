/* keyloop.h - the prober: one thread that looks at the customer's key and drives the state machine of keys/state.h.
 *
 * Ready    It probes, follows newer versions of the key, counts the grace period down, and calls on_seal() once when the machine says so.
 * Sealed   It probes with the canary of the envelope and calls on_return() once, when the vault says yes. Where the data, not the key, was in the way, it waits before
 *          that, longer after each try; in SMK mode, where there is nothing to ask, it only waits.
 * After    Either call is its last word: it probes no more, since the image is replaced. A key that comes back while the node seals is found by the next one.
 * Disk     What must survive a restart (last success, state, cause) is written to the state directory when the machine says so.
 * Threads  keyloop_revalidate() and keyloop_status() from any thread; the callbacks run in the prober's thread.
 */
#ifndef COFFERD_KEYLOOP_H
#define COFFERD_KEYLOOP_H

#include "bsonx/bw.h"
#include "keys/state.h"
#include "process.h"

struct keyloop;

struct keyloop_config {
    struct process *process;
    struct custody *custody;   /* NULL while sealed: the target is read from the files */
    enum key_state state;      /* that this image starts in */
    const struct handoff *why; /* Inaccessible: since when and why; NULL while Ready */
    void (*on_seal)(void *arg, const struct handoff *why);
    void (*on_return)(void *arg);
    /* Ready: the key has a newer valid version */
    void (*on_newer)(void *arg, const char *version);
    void *arg;
};

RC keyloop_start(const struct keyloop_config *c, struct keyloop **out, struct err *e);
/* keyloop_stop(): ends the thread (a probe under way is waited for). Not from a callback. NULL is fine. */
void keyloop_stop(struct keyloop *k);
void keyloop_revalidate(struct keyloop *k);
bool keyloop_is_ready(struct keyloop *k);
/* keyloop_is_active(): in SMK mode there is no customer's key, and the loop rests. */
bool keyloop_is_active(struct keyloop *k);

/* keyloop_watch(): for a thread that does nothing else, now and then, while Ready: true, and why, when the prober hangs and the grace period is over. Then
 * the prober decides nothing any more, and the caller seals. It waits for nothing itself. */
bool keyloop_watch(struct keyloop *k, struct handoff *why);

/* While the key is being changed a probe may look at the new key in the old way: what it sees, unless it is good, says nothing. Between begin and end
 * verdicts are dropped; the time since the last good one runs on. end: changed says that another configuration is in force; while Ready its key was just
 * used, and grace_ms is what its tag says (-1 = none). begin is refused (ERR_CLUSTER_INACCESSIBLE) once the machine has decided to seal: nothing takes a
 * cluster away from the key that was just withdrawn. */
RC keyloop_change_begin(struct keyloop *k, struct err *e);
void keyloop_change_end(struct keyloop *k, bool changed, int64_t grace_ms);

/* keyloop_status(): {state, since, cause, storage {error, code, codeName, tries, nextTry}, lastProbe {class, at, error}, nextProbe, nextFollow, gracePeriod {total, left, from}} fields. */
void keyloop_status(struct keyloop *k, struct bw *w);
/* keyloop_times(): for the sealed answer. */
void keyloop_times(struct keyloop *k, int64_t *since_ms, int64_t *next_probe_ms);

#endif
