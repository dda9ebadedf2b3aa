/* test_catalog.c - what is listed lasts, whatever stops it; names, renames and drops; tables that nothing is left of. */
#include "open_store.h"

#include "catalog_priv.h"

struct fixture {
    struct store *s;
    struct catalog *cat;
    struct arena *a;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);

    f->s = open_store();
    OK(catalog_open(f->s, &f->cat, &err));
    f->a = arena_new(0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct catalog_list l;

    catalog_list(f->cat, SLICE_EMPTY, &l); /* the next test has the same directory */
    catalog_ddl_begin(f->cat);
    for (int i = 0; i < l.n; i++)
        OK(catalog_drop(l.v[i].x, &err));
    catalog_ddl_end(f->cat);
    catalog_list_free(&l);
    catalog_close(f->cat);
    arena_free(f->a);
    OK(store_close(f->s, &err));
    mem_free(f);
    return 0;
}

static int group_setup(void **state)
{
    (void)state;
    open_store_init();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    open_store_fini();
    return 0;
}

static void reopen(struct fixture *f)
{
    catalog_close(TAKE(f->cat));
    OK(store_close(f->s, &err));
    f->s = open_store();
    OK(catalog_open(f->s, &f->cat, &err));
}

static struct bdoc json(struct fixture *f, const char *text)
{
    struct bdoc d;

    OK(bdoc_from_json(f->a, text, &d, &err));
    return d;
}

static bool same_doc(struct bdoc a, struct bdoc b)
{
    return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static uint64_t new_ident(struct fixture *f)
{
    uint64_t ident;

    OK(store_new_ident(f->s, &ident, &err));
    return ident;
}

static struct catalog_coll *create(struct fixture *f, const char *ns, const char *options)
{
    struct catalog_index id = {
        .ident = new_ident(f),
        .spec = json(f, "{\"v\": 2, \"key\": {\"_id\": 1}, \"name\": \"_id_\"}")
    };
    struct catalog_new n = {
        .ns = slice_str(ns), .options = json(f, options), .indexes = &id, .n_indexes = 1
    };
    struct catalog_coll *x;

    catalog_ddl_begin(f->cat);
    OK(catalog_create(f->cat, &n, &x, &err));
    catalog_ddl_end(f->cat);
    return x;
}

/* A key of a table, so that its removal can be seen. */
static void put_key(struct fixture *f, enum store_space sp, uint64_t ident)
{
    uint8_t key[16] = { 0 };
    struct store_txn *t;

    put_be64(key, ident);
    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, sp, SLICE(key, sizeof(key)), SLICE_LIT("x"), &err));
    OK(store_commit(&t, STORE_SYNC, &err));
}

static bool has_key(struct fixture *f, enum store_space sp, uint64_t ident)
{
    struct store_snapshot *snap = store_snapshot(f->s);
    struct store_pin pin = { 0 };
    uint8_t key[16] = { 0 };
    struct slice v;
    struct err why = { 0 };

    put_be64(key, ident);
    bool found =
        !store_snapshot_get(f->s, snap, sp, SLICE(key, sizeof(key)), &pin, &v, &why).failed;
    store_pin_release(&pin);
    store_snapshot_release(snap);
    if (!found)
        assert_int_equal(why.code, ERR_NOT_FOUND);
    return found;
}

static bool is_listed(struct fixture *f, const char *ns)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = catalog_find(f->cat, slice_str(ns));

    return x != NULL;
}

static void names_that_nobody_may_have(void **state)
{
    static const struct {
        const char *db, *coll;
        bool good;
    } cases[] = {
        { "a", "b", true },          { "a", "b.c", true },      { "a", "b$c", true },
        { "a-1", "system.x", true }, { "\xc3\xa9", "b", true }, { "", "b", false },
        { "a", "", false },          { "a.b", "c", false },     { "a b", "c", false },
        { "a$", "c", false },        { "a/b", "c", false },     { "a\\b", "c", false },
        { "a\"", "c", false },       { "a*", "c", false },      { "a", "$c", false },
        { "a", ".c", false },
    };
    char db[CATALOG_DB_MAX + 2], coll[CATALOG_NS_MAX + 1];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        err_reset(&err);
        if (catalog_ns_check(slice_str(cases[i].db), slice_str(cases[i].coll), &err).failed ==
            cases[i].good)
            fail_msg("\"%s\" \"%s\"", cases[i].db, cases[i].coll);
    }
    FAILS(ERR_INVALID_NAMESPACE, catalog_ns_check(SLICE("a\0", 2), SLICE_LIT("c"), &err));
    FAILS(ERR_INVALID_NAMESPACE, catalog_ns_check(SLICE_LIT("a"), SLICE("c\0d", 3), &err));
    memset(db, 'd', sizeof(db));
    memset(coll, 'c', sizeof(coll));
    OK(catalog_ns_check(SLICE(db, CATALOG_DB_MAX), SLICE(coll, CATALOG_NS_MAX - CATALOG_DB_MAX - 1),
                        &err));
    FAILS(ERR_INVALID_NAMESPACE,
          catalog_ns_check(SLICE(db, CATALOG_DB_MAX), SLICE(coll, CATALOG_NS_MAX - CATALOG_DB_MAX),
                           &err));
    FAILS(ERR_INVALID_NAMESPACE, catalog_db_check(SLICE(db, CATALOG_DB_MAX + 1), &err));
}

static void what_is_listed_lasts(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = create(f, "d.c", "{\"capped\": true, \"size\": 4096}");
    struct catalog_new view = { .ns = SLICE_LIT("d.v"),
                                .options = json(f, "{\"viewOn\": \"c\"}"),
                                .is_view = true };
    uint64_t ident = x->ident, index = x->indexes[0].ident;
    uint8_t uuid[CATALOG_UUID_LEN];

    memcpy(uuid, x->uuid, sizeof(uuid));
    assert_true(catalog_is_capped(x));
    catalog_coll_unref(x);
    catalog_ddl_begin(f->cat);
    OK(catalog_create(f->cat, &view, &x, &err));
    catalog_ddl_end(f->cat);
    catalog_coll_unref(x);
    reopen(f);
    x = catalog_find_uuid(f->cat, uuid);
    assert_non_null(x);
    assert_string_equal(x->ns, "d.c");
    assert_int_equal(x->ident, ident);
    assert_int_equal(x->n_indexes, 1);
    assert_int_equal(x->indexes[0].ident, index);
    assert_true(same_doc(x->indexes[0].spec,
                         json(f, "{\"v\": 2, \"key\": {\"_id\": 1}, \"name\": \"_id_\"}")));
    assert_true(same_doc(catalog_options(x, f->a), json(f, "{\"capped\": true, \"size\": 4096}")));
    catalog_coll_unref(x);
    x = catalog_find(f->cat, SLICE_LIT("d.v"));
    assert_true(x && x->is_view && !catalog_is_capped(x));
    catalog_coll_unref(x);
}

static void lists_are_sorted_and_of_one_database(void **state)
{
    static const char *const names[] = { "d.b", "d.a", "dd.a", "c.z", "d.a.b" };
    struct fixture *f = *state;
    struct catalog_list l;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        catalog_coll_unref(create(f, names[i], "{}"));
    catalog_list(f->cat, SLICE_LIT("d"), &l);
    assert_int_equal(l.n, 3);
    assert_string_equal(l.v[0].ns, "d.a");
    assert_string_equal(l.v[1].ns, "d.a.b");
    assert_string_equal(l.v[2].ns, "d.b");
    assert_true(slice_eq_str(l.v[1].db, "d") && slice_eq_str(l.v[1].name, "a.b"));
    catalog_list_free(&l);
    catalog_list(f->cat, SLICE_EMPTY, &l);
    assert_int_equal(l.n, ARRAY_LEN(names));
    catalog_list_free(&l);
}

static void one_of_a_name(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = create(f, "d.c", "{}"), *none;
    struct catalog_new n = { .ns = SLICE_LIT("d.c"), .options = BDOC_EMPTY };

    catalog_ddl_begin(f->cat);
    FAILS(ERR_NAMESPACE_EXISTS, catalog_create(f->cat, &n, &none, &err));
    n.ns = SLICE_LIT("D.x");
    FAILS(ERR_DATABASE_DIFFERS_IN_CASE, catalog_create(f->cat, &n, &none, &err));
    assert_null(none);
    FAILS(ERR_DATABASE_DIFFERS_IN_CASE, catalog_rename(x, SLICE_LIT("D.c"), NULL, &err));
    catalog_ddl_end(f->cat);
    catalog_coll_unref(x);
    reopen(f);
    assert_true(is_listed(f, "d.c") && !is_listed(f, "D.x") && !is_listed(f, "D.c"));
}

static void renames(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = create(f, "d.from", "{}"), *to = create(f, "d.to", "{}"),
                        *other = create(f, "d.other", "{}");
    uint64_t gone = to->ident, gone_index = to->indexes[0].ident;
    uint8_t uuid[CATALOG_UUID_LEN];

    put_key(f, STORE_RECORDS, gone);
    put_key(f, STORE_INDEXES, gone_index);
    memcpy(uuid, x->uuid, sizeof(uuid));
    catalog_ddl_begin(f->cat);
    /* somebody made one of that name, or took the target away, since the caller looked */
    FAILS(ERR_NAMESPACE_EXISTS, catalog_rename(x, SLICE_LIT("d.other"), NULL, &err));
    FAILS(ERR_NAMESPACE_EXISTS, catalog_rename(x, SLICE_LIT("d.other"), to, &err));
    FAILS(ERR_NAMESPACE_NOT_FOUND, catalog_rename(x, SLICE_LIT("d.new"), to, &err));
    OK(catalog_rename(x, SLICE_LIT("d.to"), to, &err));
    assert_true(atomic_load(&to->dropped));
    FAILS(ERR_NAMESPACE_NOT_FOUND, catalog_rename(to, SLICE_LIT("d.x"), NULL, &err));
    catalog_ddl_end(f->cat);
    assert_true(has_key(f, STORE_RECORDS, gone)); /* a cursor may still read it */
    assert_false(has_key(f, STORE_INDEXES, gone_index));
    catalog_coll_unref(to);
    assert_false(has_key(f, STORE_RECORDS, gone));
    catalog_coll_unref(other);
    catalog_coll_unref(x);
    reopen(f);
    x = catalog_find(f->cat, SLICE_LIT("d.to"));
    assert_true(x && memcmp(x->uuid, uuid, sizeof(uuid)) == 0 && slice_eq_str(x->name, "to"));
    catalog_coll_unref(x);
    assert_true(is_listed(f, "d.other") && !is_listed(f, "d.from"));
}

static void drops_end_with_the_last_reference(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = create(f, "d.c", "{}"), *reader = catalog_coll_ref(x);
    uint64_t ident = x->ident;

    put_key(f, STORE_RECORDS, ident);
    catalog_ddl_begin(f->cat);
    OK(catalog_drop(x, &err));
    FAILS(ERR_NAMESPACE_NOT_FOUND, catalog_drop(x, &err));
    catalog_ddl_end(f->cat);
    assert_false(is_listed(f, "d.c"));
    catalog_coll_unref(x);
    assert_true(has_key(f, STORE_RECORDS, ident));
    catalog_coll_unref(reader);
    assert_false(has_key(f, STORE_RECORDS, ident));
    catalog_coll_unref(create(f, "d.c", "{}")); /* the name is free */
}

/* The process ends while a cursor holds a dropped collection: the next start removes its tables. */
static void doomed_tables_go_at_the_next_start(void **state)
{
    struct fixture *f = *state;
    uint64_t one = new_ident(f), other = new_ident(f), kept = new_ident(f);

    put_key(f, STORE_RECORDS, one);
    put_key(f, STORE_INDEXES, other);
    put_key(f, STORE_INDEXES, kept);
    OK(catalog_doom(f->cat, STORE_RECORDS, one, &err));
    OK(catalog_doom(f->cat, STORE_INDEXES, other, &err));
    OK(catalog_doom(f->cat, STORE_INDEXES, kept, &err));
    struct catalog_coll *x = create(f, "d.c", "{}");
    struct catalog_index list[2] = {
        x->indexes[0],
        { .ident = kept, .spec = json(f, "{\"v\": 2, \"key\": {\"a\": 1}, \"name\": \"a_1\"}") }
    };
    struct catalog_index_change ch = {
        .indexes = list, .n_indexes = 2, .made = &kept, .n_made = 1
    };
    pthread_rwlock_wrlock(&x->lock);
    OK(catalog_set_indexes(x, &ch, &err)); /* it is one of a collection's now */
    OK(catalog_set_options(x, json(f, "{\"a\": 1}"), &err));
    pthread_rwlock_unlock(&x->lock);
    catalog_coll_unref(x);
    assert_true(has_key(f, STORE_RECORDS, one) && has_key(f, STORE_INDEXES, other));
    reopen(f);
    assert_false(has_key(f, STORE_RECORDS, one) || has_key(f, STORE_INDEXES, other));
    assert_true(has_key(f, STORE_INDEXES, kept));
    x = catalog_find(f->cat, SLICE_LIT("d.c"));
    assert_int_equal(x->n_indexes, 2);
    assert_true(same_doc(catalog_options(x, f->a), json(f, "{\"a\": 1}")));
    catalog_coll_unref(x);
    reopen(f);
    assert_true(has_key(f, STORE_INDEXES, kept));
}

/* An entry that is damaged is told, not passed over: a collection would be gone silently. */
static void damaged_entries_are_refused(void **state)
{
    static const char *const entries[] = {
        "{}",
        "{\"ident\": {\"$numberLong\": \"5\"}, \"uuid\": \"x\", \"options\": {}, \"indexes\": [], \"view\": false}",
        "{\"ident\": {\"$numberLong\": \"5\"}, \"uuid\": {\"$uuid\": \"00112233-4455-4677-8899-aabbccddeeff\"}, "
        "\"options\": {}, \"indexes\": [{\"ident\": 1}], \"view\": false}",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        AUTO(buf_fini) struct buf key = BUF_INIT;
        struct bdoc d = json(f, entries[i]);
        struct catalog *none;
        struct store_txn *t;

        catalog__meta_key(&key, META_CATALOG, SLICE_LIT("d.c"));
        OK(store_begin(f->s, &t, &err));
        OK(store_put(t, STORE_META, buf_view(&key), SLICE(d.p, d.len), &err));
        OK(store_commit(&t, STORE_SYNC, &err));
        FAILS(ERR_CORRUPT, catalog_open(f->s, &none, &err));
        OK(store_begin(f->s, &t, &err));
        OK(store_put(t, STORE_META, buf_view(&key), SLICE(d.p, d.len - 1), &err));
        OK(store_commit(&t, STORE_SYNC, &err));
        assert_true(catalog_open(f->s, &none, &err).failed);
        err_reset(&err);
        assert_null(none);
        OK(store_begin(f->s, &t, &err));
        OK(store_del(t, STORE_META, buf_view(&key), &err));
        OK(store_commit(&t, STORE_SYNC, &err));
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_nobody_may_have),
        T(what_is_listed_lasts),
        T(lists_are_sorted_and_of_one_database),
        T(one_of_a_name),
        T(renames),
        T(drops_end_with_the_last_reference),
        T(doomed_tables_go_at_the_next_start),
        T(damaged_entries_are_refused),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
