/* ridset.c - a set of record ids by open addressing. 0 is no record id. */
#include "exec_priv.h"

static size_t slot_of(const struct ridset *s, uint64_t rid)
{
    uint64_t h = rid * 0x9e3779b97f4a7c15ull;
    size_t i = (size_t)(h >> 20) & (s->cap - 1);

    while (s->v[i] && s->v[i] != rid)
        i = (i + 1) & (s->cap - 1);
    return i;
}

bool ridset_add(struct ridset *s, uint64_t rid)
{
    if (s->n * 2 >= s->cap) {
        struct ridset bigger = { .cap = s->cap ? s->cap * 2 : 64, .n = s->n };
        bigger.v = NEW_ARRAY(uint64_t, bigger.cap);
        for (size_t i = 0; i < s->cap; i++)
            if (s->v[i])
                bigger.v[slot_of(&bigger, s->v[i])] = s->v[i];
        mem_free(s->v);
        *s = bigger;
    }
    size_t i = slot_of(s, rid);
    if (s->v[i])
        return false;
    s->v[i] = rid;
    s->n++;
    return true;
}

void ridset_fini(struct ridset *s)
{
    mem_free(s->v);
    *s = (struct ridset){ 0 };
}
