/* cursor.cc - ordered reads over a snapshot, or over a transaction's snapshot with its own writes laid over it.
 *
 * The engine keeps to the bounds on the stored side only; over a transaction's own writes they are compared here, at each step.
 */
#include "rocks.h"

#include <rocksdb/iterator.h>

extern "C" {
#include "base/mem.h"
}

using rocksdb::Iterator;
using rocksdb::Slice;

struct store_cursor {
    Iterator *it;
    bool merged; /* own writes are laid over: compare the bounds */
    struct slice lower, upper;
    Slice lower_slice, upper_slice; /* the engine borrows these */
};

namespace {

rc_t landed(struct store_cursor *c, bool *valid, struct err *e)
{
    *valid = false;
    if (!c->it->Valid()) {
        rocksdb::Status st = c->it->status();
        return st.ok() ? RC_OK : store_rocks::from_status(st, "scan", e);
    }
    if (c->merged) {
        struct slice key = store_rocks::from_slice(c->it->key());

        if ((c->lower.len && slice_cmp(key, c->lower) < 0) ||
            (c->upper.len && slice_cmp(key, c->upper) >= 0))
            return RC_OK;
    }
    *valid = true;
    return RC_OK;
}

} /* namespace */

extern "C" RC store_cursor_open(struct store *s, struct store_txn *t, struct store_snapshot *snap,
                                const struct store_cursor_opts *o, struct store_cursor **out,
                                struct err *e)
{
    struct store_cursor *c = new store_cursor();
    rocksdb::ReadOptions ro;

    (void)e;
    *out = c;
    c->lower = o->lower;
    c->upper = o->upper;
    c->lower_slice = store_rocks::to_slice(o->lower);
    c->upper_slice = store_rocks::to_slice(o->upper);
    ro.verify_checksums = false;
    ro.fill_cache = o->fill_cache;
    ro.readahead_size = o->long_scan ? 256 << 10 : 0;
    if (o->lower.len)
        ro.iterate_lower_bound = &c->lower_slice;
    if (o->upper.len)
        ro.iterate_upper_bound = &c->upper_slice;
    ro.snapshot = t ? t->ro.snapshot : snap ? snap->snap : nullptr;
    c->merged = t && t->t->GetWriteBatch()->GetWriteBatch()->Count() > 0;
    c->it = c->merged ? t->t->GetIterator(ro, s->cf[o->space])
                      : s->db->NewIterator(ro, s->cf[o->space]);
    return RC_OK;
}

extern "C" void store_cursor_close(struct store_cursor *c)
{
    if (!c)
        return;
    delete c->it;
    delete c;
}

extern "C" void store_cursor_closep(struct store_cursor **c)
{
    store_cursor_close(*c);
    *c = NULL;
}

extern "C" RC store_cursor_first(struct store_cursor *c, bool *valid, struct err *e)
{
    if (c->lower.len)
        c->it->Seek(c->lower_slice);
    else
        c->it->SeekToFirst();
    return landed(c, valid, e);
}

extern "C" RC store_cursor_last(struct store_cursor *c, bool *valid, struct err *e)
{
    if (c->upper.len) {
        c->it->SeekForPrev(c->upper_slice);
        if (c->it->Valid() && c->it->key().compare(c->upper_slice) >= 0)
            c->it->Prev();
    } else {
        c->it->SeekToLast();
    }
    return landed(c, valid, e);
}

extern "C" RC store_cursor_seek(struct store_cursor *c, struct slice key, bool *valid,
                                struct err *e)
{
    if (c->lower.len && slice_cmp(key, c->lower) < 0)
        return store_cursor_first(c, valid, e);
    c->it->Seek(store_rocks::to_slice(key));
    return landed(c, valid, e);
}

extern "C" RC store_cursor_seek_for_prev(struct store_cursor *c, struct slice key, bool *valid,
                                         struct err *e)
{
    if (c->upper.len && slice_cmp(key, c->upper) >= 0)
        return store_cursor_last(c, valid, e);
    c->it->SeekForPrev(store_rocks::to_slice(key));
    return landed(c, valid, e);
}

extern "C" RC store_cursor_next(struct store_cursor *c, bool *valid, struct err *e)
{
    if (c->it->Valid())
        c->it->Next();
    return landed(c, valid, e);
}

extern "C" RC store_cursor_prev(struct store_cursor *c, bool *valid, struct err *e)
{
    if (c->it->Valid())
        c->it->Prev();
    return landed(c, valid, e);
}

extern "C" struct slice store_cursor_key(const struct store_cursor *c)
{
    return store_rocks::from_slice(c->it->key());
}

extern "C" struct slice store_cursor_value(const struct store_cursor *c)
{
    return store_rocks::from_slice(c->it->value());
}
