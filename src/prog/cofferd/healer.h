/* healer.h - a copy of the envelope, or its pin, that is damaged, gone or could not be written is made good while the keys are here to vouch for it.
 *
 * A thread of its own, since whoever else knows the custody waits for things that take long: a rotation for its pace or to be resumed, a probe for the network.
 */
#ifndef COFFERD_HEALER_H
#define COFFERD_HEALER_H

#include "process.h"

struct healer;

/* healer_start(): look now, and then as often as the key is probed. custody outlives it. */
struct healer *healer_start(struct process *p, struct custody *custody);
void healer_stop(struct healer *h); /* NULL is fine */

#endif
