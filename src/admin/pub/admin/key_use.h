/* key_use.h - who used a key, how often and when, summed up from the lines of the embedded vault's audit log (docs/formats/vault-audit.md, section 3).
 *
 * Model    Lines come in in the order of the log. What counts is one key of one vault, and only what was done before a given time, so that the
 *          same log gives the same sums however much was added to it since.
 * Bounds   KEY_USE_ROWS rows of callers and of versions each; what would need another one is counted, and not lost in silence. Texts are cut to
 *          KEY_USE_TEXT bytes.
 * Trusts   nothing: a line that is no record is counted as that. Whether the log is whole is the vault's to say, not told by these sums.
 * Threads  One at a time.
 */
#ifndef ADMIN_KEY_USE_H
#define ADMIN_KEY_USE_H

#include "base/slice.h"
#include "bsonx/bw.h"

struct key_use;

enum { KEY_USE_ROWS = 500, KEY_USE_TEXT = 128 };

/* key_use_new(): until as the log has its times, "2026-11-24T17:00:00.000Z". Texts are copied. */
struct key_use *key_use_new(const char *vault, const char *key, const char *until);
void key_use_free(struct key_use *u); /* NULL is fine */
void key_use_freep(struct key_use **u);
/* key_use_add(): lines with their ends. */
void key_use_add(struct key_use *u, struct slice lines);
/* key_use_write(): the members through (number and chain of the last record before the time, of whatever key), records (of this key), users,
 * versions; furtherRecords and unreadableLines when there are any. */
void key_use_write(const struct key_use *u, struct bw *w);

#endif
