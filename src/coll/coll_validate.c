/* coll_validate.c - does every document have exactly the entries it should, and every entry its document? One snapshot; readers and writers go on.
 *
 * First pass: each document is validated, its keys are computed afresh and looked up. Second pass: the entries of each index are counted. All expected
 * entries are distinct and were found, so equal numbers mean that there are no others; if the numbers differ, each entry is traced to its document.
 */
#include "coll_priv.h"

#include <inttypes.h>

enum { VALIDATE_DEPTH_MAX = 210, VALIDATE_CHECK_EVERY = 128, VALIDATE_TEXTS_MAX = 100 };

struct validation {
    struct catalog_coll *x;
    struct store *s;
    struct store_snapshot *snap;
    struct coll_indexes *indexes;
    struct coll_validation *out;
    struct qctx run;
    struct bw errors;
    struct buf errors_buf;
    int n_texts;
    int64_t expected[INDEXES_MAX + 1];
    int64_t bytes, count_docs, count_bytes;
    int64_t n_steps;
    struct arena *scratch;
    struct buf key, value;
};

static RC step(struct validation *v, struct err *e)
{
    arena_reset(v->scratch);
    if (v->run.check && ++v->n_steps % VALIDATE_CHECK_EVERY == 0)
        TRY(v->run.check(v->run.check_arg, e));
    return RC_OK;
}

static void complain(struct validation *v, const char *what, const char *index, uint64_t rid)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    v->out->valid = false;
    if (v->n_texts++ >= VALIDATE_TEXTS_MAX)
        return;
    buf_printf(&text, "%s (index %s, record %" PRIu64 ")", what, index ? index : "none", rid);
    bw_str_slice(&v->errors, NULL, buf_view(&text));
}

static RC open_range(struct validation *v, enum store_space sp, uint64_t ident, uint8_t bounds[16],
                     struct store_cursor **out, struct err *e)
{
    put_be64(bounds, ident);
    put_be64(bounds + 8, ident + 1);
    struct store_cursor_opts o = {
        .space = sp, .lower = SLICE(bounds, 8), .upper = SLICE(bounds + 8, 8), .long_scan = true
    };
    return store_cursor_open(v->s, NULL, v->snap, &o, out, e);
}

/* get(): ERR_NOT_FOUND becomes *found = false. */
static RC get(struct validation *v, enum store_space sp, struct slice key, struct store_pin *pin,
              struct slice *value, bool *found, struct err *e)
{
    struct err why = { 0 };
    rc_t rc = store_snapshot_get(v->s, v->snap, sp, key, pin, value, &why);

    *found = !rc.failed;
    if (rc.failed && why.code != ERR_NOT_FOUND)
        return err_take(e, &why);
    return RC_OK;
}

static RC check_entries(struct validation *v, int at, uint64_t rid, struct bdoc doc, struct err *e)
{
    struct index_def *d = v->indexes->v[at];
    struct index_keys keys;
    struct err why = { 0 };

    if (index_extract(d, doc, &v->run, v->scratch, &keys, &why).failed) {
        if (!index_refuses(why.code))
            return err_take(e, &why);
        complain(v, "the document's keys cannot be computed", d->name, rid);
        v->out->index[at].valid = false;
        err_reset(&why);
        return RC_OK;
    }
    if (keys.multikey & ~atomic_load(&d->multikey)) {
        complain(v, "an array is indexed but the index is not marked multikey", d->name, rid);
        v->out->index[at].valid = false;
    }
    for (int i = 0; i < keys.n; i++) {
        struct store_pin pin = { 0 };
        struct slice there;
        bool found;
        coll__entry_key(&v->key, d, keys.v[i].key, rid);
        buf_clear(&v->value);
        coll__entry_value(&v->value, d, keys.v[i].tags, rid);
        TRY(get(v, STORE_INDEXES, buf_view(&v->key), &pin, &there, &found, e));
        if (!found || !slice_eq(there, buf_view(&v->value))) {
            complain(v,
                     found ? "an index entry differs from the document's"
                           : "an index entry is missing",
                     d->name, rid);
            v->out->index[at].valid = false;
        }
        store_pin_release(&pin);
    }
    v->expected[at] += keys.n;
    return RC_OK;
}

static RC check_record(struct validation *v, struct slice key, struct slice value, struct err *e)
{
    struct err why = { 0 };
    struct bdoc doc;

    v->out->n_records++;
    v->bytes += (int64_t)value.len;
    uint64_t rid = key.len == 16 ? get_be64(key.p + 8) : 0;
    if (key.len != 16 || bdoc_validate(value.p, value.len, VALIDATE_DEPTH_MAX, &doc, &why).failed) {
        v->out->n_invalid_documents++;
        complain(v, "a record is not a valid document", NULL, rid);
        err_reset(&why);
        return RC_OK;
    }
    for (int i = 0; i < v->indexes->n; i++)
        TRY(check_entries(v, i, rid, doc, e));
    return RC_OK;
}

static RC check_records(struct validation *v, struct err *e)
{
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    uint8_t bounds[16];
    bool valid;

    TRY(open_range(v, STORE_RECORDS, v->x->ident, bounds, &cur, e));
    TRY(store_cursor_first(cur, &valid, e));
    while (valid) {
        TRY(check_record(v, store_cursor_key(cur), store_cursor_value(cur), e));
        TRY(step(v, e));
        TRY(store_cursor_next(cur, &valid, e));
    }
    return RC_OK;
}

/* An entry whose document is gone, or does not have this key. */
static RC trace_entry(struct validation *v, int at, struct slice key, struct slice value,
                      struct err *e)
{
    struct index_def *d = v->indexes->v[at];
    struct store_pin pin = { 0 };
    struct slice fields, tags, record;
    uint64_t rid = 0;
    uint8_t rkey[16];
    struct err why = { 0 };
    bool found;

    if (coll_entry_rid(d, key, value, &rid, &fields, &tags, &why).failed) {
        complain(v, "an index entry does not parse", d->name, rid);
        err_reset(&why);
        return RC_OK;
    }
    coll_record_key(rkey, v->x->ident, rid);
    TRY(get(v, STORE_RECORDS, SLICE(rkey, 16), &pin, &record, &found, e));
    bool owned = false;
    struct index_keys keys = { 0 };
    rc_t rc = !found ? RC_OK
                     : index_extract(d, (struct bdoc){ .p = record.p, .len = (uint32_t)record.len },
                                     &v->run, v->scratch, &keys, &why);
    store_pin_release(&pin);
    if (rc.failed && !index_refuses(why.code))
        return err_take(e, &why);
    for (int i = 0; !rc.failed && i < keys.n; i++)
        owned |= slice_eq(keys.v[i].key, fields);
    err_reset(&why);
    if (!owned)
        complain(v,
                 found ? "an index entry's document does not have that key"
                       : "an index entry's document is missing",
                 d->name, rid);
    return RC_OK;
}

static RC check_index(struct validation *v, int at, struct err *e)
{
    struct index_def *d = v->indexes->v[at];
    uint8_t bounds[16];
    int64_t n = 0;
    bool valid;

    for (int pass = 0; pass < 2; pass++) {
        AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
        TRY(open_range(v, STORE_INDEXES, d->ident, bounds, &cur, e));
        TRY(store_cursor_first(cur, &valid, e));
        for (n = 0; valid; n++) {
            if (pass == 1)
                TRY(trace_entry(v, at, store_cursor_key(cur), store_cursor_value(cur), e));
            TRY(step(v, e));
            TRY(store_cursor_next(cur, &valid, e));
        }
        if (n == v->expected[at] && v->out->index[at].valid)
            break;
        v->out->index[at].valid = false;
        v->out->valid = false;
    }
    v->out->index[at].n_keys = n;
    return RC_OK;
}

static void add_count(void *arg, uint16_t number, int64_t docs, int64_t bytes)
{
    struct validation *v = arg;

    (void)number;
    v->count_docs += docs;
    v->count_bytes += bytes;
}

static RC run(struct validation *v, struct err *e)
{
    TRY(check_records(v, e));
    for (int i = 0; i < v->indexes->n; i++)
        TRY(check_index(v, i, e));
    TRY(coll__read_counts(v->s, v->snap, v->x->ident, add_count, v, e));
    if (v->count_docs != v->out->n_records || v->count_bytes != v->bytes)
        complain(v, "the kept count or size differs from what is stored", NULL, 0);
    return RC_OK;
}

RC coll_validate(struct catalog_coll *x, struct arena *a, RC (*check)(void *arg, struct err *e),
                 void *check_arg, struct coll_validation *out, struct err *e)
{
    struct validation v = { .x = x,
                            .s = catalog_store(x->cat),
                            .out = out,
                            .run = { .check = check, .check_arg = check_arg } };

    *out = (struct coll_validation){ .valid = true, .errors = BDOC_EMPTY, .warnings = BDOC_EMPTY };
    TRY(coll_view(x, &v.indexes, &v.snap, e));
    v.scratch = arena_new(0);
    bw_init(&v.errors, &v.errors_buf);
    bw_array_begin(&v.errors, "errors");
    out->n_indexes = v.indexes->n;
    for (int i = 0; i < v.indexes->n; i++) {
        out->index[i].name = arena_strdup(a, v.indexes->v[i]->name);
        out->index[i].valid = true;
    }
    rc_t rc = run(&v, e);
    bw_array_end(&v.errors);
    struct bdoc all = bw_finish(&v.errors);
    out->errors = bval_doc(bval_dup(a, bdoc_get(all, "errors")));
    buf_fini(&v.errors_buf);
    buf_fini(&v.key);
    buf_fini(&v.value);
    arena_free(v.scratch);
    coll_indexes_unref(v.indexes);
    store_snapshot_release(v.snap);
    return rc;
}
