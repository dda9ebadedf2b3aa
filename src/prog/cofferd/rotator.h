/* rotator.h - the SMK generations of a Ready node: one thread that moves the data to the current one, and puts away those that nothing is left under.
 *
 *   rotate-key ─▶ new generation, current ─▶ files written anew (store_rewrite) ─▶ census: none left ─▶ retired ─▶ destroyed
 *
 * Resume   Nothing of it is remembered but by the envelope (which generations there are) and by the files (which each is under): a stop anywhere is taken up
 *          at the next start. Whether it pauses, and whether it hurries, stands in the state directory: "paused", "urgent N" (as soon as the current generation
 *          is above N). That it hurries is written before the new generation is made, so that a stop in between cannot lose it.
 * Destroy  A retired generation's wrapped form stays while needed() says that something outside of the data directory may want it; after
 *          rotator_rotate(compromised) or rotator_urgently() nothing holds it up. A new generation that finds the envelope full takes the place of the oldest
 *          retired one, which a copy of its own envelope still opens. Whoever takes a generation out, this thread tells it.
 * Threads  [any] all but start and stop. Lock order: op (a rotation, held over [net]) -> removing (generations leave) -> the custody's.
 */
#ifndef COFFERD_ROTATOR_H
#define COFFERD_ROTATOR_H

#include "bsonx/bw.h"
#include "process.h"

struct rotator;
struct store;

struct rotator_config {
    struct process *process;
    struct custody *custody;
    struct store *store;
    /* Make a new SMK generation, current from then on, and have the store know of the envelope. [net] */
    RC (*new_generation)(void *arg, struct err *e);
    /* Finish, or give up, a change of the envelope that an outage cut off. ERR_CONFLICT: one is under way. [net] */
    RC (*resume)(void *arg, struct err *e);
    /* Does a copy that is known need gen's wrapped form? */
    bool (*needed)(void *arg, uint32_t gen);
    void *arg;
};

RC rotator_start(const struct rotator_config *c, struct rotator **out, struct err *e);
/* rotator_stop(): in the middle of a file if need be. NULL is fine. */
void rotator_stop(struct rotator *r);
/* rotator_rotate(): a new generation; the rest follows in the background. compromised: as fast as it can, whatever the setting says, and the old
 * generations are destroyed whoever may want them. Errors: those of new_generation. [net] */
RC rotator_rotate(struct rotator *r, bool compromised, struct err *e);
/* rotator_urgently(): fn makes a new generation in a way of its own (another key, a newer version); once that is in force the rest is as after a rotation
 * that is compromised. If fn fails, or makes none, nothing is urgent that was not before; what an outage cut off is urgent when it goes on. Errors: fn's. [net] */
RC rotator_urgently(struct rotator *r, RC (*fn)(void *arg, struct err *e), void *arg,
                    struct err *e);
/* rotator_holding(): while fn runs no generation is retired or destroyed: what it copies, files first and the envelope after, fits together. Errors: fn's. */
RC rotator_holding(struct rotator *r, RC (*fn)(void *arg, struct err *e), void *arg, struct err *e);
/* rotator_pause(): a step that is under way ends; then nothing is written anew, retired or destroyed until somebody goes on. Kept over restarts. */
RC rotator_pause(struct rotator *r, bool paused, struct err *e);
/* rotator_status(): {state, generation, filesLeft, bytesLeft, bytesDone, bytesPerSecond, secondsLeft, completed, urgent, error} fields. */
void rotator_status(struct rotator *r, struct bw *w);

#endif
