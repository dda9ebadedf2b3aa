/* cmd_client.c - a connection's state as commands see it, and what clients are told while the node is sealed. */
#include "cmd/client.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "bsonx/bw.h"
#include "identity/identity.h"
#include "identity/scram.h"

struct cmd_client *cmd_client_new(const struct cmd_client_config *c)
{
    struct cmd_client *k = NEW(struct cmd_client);

    k->id = c->id;
    k->transport = c->transport;
    k->loopback = c->loopback;
    snprintf(k->peer, sizeof(k->peer), "%s", c->peer);
    mutex_init(&k->op_lock);
    k->identity = identity_session_new(c->identity, c->loopback);
    return k;
}

void cmd_client_free(struct cmd_client *c)
{
    if (!c)
        return;
    scram_free(c->scram);
    identity_session_free(c->identity);
    buf_fini(&c->metadata);
    buf_fini(&c->op_kept);
    mutex_fini(&c->op_lock);
    mem_free(c);
}

RC cmd_client_check(const struct cmd_client *c, struct err *e)
{
    int code = atomic_load_explicit(&c->interrupt, memory_order_relaxed);

    if (code == 0)
        return RC_OK;
    if (code == ERR_CLUSTER_INACCESSIBLE)
        FAIL(e, ERR_CLUSTER_INACCESSIBLE,
             "the cluster is inaccessible: its customer-managed key is out of reach");
    FAIL(e, (enum err_code)code, "operation was interrupted");
}

/* ---- waiting ---- */

static struct {
    pthread_rwlock_t lock;
    void (*fn)(void *arg, enum park_on on, uint64_t key);
    void *arg;
} signal_fn = { .lock = PTHREAD_RWLOCK_INITIALIZER };

void cmd_client_park(struct cmd_client *c, enum park_on on, uint64_t key, uint64_t until_us)
{
    c->parked = true;
    c->park_on = on;
    c->park_key = key;
    c->park_until_us = until_us;
}

void cmd_client_set_signal_fn(void (*fn)(void *arg, enum park_on on, uint64_t key), void *arg)
{
    pthread_rwlock_wrlock(&signal_fn.lock);
    signal_fn.fn = fn;
    signal_fn.arg = arg;
    pthread_rwlock_unlock(&signal_fn.lock);
}

void cmd_client_signal(enum park_on on, uint64_t key)
{
    pthread_rwlock_rdlock(&signal_fn.lock);
    if (signal_fn.fn)
        signal_fn.fn(signal_fn.arg, on, key);
    pthread_rwlock_unlock(&signal_fn.lock);
}

/* ---- sealed ---- */

void cmd_write_sealed(const struct cmd_seal *s, struct buf *out)
{
    char name[32];
    struct bw w;

    bw_init(&w, out);
    bw_double(&w, "ok", 0.0);
    bw_str(&w, "errmsg",
           s->storage ? "the cluster is inaccessible: its data cannot be opened at present"
                      : "the cluster is inaccessible: its customer-managed key is out of reach");
    bw_i32(&w, "code", ERR_CLUSTER_INACCESSIBLE);
    bw_str(&w, "codeName", err_code_name(ERR_CLUSTER_INACCESSIBLE, name, sizeof(name)));
    bw_str(&w, "state", s->state);
    bw_date(&w, "since", s->since_ms);
    if (s->next_probe_ms)
        bw_date(&w, "nextProbe", s->next_probe_ms);
    else
        bw_null(&w, "nextProbe");
    bw_finish(&w);
}
