/* inspect.h - what the files of a store's directory are, for evidence: read only, with or without keys.
 *
 * Without   Names, headers and structure are examined, and the ciphertext is searched for what does not look like ciphertext: a run of
 * keys      printable characters or a distribution of bytes that a cipher does not produce (by chance: less than once in 1e9 GB). Nothing of it is authenticated: it
 *           shows that the files are what docs/formats/store.md says, not that nobody replaced them. The store may be in use meanwhile: a file without
 *           an end that somebody has open for writing is unfinished, not damaged (only its owner and root can see whether somebody has).
 * With      Also every header, chunk and frame is authenticated, as the store would when it reads them. The directory must be at rest
 * keys      (hold the data directory's lock); what the anchor remembers is checked by store_open(), not here.
 * [any thread]; blocks on the disk.
 */
#ifndef STORE_INSPECT_H
#define STORE_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/store.h"

struct keyring;

enum { STORE_SALT_LEN = 32 };

struct store_file_facts {
    const char *name; /* below the directory, "archive/000007.log" for a closed journal */
    /* "table", "journal", "manifest", "current", "options", "identity", "anchor", "lock" */
    const char *role;
    const char *layout; /* "block", "stream"; "" for a lock */
    uint64_t bytes;     /* on disk */
    uint64_t units;     /* chunks or frames */
    /* bytes at the end that are no whole frame: never acknowledged, cut off at the next start */
    uint64_t torn;
    uint32_t gen; /* key generation; 0 when the file holds nothing */
    uint8_t salt[STORE_SALT_LEN];
    /* left by a crash before its header: holds nothing; or being written while it was looked at */
    bool unfinished;
    bool authenticated;  /* every byte, with keys */
    const char *problem; /* NULL, or what is wrong, for people */
};

struct store_inspection {
    uint8_t id[STORE_ID_LEN]; /* of the first file that has one */
    uint64_t n_files, bytes, n_problems;
};

/* store_inspect(): fn is told of each file in the order of their names; its argument is valid during the call. A file that vanishes while the
 * directory is read is passed over. keys may be NULL. Problems of files are facts, not errors.
 * Errors: ERR_IO, ERR_NOT_FOUND (no such directory). */
typedef void (*store_file_fn)(void *arg, const struct store_file_facts *f);
RC store_inspect(const char *dir, struct keyring *keys, store_file_fn fn, void *arg,
                 struct store_inspection *out, struct err *e);

#endif
