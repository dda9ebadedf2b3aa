/* vault_audit_priv.h - the vault's audit log. docs/formats/vault-audit.md has every byte. Included by vault_priv.h. */
#ifndef VAULT_AUDIT_PRIV_H
#define VAULT_AUDIT_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "vault/vault_admin.h"

struct aead_key;
struct sockaddr;
struct secret;
struct vault_audit;
struct vault_service;

/* ---- vault_audit.c: the log as it is written ---- */
/* vault__audit_open(): looks at the newest segment, takes a torn end off, starts a segment of its own. Damage is logged and recorded, and does not keep
 * the vault from opening. */
RC vault__audit_open(struct vault_service *s, struct err *e);
void vault__audit_close(struct vault_service *s); /* pins what was written */
/* vault__audit_keep(): takes away what the service's settings keep no longer. Failures are logged. [any] */
void vault__audit_keep(struct vault_service *s, int64_t now_s);
/* vault__audit_ready(): room on the disk for one record more, and the pin renewed when that is due. Before an operation, so that a full disk refuses it
 * while nothing is done yet. One vault__audit_write() must follow its success. [any] */
RC vault__audit_ready(struct vault_service *s, struct err *e);
/* vault__audit_write(): one record (an object of JSON), in the kernel's hands when it returns: a kill does not lose it. With lasting also on the disk and
 * pinned, or the next vault__audit_ready() fails. [any] Takes its own lock, a leaf. */
RC vault__audit_write(struct vault_service *s, struct slice text, bool lasting, struct err *e);

/* vault__audit_skip(): the record that vault__audit_ready() took room for will not come. */
void vault__audit_skip(struct vault_service *s);

/* ---- vault_audit_refused.c: refusals at a bounded cost. [any] ---- */
enum refused_by { REFUSED_STRANGER, REFUSED_KNOWN, REFUSED_TOKEN, REFUSED_NR };
void vault__refused_open(struct vault_service *s);
void vault__refused_close(struct vault_service *s); /* writes what was counted */
/* vault__refused_take(): true: this refusal has a record of its own, which the caller writes; false: vault__refused_count() must follow. */
bool vault__refused_take(struct vault_service *s, enum refused_by by);
void vault__refused_count(struct vault_service *s, int status, const struct sockaddr *from,
                          const char *object_id);
/* vault__refused_sum(): a record with what was counted, if anything was. */
void vault__refused_sum(struct vault_service *s);

/* ---- vault_audit_segment.c: the bytes of a segment ---- */
enum {
    AUDIT_HEADER_LEN = 128,
    AUDIT_SEGMENT_MAX = 16 << 20, /* no segment is longer */
    AUDIT_RECORD_MAX = 1 << 14,   /* bytes of text */
    AUDIT_FRAME_MAX = 12 + AUDIT_RECORD_MAX + 16,
};
struct audit_keys {
    struct aead_key *text;
    struct secret *check;
};
/* How far the log reaches: records, and the chain over all of them. */
struct audit_at {
    uint64_t seq;
    uint8_t chain[32];
};
void vault__audit_keys_fini(struct audit_keys *k);
/* vault__audit_begin(): the header of segment number, which goes on behind at, and its keys. */
RC vault__audit_begin(struct vault_service *s, uint64_t number, const struct audit_at *at,
                      uint8_t header[AUDIT_HEADER_LEN], struct audit_keys *k, struct err *e);
/* vault__audit_seal(): adds to out the record behind at; index counts from 0 in its segment. Moves at on. A key seals one text for each index. */
RC vault__audit_seal(const struct audit_keys *k, uint64_t index, struct audit_at *at,
                     struct slice text, struct buf *out, struct err *e);
/* vault__audit_start_of(): what a segment's header says came before it, after the header has proved to be of this vault and number. */
RC vault__audit_start_of(struct vault_service *s, struct slice segment, uint64_t number,
                         struct audit_at *out, struct err *e);

struct audit_walk {
    struct audit_at at;
    size_t good; /* bytes of the segment that hold */
    bool torn;   /* the segment ends inside of a record */
};
typedef bool (*audit_each_fn)(void *ctx, const struct audit_at *at, struct slice text);
/* vault__audit_walk(): through a segment that must go on behind w->at, calling each (may be NULL) for the records, until it answers false. Errors:
 * ERR_CORRUPT, with w as far as it holds. */
RC vault__audit_walk(struct vault_service *s, struct slice segment, uint64_t number,
                     struct audit_walk *w, audit_each_fn each, void *ctx, struct err *e);

#endif
