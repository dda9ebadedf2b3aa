/* outside.h - the store's anchor, kept outside: an older state of the whole data directory, the state directory with it, is refused.
 *
 * The anchor on disk is written first, then the copy outside follows: so the copy is never ahead of the disk, whatever stops in between. At a start the
 * disk must not be behind the copy.
 *
 *   disk ──anchor written, durable──▶ copy outside      start: disk < copy: STALE, unless a restore ticket names exactly this anchor;
 *                                                               disk >= copy: fine, the copy follows
 *
 * Restore  A backup is older, and that is meant: restoring writes a ticket with the lineage and the hash of the ANCHOR that it put there. The store then counts
 *          on from what the copy outside remembers, so that nothing between the two can be put back later; and the ticket is gone.
 * Places   A file, and a tag of a key in a vault (outside_tag.h); either, both or none. What counts is the one that got further.
 * Lost     A copy that is missing, damaged or cannot be written costs what it would have shown, and no service: it is logged, and told in the status.
 * Threads  One for each copy, which writes it; status [any].
 */
#ifndef COFFERD_OUTSIDE_H
#define COFFERD_OUTSIDE_H

#include "bsonx/bw.h"
#include "process.h"

struct outside;
struct store;

/* What a start found; zero when nothing is kept outside. */
struct outside_found {
    uint64_t floor; /* the store's counter must have got so far; 0 = not known */
    bool ticket;    /* it need not, for this once: it goes on from there */
    bool lost[2];   /* of each place: it was to be there, and is not, or is damaged */
};

/* outside_look(): before the store is opened. fresh: the cluster is being made. [net] Errors: ERR_CONFIG (the place), ERR_FOREIGN_FILE (another cluster's). */
RC outside_look(struct process *p, struct custody *custody, bool fresh, struct outside_found *out,
                struct err *e);
/* outside_start(): keep what the settings ask for from now on. */
struct outside *outside_start(struct process *p, struct custody *custody, struct store *store,
                              const struct outside_found *found);
/* writes it a last time; before store_close(); NULL is fine */
void outside_stop(struct outside *o);
/* outside_status(): {externalAnchor: {path, counter, written, storeCounter, lostAtStart, error}, externalAnchorKey: {key, the same}}: those that there are;
 * nothing when o is NULL. */
void outside_status(struct outside *o, struct bw *w);

/* outside_write_ticket(): the store in the data directory, as it stands, may be older than the copy outside, once. envelope_dir: where the cluster's envelope
 * is. [disk] */
RC outside_write_ticket(struct process *p, const char *envelope_dir, struct err *e);
/* outside_drop_ticket(): the store is open. */
RC outside_drop_ticket(struct process *p, struct err *e);

#endif
