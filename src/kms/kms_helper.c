/* kms_helper.c - the process that a provider is asked in, when the one that needs its keys is not to hold its buffers or load its module. See kms/kms.h,
 * keys/helper.h. */
#include "base/arena.h"
#include "base/log.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "crypto/wipe.h"
#include "kms/kms.h"
#include "kms_priv.h"

enum { HELPER_ARENA = 256 << 10 };

static RC serve(helper_make_fn make, struct arena *a, struct err *e)
{
    TRY(helper_harden(e));
    kms__allow_modules();
    TRY(wipe_install_openssl(e));
    TRY(kms_init(/* wiping= */ true, e));
    TRY(secret_arena_init(HELPER_ARENA, e));
    TRY(crypto_init(e));
    return helper_serve(HELPER_FD, make, a, e);
}

int kms_helper_main(const char *program, helper_make_fn make)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err e = { 0 };

    log_init(&(struct log_config){ .fd = 2, .min_level = LOG_WARN, .program = program });
    if (serve(make, a, &e).failed) {
        log_err(EV_START_FAILED, &e, NULL, 0);
        return 1;
    }
    return 0;
}
