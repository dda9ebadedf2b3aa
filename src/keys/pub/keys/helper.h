/* helper.h - the unwrap helper: a short-lived process, the only one whose HTTP, TLS and JSON buffers ever hold an SMK.
 *
 *      server                                                  helper (the same binary, exec of an open fd)
 *      helper_provider_new() ── config ──▶ socketpair ──▶      helper_serve(): make(config) builds the real provider
 *      p->unwrap(w)          ── request ─▶             ──▶      provider->unwrap(w)
 *      struct secret         ◀─ answer ──              ◀──      wiped, ends when the parent closes
 *
 * Model    The parent's side is a struct key_provider like any other: each call is one request over a socketpair. Frames are at most
 *          HELPER_FRAME_MAX bytes, their lengths checked on both sides, and built in struct secret. The helper is started by the
 *          first call and killed by free(), by a deadline or by an answer that cannot be right.
 * Spawned  by posix_spawn (no copy of the parent's memory) of exe_fd, with an empty environment but env, every descriptor closed but the
 *          socket (fd 3), stdin and stdout on /dev/null, stderr kept.
 * Helper   not dumpable, no core, dies with its parent, memory locked where RLIMIT_MEMLOCK allows. main() first calls
 *          wipe_install_openssl() (crypto/wipe.h) and its counterparts for libcurl and jansson (http_client_global_init(),
 *          kjson_wiping()), then helper_harden(), secret_arena_init(), crypto_init(), helper_serve(HELPER_FD, ...).
 * Threads  a helper provider: one thread at a time.
 */
#ifndef KEYS_HELPER_H
#define KEYS_HELPER_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "keys/provider.h"

enum { HELPER_FD = 3, HELPER_FRAME_MAX = 4000, HELPER_CONFIG_MAX = 3900 };
/* argv[1] of a helper: main() looks for it before anything else */
#define HELPER_ARG "--internal-key-helper"

struct helper_config {
    int exe_fd; /* the program, opened at start; kept by the caller */
    const char *argv0;
    /* opaque to this module: handed to make() in the helper; at most HELPER_CONFIG_MAX bytes; copied */
    struct slice config;
    const char *const *env; /* NULL-terminated "NAME=value"; NULL = none; borrowed */
};
RC helper_provider_new(const struct helper_config *c, struct key_provider **out, struct err *e);
/* helper_provider_locked(): whether the helper could lock all of its memory; meaningful after a call succeeded. */
bool helper_provider_locked(const struct key_provider *p);

/* helper_serve(): the child's side; returns when the parent closes. secret_arena_init() and crypto_init() come before it.
 * make() builds the provider from the parent's config. */
typedef
    RC (*helper_make_fn)(struct slice config, void *arg, struct key_provider **out, struct err *e);
RC helper_serve(int fd, helper_make_fn make, void *arg, struct err *e);
/* helper_harden(): not dumpable, no core, die with the parent; first thing in a helper's main(). */
RC helper_harden(struct err *e);

#endif
