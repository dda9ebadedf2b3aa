/* map.c - open addressing with linear probing and backward-shift deletion; SipHash-2-4 (Aumasson, Bernstein 2012). */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"

struct entry {
    uint64_t hash;
    uint8_t *key; /* NULL: free */
    size_t key_len;
    void *value;
};

struct map {
    struct entry *slots;
    size_t n_slots; /* a power of two */
    size_t count;
};

static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void sip_seed(void)
{
    INVARIANT(getrandom(sip_key, sizeof(sip_key), 0) == (ssize_t)sizeof(sip_key));
}

static inline uint64_t rotl(uint64_t v, int n)
{
    return (v << n) | (v >> (64 - n));
}

#define SIP_ROUND                                                                                  \
    do {                                                                                           \
        v0 += v1;                                                                                  \
        v1 = rotl(v1, 13);                                                                         \
        v1 ^= v0;                                                                                  \
        v0 = rotl(v0, 32);                                                                         \
        v2 += v3;                                                                                  \
        v3 = rotl(v3, 16);                                                                         \
        v3 ^= v2;                                                                                  \
        v0 += v3;                                                                                  \
        v3 = rotl(v3, 21);                                                                         \
        v3 ^= v0;                                                                                  \
        v2 += v1;                                                                                  \
        v1 = rotl(v1, 17);                                                                         \
        v1 ^= v2;                                                                                  \
        v2 = rotl(v2, 32);                                                                         \
    } while (0)

uint64_t hash_bytes(struct slice in)
{
    pthread_once(&sip_once, sip_seed);
    uint64_t v0 = 0x736f6d6570736575u ^ sip_key[0], v1 = 0x646f72616e646f6du ^ sip_key[1];
    uint64_t v2 = 0x6c7967656e657261u ^ sip_key[0], v3 = 0x7465646279746573u ^ sip_key[1];
    size_t whole = in.len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t m = get_le64(in.p + i);
        v3 ^= m;
        SIP_ROUND;
        SIP_ROUND;
        v0 ^= m;
    }
    uint64_t last = (uint64_t)(in.len & 0xff) << 56;
    for (size_t i = whole; i < in.len; i++)
        last |= (uint64_t)in.p[i] << (8 * (i - whole));
    v3 ^= last;
    SIP_ROUND;
    SIP_ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

struct map *map_new(void)
{
    return NEW(struct map);
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_slots; i++)
        mem_free(m->slots[i].key);
    mem_free(m->slots);
    mem_free(m);
}

/* The slot that holds key, or the free one where it would go. */
static size_t locate(const struct map *m, struct slice key, uint64_t hash)
{
    size_t i = hash & (m->n_slots - 1);
    while (m->slots[i].key) {
        const struct entry *s = &m->slots[i];
        if (s->hash == hash && slice_eq(SLICE(s->key, s->key_len), key))
            break;
        i = (i + 1) & (m->n_slots - 1);
    }
    return i;
}

static void grow(struct map *m)
{
    struct entry *old = m->slots;
    size_t n_old = m->n_slots;
    m->n_slots = n_old ? n_old * 2 : 16;
    m->slots = NEW_ARRAY(struct entry, m->n_slots);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key)
            m->slots[locate(m, SLICE(old[i].key, old[i].key_len), old[i].hash)] = old[i];
    }
    mem_free(old);
}

void *map_get(const struct map *m, struct slice key)
{
    if (!m->count)
        return NULL;
    return m->slots[locate(m, key, hash_bytes(key))].value;
}

void *map_put(struct map *m, struct slice key, void *value)
{
    INVARIANT(value);
    if ((m->count + 1) * 4 > m->n_slots * 3)
        grow(m);
    uint64_t hash = hash_bytes(key);
    struct entry *s = &m->slots[locate(m, key, hash)];
    if (s->key) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    *s = (struct entry){
        .hash = hash, .key = mem_dup(key.p, key.len), .key_len = key.len, .value = value
    };
    m->count++;
    return NULL;
}

static void *remove_slot(struct map *m, size_t i)
{
    void *old = m->slots[i].value;

    mem_free(m->slots[i].key);
    m->slots[i] = (struct entry){ 0 };
    m->count--;
    /* Shift back what the hole would cut off from its home slot. */
    size_t hole = i, mask = m->n_slots - 1;
    for (size_t j = (i + 1) & mask; m->slots[j].key; j = (j + 1) & mask) {
        size_t home = m->slots[j].hash & mask;
        if (((j - home) & mask) >= ((j - hole) & mask)) {
            m->slots[hole] = m->slots[j];
            m->slots[j] = (struct entry){ 0 };
            hole = j;
        }
    }
    return old;
}

void *map_del(struct map *m, struct slice key)
{
    if (!m->count)
        return NULL;
    size_t i = locate(m, key, hash_bytes(key));
    return m->slots[i].key ? remove_slot(m, i) : NULL;
}

void *map_del_last(struct map *m, size_t *it)
{
    INVARIANT(*it > 0 && *it <= m->n_slots && m->slots[*it - 1].key);
    /* what comes after may move back to this slot: it is looked at again */
    return remove_slot(m, --*it);
}

size_t map_count(const struct map *m)
{
    return m->count;
}

bool map_next(const struct map *m, size_t *it, struct slice *key, void **value)
{
    while (*it < m->n_slots) {
        const struct entry *s = &m->slots[(*it)++];
        if (!s->key)
            continue;
        *key = SLICE(s->key, s->key_len);
        *value = s->value;
        return true;
    }
    return false;
}
