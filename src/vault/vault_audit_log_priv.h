/* vault_audit_log_priv.h - the audit log as the files that write and read it know it. */
#ifndef VAULT_AUDIT_LOG_PRIV_H
#define VAULT_AUDIT_LOG_PRIV_H

#include "base/thread.h"
#include "vault_audit_priv.h"

/* What a pin says: how far the log reaches at least, and from which segment on it is kept. */
struct audit_pin {
    struct audit_at end, before; /* before: of what was taken away */
    uint64_t first;
};

struct vault_audit {
    struct mutex lock; /* guards all below but the two paths */
    char *dir, *pin_file;
    int fd;                 /* of the segment that is written; -1: none, after a failure */
    uint64_t number;        /* of that segment */
    uint64_t first_seq;     /* records before it */
    size_t len, room;       /* of it: written, and taken from the file system */
    struct audit_keys keys; /* of it */
    int64_t began_s;        /* of it: Unix seconds */
    int coming;             /* records that vault__audit_ready() has promised room to */
    uint64_t first;         /* the oldest segment that is kept, and what came before it */
    struct audit_at before;
    int readers;          /* of the files: while there are any, none is taken away */
    char ends[32];        /* the time of segment first's last record; "": not looked at yet */
    struct audit_at next; /* where the segment behind it begins */
    struct audit_at at;
    uint64_t pinned_seq, pinned_us;
    uint64_t pin_us; /* from one pin to the next, at least */
    bool pin_owed;   /* renewing it failed */
};

/* mem_free() it */
char *vault__audit_path(const struct vault_audit *a, uint64_t number);
/* vault__audit_segment(): all of it. Errors: ERR_CORRUPT (it is gone), ERR_IO. */
RC vault__audit_segment(const struct vault_audit *a, uint64_t number, struct buf *out,
                        struct err *e);
/* vault__audit_pin(): Errors: ERR_PIN_MISSING, ERR_CORRUPT, ERR_IO. */
RC vault__audit_pin(struct vault_service *s, struct audit_pin *out, struct err *e);
/* vault__audit_time(): the member "time" of a record, which is its first; "" when there is none. */
void vault__audit_time(struct slice text, char out[32]);

#endif
