/* fuzz: links bsonx keys kms with prog/cofferd/keyconf.c */
/* key-config, which says whose key opens a cluster, from whatever stands in the state directory. What is accepted has all of its fields, passes its own
 * check, and written again is read as the same. */
#include <string.h>

#include "keyconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct keyconf *a, const struct keyconf *b)
{
    INVARIANT(a->mode == b->mode && keyconf_same_key(a, b));
    for (int f = 0; f < KEYCONF_NR; f++)
        INVARIANT(a->value[f] && b->value[f] && strcmp(a->value[f], b->value[f]) == 0);
    INVARIANT(strcmp(a->alias_from, b->alias_from) == 0 && strcmp(a->alias_to, b->alias_to) == 0);
    INVARIANT(strcmp(a->next_version, b->next_version) == 0);
    INVARIANT(memcmp(a->next_sha256, b->next_sha256, sizeof(a->next_sha256)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(keyconf_fini) struct keyconf first = KEYCONF_INIT, second = KEYCONF_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT, shown = BUF_INIT;
    struct err e = { 0 };
    struct bw w;

    if (keyconf_parse(SLICE(data, size), &first, &e).failed) {
        INVARIANT(e.code == ERR_CORRUPT);
        for (int f = 0; f < KEYCONF_NR; f++)
            INVARIANT(!first.value[f]);
        return 0;
    }
    INVARIANT(!keyconf_check(&first, &e).failed);
    keyconf_print(&first, &text);
    INVARIANT(!keyconf_parse(buf_view(&text), &second, &e).failed);
    same(&first, &second);
    bw_init(&w, &shown);
    keyconf_show(&first, &w);
    (void)bw_finish(&w);
    return 0;
}
