/* keyloop.h - the prober: one thread that looks at the customer's key and drives the state machine of keys/state.h.
 *
 * Ready    It probes, follows newer versions of the key, counts the grace period down, and calls on_seal() once when the machine says so.
 * Sealed   It probes with the canary of the envelope and calls on_return() once, when the vault says yes.
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
    void (*on_rewrapped)(void *arg, uint64_t sequence); /* the envelope moved on */
    void *arg;
};

RC keyloop_start(const struct keyloop_config *c, struct keyloop **out, struct err *e);
/* keyloop_stop(): ends the thread (a probe under way is waited for). Not from a callback. NULL is fine. */
void keyloop_stop(struct keyloop *k);
void keyloop_revalidate(struct keyloop *k);
/* keyloop_status(): {state, since, cause, lastProbe {class, at, error}, nextProbe, gracePeriod {total, left}} fields. */
void keyloop_status(struct keyloop *k, struct bw *w);
/* keyloop_times(): for the sealed answer. */
void keyloop_times(struct keyloop *k, int64_t *since_ms, int64_t *next_probe_ms);
bool keyloop_is_ready(struct keyloop *k);

#endif
