/* backups.h - the backups that this node made: what is still out there and needs an old version of the key.
 *
 * A list in the state directory, so that it survives the node and is not in a copy of the data. It cannot know of copies that others made.
 */
#ifndef COFFERD_BACKUPS_H
#define COFFERD_BACKUPS_H

#include "bsonx/bw.h"
#include "process.h"

/* backups_note(): dir is about to be made. Before, so that no stop leaves a backup that nobody knows of. */
RC backups_note(struct process *p, struct custody *custody, const char *dir, struct err *e);
/* backups_verified(): of the newest one of that directory, if there is one: error "" = it is good. */
RC backups_verified(struct process *p, const char *dir, int64_t when_ms, const char *error,
                    struct err *e);
/* backups_forget(): it came to nothing. */
RC backups_forget(struct process *p, const char *dir, struct err *e);

struct backup_facts {
    const char *dir;
    int64_t made_ms;
    const char *url, *version; /* the key and its version that open it */
    uint32_t generation;
    int64_t verified_ms;      /* when it was last verified; 0 = never */
    const char *verify_error; /* what was wrong then; "" = nothing */
    bool present; /* dir holds an envelope still; else it may be somewhere else, or gone */
    const struct custody_status *keys; /* what that envelope holds; NULL when there is none */
};
/* backups_each(): oldest first; ERR_CORRUPT when the list cannot be read. The strings live as long as a. */
RC backups_each(struct process *p, struct arena *a,
                void (*fn)(const struct backup_facts *b, void *arg), void *arg, struct err *e);

#endif
