/* fuzz: links vault kmsg crypto http keys */
/* fuzz_vault_key - a key as a backup or the state brings it, and its rotation policy. What is taken in is written as it was taken in. */
#include <stdlib.h>

#include "fuzz_keys.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_policy(const json_t *j)
{
    struct rotation_policy p, back;
    struct err e = { 0 };

    if (vault__policy_read(j, &p, &e).failed) {
        if (e.code != ERR_BAD_VALUE)
            abort();
        return;
    }
    AUTO(kjson_freep) json_t *again = vault__policy_json(&p);
    if (vault__policy_read(again, &back, &e).failed || p.rotate.months != back.rotate.months ||
        p.rotate.seconds != back.rotate.seconds)
        abort();
    AUTO(kjson_freep) json_t *twice = vault__policy_json(&back);
    if (!json_equal(again, twice))
        abort();
    /* a time and the same time again, in the calendar: never more than three days astray */
    int64_t at =
        vault__duration_after(vault__duration_after(1700000000, &p.rotate, 1), &p.rotate, -1);
    if (at > 1700000000 || at < 1700000000 - 3 * 86400)
        abort();
}

static void check_key(const json_t *j)
{
    struct vkey *k = vault__key_read(j, VAULT_STATE_FORMAT);

    if (!k)
        return;
    (void)vault__policy_rotates_at(k);
    (void)vault__policy_notifies_at(k);
    AUTO(kjson_freep) json_t *once = vault__key_json(k);
    struct vkey *back = vault__key_read(once, VAULT_STATE_FORMAT);
    if (!back)
        abort();
    AUTO(kjson_freep) json_t *twice = vault__key_json(back);
    if (!json_equal(once, twice))
        abort();
    vault__key_free(k);
    vault__key_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err e = { 0 };

    if (size > 16384 || kjson_load(SLICE(data, size), KJSON_DEPTH_MAX, &j, &e).failed)
        return 0;
    check_policy(j);
    check_key(j);
    return 0;
}
