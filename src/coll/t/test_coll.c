/* test_coll.c - documents and entries change together; counts last; conflicts, duplicates, builds and drops. */
#include <pthread.h>

#include "fixture.h"

static void test_insert_and_reopen(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.reopen");
    struct coll_txn *w;
    int64_t n;

    create_index(f, x, "{\"key\": {\"a\": 1}, \"name\": \"a_1\"}", 0);
    insert(f, x, "{\"_id\": 1, \"a\": [1, 2]}");
    insert(f, x, "{\"_id\": 2, \"a\": 3.5}");
    OK(coll_begin(x, &w, &err));
    FAILS(ERR_DUPLICATE_KEY, coll_insert(w, json(f, "{\"_id\": 1.0}"), f->a, &err));
    coll_abort(&w);
    OK(coll_begin(x, &w, &err));
    assert_true(coll_insert(w, json(f, "{\"_id\": 2}"), f->a, &err).failed);
    assert_string_equal(
        err.msg,
        "E11000 duplicate key error collection: db.reopen index: _id_ dup key: { _id: 2 }");
    assert_non_null(err.info);
    assert_int_equal(bval_i32(bdoc_get(bval_doc(bdoc_get((struct bdoc){ .p = err.info,
                                                                        .len = get_le32(err.info) },
                                                         "keyValue")),
                                       "_id")),
                     2);
    err_reset(&err);
    coll_abort(&w);
    check_valid(f, x, 2);
    catalog_coll_unref(x);
    close_fixture(f);

    open_fixture(f);
    x = coll_of(f, "db.reopen");
    OK(coll_count(x, &n, &err));
    assert_int_equal(n, 2);
    struct coll_indexes *l;
    OK(coll_ref_indexes(x, &l, &err));
    assert_int_equal(l->n, 2);
    assert_int_equal(atomic_load(&l->v[1]->multikey), 1);
    coll_indexes_unref(l);
    insert(f, x, "{\"_id\": 3, \"a\": 3}");
    check_valid(f, x, 3);
    catalog_coll_unref(x);
}

static void test_savepoint(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.save");
    struct coll_txn *w;

    OK(coll_begin(x, &w, &err));
    coll_savepoint(w);
    OK(coll_insert(w, json(f, "{\"_id\": 1}"), f->a, &err));
    coll_keep(w);
    coll_savepoint(w);
    FAILS(ERR_DUPLICATE_KEY, coll_insert(w, json(f, "{\"_id\": 1, \"x\": 1}"), f->a, &err));
    OK(coll_rollback(w, &err));
    coll_savepoint(w);
    OK(coll_insert(w, json(f, "{\"_id\": 2}"), f->a, &err));
    OK(coll_commit(&w, STORE_SYNC, &err));
    check_valid(f, x, 2);
    catalog_coll_unref(x);
}

static uint64_t first_rid(struct fixture *f, struct catalog_coll *x)
{
    uint8_t bounds[16];
    struct store_cursor *cur;
    bool valid;

    put_be64(bounds, x->ident);
    put_be64(bounds + 8, x->ident + 1);
    struct store_cursor_opts o = { .space = STORE_RECORDS,
                                   .lower = SLICE(bounds, 8),
                                   .upper = SLICE(bounds + 8, 8) };
    struct store_snapshot *snap = store_snapshot(f->s);
    OK(store_cursor_open(f->s, NULL, snap, &o, &cur, &err));
    OK(store_cursor_first(cur, &valid, &err));
    assert_true(valid);
    uint64_t rid = get_be64(store_cursor_key(cur).p + 8);
    store_cursor_close(cur);
    store_snapshot_release(snap);
    return rid;
}

static void test_update_delete(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.upd");
    struct coll_txn *w, *other;
    struct bdoc old;

    create_index(f, x, "{\"key\": {\"a\": 1, \"b\": -1}, \"name\": \"ab\"}", 0);
    create_index(f, x, "{\"key\": {\"u\": 1}, \"name\": \"u\", \"unique\": true, \"sparse\": true}",
                 0);
    create_index(
        f, x,
        "{\"key\": {\"c\": 1}, \"name\": \"c\", \"partialFilterExpression\": {\"c\": {\"$gt\": 5}}}",
        0);
    insert(f, x, "{\"_id\": 1, \"a\": [1, 2, 3], \"b\": \"x\", \"u\": 7, \"c\": 9}");
    insert(f, x, "{\"_id\": 2, \"a\": 1, \"u\": 8, \"c\": 1}");
    insert(f, x, "{\"_id\": 3, \"a\": 1}");
    insert(f, x, "{\"_id\": 4, \"a\": 1}");
    uint64_t rid = first_rid(f, x);
    OK(coll_begin(x, &w, &err));
    OK(coll_lock(w, rid, &old, &err));
    struct bdoc copy = { .p = arena_dup(f->a, old.p, old.len), .len = old.len };
    OK(coll_begin(x, &other, &err));
    FAILS(ERR_WRITE_CONFLICT, coll_lock(other, rid, &old, &err));
    coll_abort(&other);
    OK(coll_update(w, rid, copy,
                   json(f, "{\"_id\": 1, \"a\": [2.0, 4], \"b\": \"x\", \"u\": 7.0, \"c\": 3}"),
                   f->a, &err));
    OK(coll_commit(&w, STORE_NOSYNC, &err));
    check_valid(f, x, 4);

    OK(coll_begin(x, &w, &err));
    OK(coll_lock(w, rid, &old, &err));
    copy = (struct bdoc){ .p = arena_dup(f->a, old.p, old.len), .len = old.len };
    FAILS(ERR_DUPLICATE_KEY,
          coll_update(w, rid, copy, json(f, "{\"_id\": 1, \"u\": 8}"), f->a, &err));
    coll_abort(&w);
    check_valid(f, x, 4);

    OK(coll_begin(x, &w, &err));
    OK(coll_delete(w, rid, copy, f->a, &err));
    OK(coll_commit(&w, STORE_NOSYNC, &err));
    check_valid(f, x, 3);
    catalog_coll_unref(x);
}

static void test_build(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.build");
    char text[128];
    int n_before;

    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof(text), "{\"_id\": %d, \"a\": %d, \"b\": [%d, %d]}", i, i % 100, i,
                 i + 1);
        insert(f, x, text);
    }
    create_index(f, x, "{\"key\": {\"a\": 1}, \"name\": \"u\", \"unique\": true}",
                 ERR_DUPLICATE_KEY);
    create_index(f, x, "{\"key\": {\"a\": 1, \"b\": 1}, \"name\": \"ab\"}", 0);
    create_index(f, x, "{\"key\": {\"a\": 1, \"b\": 1}, \"name\": \"ab\"}", 0);
    create_index(f, x, "{\"key\": {\"a\": 1, \"b\": 1}, \"name\": \"other\"}",
                 ERR_INDEX_OPTIONS_CONFLICT);
    create_index(f, x, "{\"key\": {\"a\": -1}, \"name\": \"ab\"}", ERR_INDEX_KEY_SPECS_CONFLICT);
    check_valid(f, x, 2000);
    struct coll_info i;
    OK(coll_info(x, &i, &err));
    assert_int_equal(i.n_indexes, 2);
    struct slice name = SLICE_LIT("_id_"), missing = SLICE_LIT("nope");
    FAILS(ERR_INVALID_OPTIONS, coll_drop_indexes(x, &name, 1, &n_before, &err));
    FAILS(ERR_INDEX_NOT_FOUND, coll_drop_indexes(x, &missing, 1, &n_before, &err));
    OK(coll_drop_indexes(x, NULL, -1, &n_before, &err));
    assert_int_equal(n_before, 2);
    check_valid(f, x, 2000);
    OK(coll_drop(x, &err));
    FAILS(ERR_NAMESPACE_NOT_FOUND, coll_drop(x, &err));
    struct coll_txn *w;
    FAILS(ERR_NAMESPACE_NOT_FOUND, coll_begin(x, &w, &err));
    catalog_coll_unref(x);
    assert_null(catalog_find(f->cat, SLICE_LIT("db.build")));
}

static void take_row(void *arg, uint16_t number, int64_t docs, int64_t bytes)
{
    int64_t *row = arg;

    if (docs) {
        row[0] = number;
        row[1] = docs;
        row[2] = bytes;
    }
}

static void put_count(struct fixture *f, const uint8_t key[18], int64_t docs, int64_t bytes)
{
    struct store_txn *t;
    uint8_t v[16];

    put_be64(v, (uint64_t)docs);
    put_be64(v + 8, (uint64_t)bytes);
    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, STORE_META, SLICE(key, 18), SLICE(v, sizeof(v)), &err));
    OK(store_commit(&t, STORE_NOSYNC, &err));
}

/* Damage that validate must see: an entry taken away, one added, a count changed. */
static void test_validate_sees(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.damage");
    struct coll_validation v;
    struct coll_indexes *l;
    struct store_txn *t;
    struct buf key = BUF_INIT;

    create_index(f, x, "{\"key\": {\"a\": 1}, \"name\": \"a\"}", 0);
    insert(f, x, "{\"_id\": 1, \"a\": 5}");
    check_valid(f, x, 1);
    OK(coll_ref_indexes(x, &l, &err));
    buf_push_be64(&key, l->v[1]->ident);
    index_encode(NULL, &key, NULL, bdoc_get(json(f, "{\"a\": 5}"), "a"), false);
    buf_push_be64(&key, first_rid(f, x));
    OK(store_begin(f->s, &t, &err));
    OK(store_del(t, STORE_INDEXES, buf_view(&key), &err));
    OK(store_commit(&t, STORE_NOSYNC, &err));
    OK(coll_validate(x, f->a, NULL, NULL, &v, &err));
    assert_false(v.valid);
    assert_false(v.index[1].valid);
    assert_true(v.index[0].valid);

    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, STORE_INDEXES, buf_view(&key), SLICE_EMPTY, &err));
    key.p[key.len - 1]++;
    OK(store_put(t, STORE_INDEXES, buf_view(&key), SLICE_EMPTY, &err));
    OK(store_commit(&t, STORE_NOSYNC, &err));
    OK(coll_validate(x, f->a, NULL, NULL, &v, &err));
    assert_false(v.valid);
    assert_int_equal(v.index[1].n_keys, 2);

    OK(store_begin(f->s, &t, &err)); /* put right again, but for the tags beside the key */
    OK(store_del(t, STORE_INDEXES, buf_view(&key), &err));
    key.p[key.len - 1]--;
    OK(store_put(t, STORE_INDEXES, buf_view(&key), SLICE_LIT("\1"), &err));
    OK(store_commit(&t, STORE_NOSYNC, &err));
    OK(coll_validate(x, f->a, NULL, NULL, &v, &err));
    assert_false(v.valid);
    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, STORE_INDEXES, buf_view(&key), SLICE_EMPTY, &err));
    OK(store_commit(&t, STORE_NOSYNC, &err));
    check_valid(f, x, 1);

    struct store_snapshot *snap = store_snapshot(f->s); /* the kept count, one too many */
    uint8_t count_key[18];
    int64_t row[3] = { -1, 0, 0 };
    OK(coll__read_counts(f->s, snap, x->ident, take_row, row, &err));
    store_snapshot_release(snap);
    assert_true(row[0] >= 0);
    coll__count_key(count_key, x->ident, (uint16_t)row[0]);
    put_count(f, count_key, row[1] + 1, row[2]);
    OK(coll_validate(x, f->a, NULL, NULL, &v, &err));
    assert_false(v.valid);
    put_count(f, count_key, row[1], row[2] + 1); /* and the kept size */
    OK(coll_validate(x, f->a, NULL, NULL, &v, &err));
    assert_false(v.valid);
    put_count(f, count_key, row[1], row[2]);
    check_valid(f, x, 1);
    coll_indexes_unref(l);
    buf_fini(&key);
    catalog_coll_unref(x);
}

struct writer {
    struct fixture *f;
    struct catalog_coll *x;
    int id;
};

static void *write_many(void *arg)
{
    struct writer *w = arg;
    struct arena *a = arena_new(0);
    struct err e = { 0 };

    for (int i = 0; i < 200; i++) {
        char text[96];
        struct bdoc d;
        struct coll_txn *t;
        snprintf(text, sizeof(text), "{\"_id\": %d, \"a\": [%d, %d]}", w->id * 1000 + i, i, i + 1);
        if (bdoc_from_json(a, text, &d, &e).failed)
            return "json";
        for (int try = 1;; try ++) {
            bool ok = !coll_begin(w->x, &t, &e).failed && !coll_insert(t, d, a, &e).failed &&
                      !coll_commit(&t, STORE_NOSYNC, &e).failed;
            coll_abort(&t);
            if (ok)
                break;
            if (e.code != ERR_WRITE_CONFLICT)
                return "insert";
            err_reset(&e);
            coll_backoff(try);
        }
        arena_reset(a);
    }
    arena_free(a);
    return NULL;
}

static void test_concurrent(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.many");
    pthread_t t[4];
    struct writer w[4];
    int64_t n;

    for (int i = 0; i < 4; i++) {
        w[i] = (struct writer){ .f = f, .x = x, .id = i };
        pthread_create(&t[i], NULL, write_many, &w[i]);
    }
    create_index(f, x, "{\"key\": {\"a\": 1}, \"name\": \"a\"}", 0); /* while they write */
    for (int i = 0; i < 4; i++) {
        void *why;
        pthread_join(t[i], &why);
        assert_null(why);
    }
    OK(coll_count(x, &n, &err));
    assert_int_equal(n, 800);
    check_valid(f, x, 800);
    catalog_coll_unref(x);
}

/* Whoever commits late, with a lower record id than what is removed meanwhile, leaves nothing that stays for ever. */
static void test_capped(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.capped");
    pthread_t t[4];
    struct writer w[4];

    OK(coll_set_options(x, json(f, "{\"capped\": true, \"size\": 100000, \"max\": 3}"), &err));
    for (int i = 0; i < 4; i++) {
        w[i] = (struct writer){ .f = f, .x = x, .id = i };
        pthread_create(&t[i], NULL, write_many, &w[i]);
    }
    for (int i = 0; i < 4; i++) {
        void *why;
        pthread_join(t[i], &why);
        assert_null(why);
    }
    for (int i = 1; i <= 3; i++) {
        char text[32];
        snprintf(text, sizeof(text), "{\"_id\": %d}", -i);
        insert(f, x, text);
    }
    check_valid(f, x, 3);
    assert_int_equal(first_rid(f, x), atomic_load(&((struct rt *)x->rt)->next_rid) - 3);
    catalog_coll_unref(x);
}

static void test_rename(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.from"), *y = coll_of(f, "db.to");

    insert(f, x, "{\"_id\": 1}");
    insert(f, y, "{\"_id\": 2}");
    OK(coll_rename(x, SLICE_LIT("db.to"), y, &err));
    assert_null(catalog_find(f->cat, SLICE_LIT("db.from")));
    struct catalog_coll *z = catalog_find(f->cat, SLICE_LIT("db.to"));
    assert_ptr_equal(x, z);
    check_valid(f, z, 1);
    catalog_coll_unref(z);
    catalog_coll_unref(y);
    catalog_coll_unref(x);
    close_fixture(f);
    open_fixture(f);
    x = catalog_find(f->cat, SLICE_LIT("db.to"));
    assert_non_null(x);
    check_valid(f, x, 1);
    catalog_coll_unref(x);
    FAILS(ERR_DATABASE_DIFFERS_IN_CASE, coll_open(f->cat, SLICE_LIT("DB.x"), true, &x, &err));
}

static RC once(void *arg, struct err *e)
{
    bool *done = arg;

    if (*done)
        return RC_OK;
    *done = true;
    FAIL(e, ERR_INTERRUPTED, "interrupted");
}

/* Keys that were not found out are not keys that are not there. */
static void test_an_interruption_leaves_no_entries(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.interrupted");
    const char *text =
        "{\"_id\": 1, \"p\": {\"type\": \"LineString\", \"coordinates\": [[1, 2], [3, 4]]}}";
    bool deleted = false, updated = false, validated = false;
    struct qctx run = { .check = once };
    struct coll_validation v;
    struct coll_txn *w;
    struct bdoc old;

    create_index(f, x, "{\"key\": {\"p\": \"2dsphere\"}, \"name\": \"p\"}", 0);
    insert(f, x, text);
    OK(coll_begin(x, &w, &err));
    OK(coll_lock(w, 1, &old, &err));
    coll_set_run(w, &run);
    run.check_arg = &deleted;
    FAILS(ERR_INTERRUPTED, coll_delete(w, 1, json(f, text), f->a, &err));
    run.check_arg = &updated;
    FAILS(ERR_INTERRUPTED, coll_update(w, 1, json(f, text), json(f, "{\"_id\": 1}"), f->a, &err));
    coll_abort(&w);
    FAILS(ERR_INTERRUPTED, coll_validate(x, f->a, once, &validated, &v, &err));
    check_valid(f, x, 1);
    catalog_coll_unref(x);
}

/* built_by_another(): the catalogue says that another ICU made the keys of the last index, with spec (NULL: its own). */
static void built_by_another(struct fixture *f, struct catalog_coll *x, const char *spec)
{
    struct catalog_index rows[8];

    pthread_rwlock_wrlock(&x->lock);
    for (int i = 0; i < x->n_indexes; i++)
        rows[i] = x->indexes[i];
    struct catalog_index *last = &rows[x->n_indexes - 1];
    last->collator = SLICE_LIT("1.0/1.0.0.0");
    if (spec)
        OK(index_spec_check(f->a, json(f, spec), &last->spec, &err));
    struct catalog_index_change ch = { .indexes = rows, .n_indexes = x->n_indexes };
    OK(catalog_set_indexes(x, &ch, &err));
    pthread_rwlock_unlock(&x->lock);
}

static int n_entries(struct fixture *f, uint64_t ident)
{
    uint8_t bounds[16];
    struct store_cursor *cur;
    bool valid;
    int n = 0;

    put_be64(bounds, ident);
    put_be64(bounds + 8, ident + 1);
    struct store_cursor_opts o = { .space = STORE_INDEXES,
                                   .lower = SLICE(bounds, 8),
                                   .upper = SLICE(bounds + 8, 8) };
    struct store_snapshot *snap = store_snapshot(f->s);
    OK(store_cursor_open(f->s, NULL, snap, &o, &cur, &err));
    OK(store_cursor_first(cur, &valid, &err));
    for (; valid; n++)
        OK(store_cursor_next(cur, &valid, &err));
    store_cursor_close(cur);
    store_snapshot_release(snap);
    return n;
}

/* Keys that another ICU made are not to be found in a search: the index is made anew before it is used, and nothing else is. */
static void test_another_icu(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.icu");
    struct store_txn *t;
    int n;

    create_index(f, x, "{\"key\": {\"b\": 1}, \"name\": \"b\"}", 0);
    create_index(f, x,
                 "{\"key\": {\"a\": 1}, \"name\": \"a\", \"unique\": true, \"collation\": "
                 "{\"locale\": \"en\", \"strength\": 2}}",
                 0);
    insert(f, x, "{\"_id\": 1, \"a\": \"x\"}");
    insert(f, x, "{\"_id\": 2, \"a\": [\"y\", \"Y\", 5]}");
    uint64_t b = x->indexes[1].ident, old = x->indexes[2].ident;
    uint8_t stray[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0x3c, 'x', 0, 1 };
    put_be64(stray, old);
    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, STORE_INDEXES, SLICE(stray, sizeof(stray)), SLICE_LIT("87654321"), &err));
    OK(store_commit(&t, STORE_SYNC, &err));
    built_by_another(f, x, NULL);
    catalog_coll_unref(x);
    close_fixture(f);

    open_fixture(f);
    OK(coll_renew_indexes(f->cat, &n, &err));
    assert_int_equal(n, 1);
    x = coll_of(f, "db.icu");
    assert_int_equal(x->indexes[1].ident, b);
    assert_int_not_equal(x->indexes[2].ident, old);
    assert_int_equal(n_entries(f, old), 0);
    assert_int_equal(n_entries(f, x->indexes[2].ident), 3);
    check_valid(f, x, 2);
    insert(f, x, "{\"_id\": 3, \"a\": \"z\"}");
    check_valid(f, x, 3);
    OK(coll_renew_indexes(f->cat, &n, &err));
    assert_int_equal(n, 0);
    catalog_coll_unref(x);
}

/* Two keys of a unique index that the new ICU holds equal: the start is refused, and nothing is lost by it. */
static void test_another_icu_with_duplicates(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = coll_of(f, "db.dup");
    int n;

    create_index(f, x, "{\"key\": {\"a\": 1}, \"name\": \"a\", \"unique\": true}", 0);
    insert(f, x, "{\"_id\": 1, \"a\": \"x\"}");
    insert(f, x, "{\"_id\": 2, \"a\": \"X\"}");
    uint64_t ident = x->indexes[1].ident;
    built_by_another(f, x,
                     "{\"key\": {\"a\": 1}, \"name\": \"a\", \"unique\": true, \"collation\": "
                     "{\"locale\": \"en\", \"strength\": 2}}");
    catalog_coll_unref(x);
    close_fixture(f);

    open_fixture(f);
    assert_true(coll_renew_indexes(f->cat, &n, &err).failed);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_null(strstr(err.msg, "0x")); /* no key, and no name, goes to the log */
    assert_null(strstr(err.msg, "dup"));
    err_reset(&err);
    assert_int_equal(n, 0);
    x = coll_of(f, "db.dup");
    assert_int_equal(x->indexes[1].ident, ident);
    assert_int_equal(n_entries(f, ident), 2);
    catalog_coll_unref(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_insert_and_reopen),
        cmocka_unit_test(test_savepoint),
        cmocka_unit_test(test_update_delete),
        cmocka_unit_test(test_build),
        cmocka_unit_test(test_another_icu),
        cmocka_unit_test(test_another_icu_with_duplicates),
        cmocka_unit_test(test_validate_sees),
        cmocka_unit_test(test_concurrent),
        cmocka_unit_test(test_capped),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_an_interruption_leaves_no_entries),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
