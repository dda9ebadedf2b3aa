/* cursors.h - queries that outlive their command: find and aggregate leave them, getMore goes on with them.
 *
 * Model    A cursor owns its arenas, its qctx and a source of documents. It is in the registry while idle and checked out by one
 *          operation at a time. Ids are random and positive.
 * Limits   So many at once; idle ones are closed after a time-out unless they were made with no_timeout in a session.
 * Threads  The registry is shared [any]; a checked-out cursor belongs to who holds it. Lock order: the registry's mutex is a leaf; sources are
 *          closed outside of it.
 */
#ifndef EXEC_CURSORS_H
#define EXEC_CURSORS_H

#include "exec/exec.h"

struct cursors;

enum { CURSOR_BATCH_BYTES = 16 * 1024 * 1024, CURSOR_FIRST_BATCH = 101, CURSOR_LSID_LEN = 16 };
/* of a document that leaves: what is stored has 16 MB, and its command some room around it */
enum { CURSOR_DOC_MAX = 16 * 1024 * 1024 + 16 * 1024 };

struct cursor {
    int64_t id; /* 0 before it is registered */
    struct arena *arena, *scratch;
    struct qctx q;
    struct doc_source *source;
    struct catalog_coll *coll; /* a reference, or NULL */
    char *ns;                  /* in arena: "db.coll" as replies show it */
    char *user;                /* in arena: who made it, "" without authentication */
    /* in arena: the command that made it, for the privileges that it asked for; or empty */
    struct bdoc origin;
    bool has_lsid, no_timeout;
    uint8_t lsid[CURSOR_LSID_LEN];
    bool exhausted;
    bool has_pending; /* a document that did not fit the last batch */
    struct buf pending;
    int64_t returned;
    /* Registry's. */
    uint64_t last_used_us;
    bool busy, killed;
    atomic_int *interrupt; /* of who holds it */
    struct cursor *next;
};

struct cursors_config {
    int64_t max, timeout_us;
};
struct cursors *cursors_new(const struct cursors_config *c);
void cursors_free(struct cursors *r); /* closes all; none is checked out */

/* cursor_new(): with its own arenas of so many bytes; not registered. */
struct cursor *cursor_new(size_t budget);
void cursor_free(struct cursor *c); /* NULL is fine */
void cursor_freep(struct cursor **c);

/* cursor_fill(): append documents to the open array of w until n (0: no bound) or the batch's size is reached, or the source ends. One document
 * always fits, unless it is longer than documents may be (ERR_BSON_OBJECT_TOO_LARGE). limit_bytes: what may be added to w. */
RC cursor_fill(struct cursor *c, struct bw *w, int64_t n, size_t limit_bytes, struct err *e);

/* cursors_add(): takes c on success and gives it an id; ERR_EXCEEDED_MEMORY_LIMIT past the limit. */
RC cursors_add(struct cursors *r, struct cursor *c, struct err *e);
/* cursors_checkout(): ERR_CURSOR_NOT_FOUND, ERR_CURSOR_IN_USE. Give it back with cursors_checkin(), or end it with cursors_finish(). *interrupt (which
 * may be NULL) ends the cursor's query; when the cursor is killed meanwhile it says ERR_CURSOR_KILLED, unless it says something already. */
RC cursors_checkout(struct cursors *r, int64_t id, atomic_int *interrupt, struct cursor **out,
                    struct err *e);
void cursors_checkin(struct cursors *r, struct cursor *c);
void cursors_finish(struct cursors *r, struct cursor *c);
/* cursors_kill(): of the namespace, and of the user unless that is NULL; one that is checked out is interrupted, and closed when it is given back. */
enum cursor_kill { CURSOR_KILLED, CURSOR_NOT_FOUND, CURSOR_REFUSED };
enum cursor_kill cursors_kill(struct cursors *r, int64_t id, struct slice ns, const char *user);
/* cursors_kill_session(): those of the session, which is its user's: the same id of another user is another session. */
void cursors_kill_session(struct cursors *r, const uint8_t lsid[CURSOR_LSID_LEN], const char *user);
/* cursors_kill_user(): those of the user's (NULL: anybody's) sessions. */
void cursors_kill_user(struct cursors *r, const char *user);
/* cursors_set_timeout(): of idle ones, from now on. [any] */
void cursors_set_timeout(struct cursors *r, int64_t timeout_us);
int64_t cursors_timeout_us(struct cursors *r);
void cursors_reap(struct cursors *r, uint64_t now_us);
struct cursors_stats {
    int64_t open, pinned, timed_out, total_opened;
};
void cursors_stats(struct cursors *r, struct cursors_stats *out);

#endif
