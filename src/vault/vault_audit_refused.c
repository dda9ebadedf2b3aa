/* vault_audit_refused.c - requests that are refused before they are an operation, on record at a bounded cost.
 *
 * Whoever reaches the port can be refused as often as he likes, and each record takes room that only the owner can give back. So refusals draw on a
 * bucket: while there is something in it a refusal has a record of its own; past that it is counted, by its status and where it came from, and the
 * counts are written as one record at each look of the rotator's. Principals that the vault knows have a bucket of their own, so that strangers do not
 * hide what they do, and so have requests for tokens. At most a day: 17,280 records of strangers, as many of requests for tokens, 86,400 of principals,
 * 1,440 sums (with the default rotation-check).
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { SOURCES_MAX = 8, STATUS_MAX = 12, SOURCE_TEXT = 64 };

static const struct {
    uint32_t most;
    uint64_t fill_us; /* for one more */
} buckets[REFUSED_NR] = {
    [REFUSED_STRANGER] = { 200, 5000000 },
    [REFUSED_KNOWN] = { 1000, 1000000 },
    [REFUSED_TOKEN] = { 200, 5000000 },
};

struct vault_refusals {
    struct mutex lock; /* a leaf */
    struct {
        uint32_t left;
        uint64_t since_us; /* monotonic: when it was filled up to left */
    } bucket[REFUSED_NR];
    /* what had no record since the last sum */
    uint64_t n, n_elsewhere; /* elsewhere: from none of sources */
    int64_t from_ms;
    struct {
        int status;
        uint64_t n;
    } by_status[STATUS_MAX];
    struct {
        char address[SOURCE_TEXT], object_id[UUID_LEN + 1];
        uint64_t n;
    } sources[SOURCES_MAX];
    int n_status, n_sources;
};

void vault__refused_open(struct vault_service *s)
{
    struct vault_refusals *r = s->refusals = NEW(struct vault_refusals);

    mutex_init(&r->lock);
    for (int i = 0; i < REFUSED_NR; i++) {
        r->bucket[i].left = buckets[i].most;
        r->bucket[i].since_us = clock_mono_us();
    }
}

void vault__refused_close(struct vault_service *s)
{
    if (!s->refusals)
        return;
    if (s->audit)
        vault__refused_sum(s);
    mutex_fini(&s->refusals->lock);
    mem_free(s->refusals);
    s->refusals = NULL;
}

bool vault__refused_take(struct vault_service *s, enum refused_by by)
{
    struct vault_refusals *r = s->refusals;
    uint64_t now = clock_mono_us();

    mutex_lock(&r->lock);
    uint64_t more = (now - r->bucket[by].since_us) / buckets[by].fill_us;
    r->bucket[by].since_us += more * buckets[by].fill_us;
    r->bucket[by].left = (uint32_t)MIN((uint64_t)buckets[by].most, r->bucket[by].left + more);
    bool there = r->bucket[by].left > 0;
    if (there)
        r->bucket[by].left--;
    mutex_unlock(&r->lock);
    return there;
}

static void count_status(struct vault_refusals *r, int status)
{
    int i = 0;

    while (i < r->n_status && r->by_status[i].status != status)
        i++;
    if (i == STATUS_MAX)
        return; /* there are fewer that a request is refused with */
    r->n_status = MAX(r->n_status, i + 1);
    r->by_status[i].status = status;
    r->by_status[i].n++;
}

static void count_source(struct vault_refusals *r, const char *address, const char *object_id)
{
    int i = 0;

    while (i < r->n_sources && (strcmp(r->sources[i].address, address) != 0 ||
                                strcmp(r->sources[i].object_id, object_id) != 0))
        i++;
    if (i == SOURCES_MAX) {
        r->n_elsewhere++;
        return;
    }
    if (i == r->n_sources) {
        r->n_sources++;
        (void)snprintf(r->sources[i].address, SOURCE_TEXT, "%s", address);
        (void)snprintf(r->sources[i].object_id, UUID_LEN + 1, "%s", object_id);
    }
    r->sources[i].n++;
}

void vault__refused_count(struct vault_service *s, int status, const struct sockaddr *from,
                          const char *object_id)
{
    struct vault_refusals *r = s->refusals;
    char address[SOURCE_TEXT];

    vault__address_text(from, address, sizeof address);
    mutex_lock(&r->lock);
    if (r->n++ == 0)
        r->from_ms = clock_real_ms();
    count_status(r, status);
    count_source(r, address, object_id);
    mutex_unlock(&r->lock);
}

static json_t *sum_json(const struct vault_refusals *r)
{
    char at[32], from[32];
    json_t *statuses = json_object(), *sources = json_array();

    for (int i = 0; i < r->n_status; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", r->by_status[i].status);
        json_object_set_new(statuses, name, json_integer((json_int_t)r->by_status[i].n));
    }
    for (int i = 0; i < r->n_sources; i++)
        json_array_append_new(sources, json_pack("{s:s,s:s,s:I}", "address", r->sources[i].address,
                                                 "oid", r->sources[i].object_id, "count",
                                                 (json_int_t)r->sources[i].n));
    clock_iso8601(clock_real_ms(), at, sizeof at);
    clock_iso8601(r->from_ms, from, sizeof from);
    return json_pack("{s:s,s:s,s:s,s:s,s:{s:s,s:I,s:o,s:o,s:I}}", "time", at, "category",
                     "AuditEvent", "operationName", "RequestsRefused", "resultType", "Failed",
                     "properties", "from", from, "count", (json_int_t)r->n, "byStatus", statuses,
                     "sources", sources, "elsewhere", (json_int_t)r->n_elsewhere);
}

/* What is counted while the record is written is in the next one. */
void vault__refused_sum(struct vault_service *s)
{
    struct vault_refusals *r = s->refusals;
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    uint64_t n;

    mutex_lock(&r->lock);
    n = r->n;
    AUTO(kjson_freep) json_t *j = n ? sum_json(r) : NULL;
    r->n = r->n_elsewhere = 0;
    r->n_status = r->n_sources = 0;
    memset(r->by_status, 0, sizeof r->by_status);
    memset(r->sources, 0, sizeof r->sources);
    mutex_unlock(&r->lock);
    if (n == 0)
        return;
    INVARIANT(j != NULL);
    kjson_dump(j, &text);
    if (vault__audit_ready(s, &e).failed ||
        vault__audit_write(s, buf_view(&text), /* lasting= */ false, &e).failed)
        log_err(EV_VAULT_UNRECORDED, &e, (const struct kv[]){ KV_U64("refusals", n) }, 1);
    log_event(EV_VAULT_REFUSALS, KV_U64("count", n));
}
