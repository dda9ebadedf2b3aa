/* fuzz_keys.h - for the targets that hold keys: the arena of secrets and the library, once a process. */
#ifndef FUZZ_KEYS_H
#define FUZZ_KEYS_H

#include <stdlib.h>

#include "crypto/aead.h"
#include "crypto/secret.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct err e = { 0 };

    (void)argc;
    (void)argv;
    if (secret_arena_init(1 << 20, &e).failed || crypto_init(&e).failed)
        abort();
    return 0;
}

#endif
