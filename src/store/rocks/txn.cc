/* txn.cc - transactions and reads.
 *
 * A store_txn wraps one RocksDB transaction, taken from a pool (making one anew costs more than what most do with it). Its snapshot is
 * set at begin, hence first-updater-wins: a put on a key that another holds, or changed since, fails at the statement.
 */
#include "rocks.h"

#include <new>

extern "C" {
#include "base/mem.h"
}

using rocksdb::PinnableSlice;
using rocksdb::Status;
using rocksdb::Transaction;

namespace {

enum { POOL_MAX = 128 };

/* A pin's first word says whether the rest is a live PinnableSlice. */
struct Pin {
    bool live;
    alignas(PinnableSlice) unsigned char room[sizeof(PinnableSlice)];
};
static_assert(sizeof(Pin) <= sizeof(struct store_pin) && alignof(Pin) <= alignof(struct store_pin),
              "store_pin has room for the engine's pin");

PinnableSlice *pin_ready(struct store_pin *pin)
{
    Pin *p = reinterpret_cast<Pin *>(pin);
    PinnableSlice *v = reinterpret_cast<PinnableSlice *>(p->room);

    if (p->live) {
        v->Reset();
    } else {
        new (p->room) PinnableSlice();
        p->live = true;
    }
    return v;
}

rc_t read_result(const Status &st, struct store_pin *pin, PinnableSlice *v, struct slice *value,
                 struct err *e)
{
    if (st.ok()) {
        *value = SLICE(v->data(), v->size());
        return RC_OK;
    }
    store_pin_release(pin);
    if (st.IsNotFound())
        FAIL(e, ERR_NOT_FOUND, "there is no such key");
    return store_rocks::from_status(st, "read", e);
}

void finish(struct store_txn *t)
{
    struct store *s = t->s;

    mutex_lock(&s->pool_mu);
    if (s->pool.size() < POOL_MAX) {
        s->pool.push_back(t->t);
        t->t = nullptr;
    }
    mutex_unlock(&s->pool_mu);
    delete t->t;
    delete t;
}

rc_t write_result(const Status &st, struct err *e)
{
    return st.ok() ? RC_OK : store_rocks::from_status(st, "write", e);
}

} /* namespace */

extern "C" RC store_begin(struct store *s, struct store_txn **out, struct err *e)
{
    Transaction *old = nullptr;
    struct store_txn *t;

    *out = NULL;
    if (s->shared->fatal)
        FAIL(e, ERR_ENGINE_FATAL,
             "the storage engine stopped after an error; the store must be opened again");
    mutex_lock(&s->pool_mu);
    if (!s->pool.empty()) {
        old = s->pool.back();
        s->pool.pop_back();
    }
    mutex_unlock(&s->pool_mu);
    t = new store_txn;
    t->s = s;
    t->t = s->db->BeginTransaction(rocksdb::WriteOptions(), s->txn_options, old);
    t->ro.snapshot = t->t->GetSnapshot();
    t->ro.verify_checksums = false; /* every byte was authenticated */
    *out = t;
    return RC_OK;
}

extern "C" RC store_commit(struct store_txn **tp, enum store_durability d, struct err *e)
{
    struct store_txn *t = TAKE(*tp);
    rc_t rc = RC_OK;

    if (t->t->GetWriteBatch()->GetWriteBatch()->Count() > 0)
        rc = store__writable(t->s, e);
    if (!rc.failed) {
        rocksdb::WriteOptions w;
        Status st;

        w.sync = d == STORE_SYNC;
        t->t->SetWriteOptions(w);
        st = t->t->Commit();
        /* Nothing is acknowledged once a sync has failed, whatever the engine thinks of it. */
        if (st.ok() && t->s->shared->fatal)
            rc = err_set(
                e, ERR_ENGINE_FATAL, __FILE__, __LINE__,
                "the storage engine stopped after an error; the store must be opened again");
        else if (!st.ok())
            rc = store_rocks::from_status(st, "commit", e);
    }
    if (rc.failed)
        (void)t->t->Rollback();
    finish(t);
    return rc;
}

extern "C" void store_abort(struct store_txn **tp)
{
    struct store_txn *t = TAKE(*tp);

    if (!t)
        return;
    (void)t->t->Rollback(); /* what it can't undo was never written */
    finish(t);
}

extern "C" void store_savepoint(struct store_txn *t)
{
    t->t->SetSavePoint();
}

extern "C" RC store_rollback(struct store_txn *t, struct err *e)
{
    Status st = t->t->RollbackToSavePoint();

    return st.ok() ? RC_OK : store_rocks::from_status(st, "roll back", e);
}

extern "C" void store_savepoint_keep(struct store_txn *t)
{
    (void)t->t->PopSavePoint(); /* fails only when there is none */
}

extern "C" void store_pin_release(struct store_pin *pin)
{
    Pin *p = reinterpret_cast<Pin *>(pin);

    if (!p->live)
        return;
    reinterpret_cast<PinnableSlice *>(p->room)->~PinnableSlice();
    p->live = false;
}

extern "C" RC store_get(struct store_txn *t, enum store_space sp, struct slice key,
                        struct store_pin *pin, struct slice *value, struct err *e)
{
    PinnableSlice *v = pin_ready(pin);

    *value = SLICE_EMPTY;
    return read_result(t->t->Get(t->ro, t->s->cf[sp], store_rocks::to_slice(key), v), pin, v, value,
                       e);
}

extern "C" RC store_get_for_update(struct store_txn *t, enum store_space sp, struct slice key,
                                   struct store_pin *pin, struct slice *value, struct err *e)
{
    PinnableSlice *v = pin_ready(pin);

    *value = SLICE_EMPTY;
    return read_result(t->t->GetForUpdate(t->ro, t->s->cf[sp], store_rocks::to_slice(key), v), pin,
                       v, value, e);
}

extern "C" RC store_put(struct store_txn *t, enum store_space sp, struct slice key,
                        struct slice value, struct err *e)
{
    return write_result(t->t->Put(t->s->cf[sp], store_rocks::to_slice(key),
                                  store_rocks::to_slice(value)),
                        e);
}

extern "C" RC store_del(struct store_txn *t, enum store_space sp, struct slice key, struct err *e)
{
    return write_result(t->t->Delete(t->s->cf[sp], store_rocks::to_slice(key)), e);
}

extern "C" struct store_snapshot *store_snapshot(struct store *s)
{
    using Snapshot = struct store_snapshot; /* the function has the same name */
    Snapshot *snap = new Snapshot;

    snap->s = s;
    snap->snap = s->db->GetSnapshot();
    return snap;
}

extern "C" void store_snapshot_release(struct store_snapshot *snap)
{
    if (!snap)
        return;
    snap->s->db->ReleaseSnapshot(snap->snap);
    delete snap;
}

extern "C" RC store_snapshot_get(struct store *s, struct store_snapshot *snap, enum store_space sp,
                                 struct slice key, struct store_pin *pin, struct slice *value,
                                 struct err *e)
{
    PinnableSlice *v = pin_ready(pin);
    rocksdb::ReadOptions ro;

    *value = SLICE_EMPTY;
    ro.snapshot = snap ? snap->snap : nullptr;
    ro.verify_checksums = false;
    return read_result(s->db->Get(ro, s->cf[sp], store_rocks::to_slice(key), v), pin, v, value, e);
}
