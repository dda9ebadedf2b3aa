/* test_build.c - indexes are built while others read, write, drop and build. */
#include <pthread.h>

#include "base/fault.h"
#include "fixture.h"

enum { N_DOCS = 5000 }; /* several batches */

/* What a build's check does in the middle of it: the test's own thread, so that whatever waited for the build would wait for ever. */
struct meanwhile {
    struct fixture *f;
    struct catalog_coll *x;
    int at; /* the look at which it is done */
    void (*what)(struct meanwhile *m);
    int n_looks, n_done;
};

static RC look(void *arg, struct err *e)
{
    struct meanwhile *m = arg;

    (void)e;
    if (m->n_looks++ == m->at) {
        m->what(m);
        m->n_done++;
    }
    return RC_OK;
}

static struct catalog_coll *filled(struct fixture *f, const char *ns)
{
    struct catalog_coll *x = coll_of(f, ns);
    struct coll_txn *w;
    char text[128];

    OK(coll_begin(x, &w, &err));
    for (int i = 0; i < N_DOCS; i++) {
        snprintf(text, sizeof(text), "{\"_id\": %d, \"a\": %d, \"u\": %d, \"b\": \"%032d\"}", i,
                 i % 100, i, i);
        OK(coll_insert(w, json(f, text), f->a, &err));
    }
    OK(coll_commit(&w, STORE_NOSYNC, &err));
    return x;
}

static rc_t build(struct meanwhile *m, const char *spec)
{
    struct bdoc done;
    struct coll_build b = { .specs = &done, .n_specs = 1, .check = look, .check_arg = m };

    OK(index_spec_check(m->f->a, json(m->f, spec), &done, &err));
    return coll_create_indexes(m->x, &b, &err);
}

static int n_indexes(struct catalog_coll *x)
{
    struct coll_info i;

    OK(coll_info(x, &i, &err));
    return i.n_indexes;
}

static void change(struct meanwhile *m, uint64_t rid, const char *text)
{
    struct coll_txn *w;
    struct bdoc old;

    OK(coll_begin(m->x, &w, &err));
    OK(coll_lock(w, rid, &old, &err));
    old = bval_doc(bval_dup(m->f->a, bval_of_doc(old, BT_DOCUMENT)));
    if (text)
        OK(coll_update(w, rid, old, json(m->f, text), m->f->a, &err));
    else
        OK(coll_delete(w, rid, old, m->f->a, &err));
    OK(coll_commit(&w, STORE_NOSYNC, &err));
}

/* Record ids are given out in order, from 1: the first and the last document are one before and one behind the point where the build is. */
static void write_and_read(struct meanwhile *m)
{
    struct coll_indexes *l;
    struct store_snapshot *snap;
    int64_t n;

    insert(m->f, m->x, "{\"_id\": \"new\", \"a\": [1, 2], \"u\": -1}");
    change(m, 1, "{\"_id\": 0, \"a\": 1000, \"u\": -2}");
    change(m, 2, NULL);
    change(m, N_DOCS, "{\"_id\": 4999, \"a\": [7, 8], \"u\": -3}");
    change(m, N_DOCS - 1, NULL);
    OK(coll_view(m->x, &l, &snap, &err));
    assert_int_equal(l->n, 1); /* it is not to be used yet */
    coll_indexes_unref(l);
    store_snapshot_release(snap);
    OK(coll_count(m->x, &n, &err));
    assert_int_equal(n, N_DOCS - 1);
    check_valid(m->f, m->x, N_DOCS - 1);
}

static void test_others_go_on(void **state)
{
    struct fixture *f = *state;
    static const char *const specs[] = {
        "{\"key\": {\"a\": 1}, \"name\": \"i\"}",
        "{\"key\": {\"u\": 1}, \"name\": \"i\", \"unique\": true}",
        "{\"key\": {\"a\": -1, \"b\": 1}, \"name\": \"i\", \"sparse\": true}",
        "{\"key\": {\"b\": 1}, \"name\": \"i\", \"partialFilterExpression\": {\"u\": {\"$gt\": 100}}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(specs); i++)
        for (int at = 0; at < 3; at++) {
            struct meanwhile m = {
                .f = f, .x = filled(f, "db.others_go_on"), .at = at, .what = write_and_read
            };
            OK(build(&m, specs[i]));
            assert_int_equal(m.n_done, 1);
            assert_int_equal(n_indexes(m.x), 2);
            check_valid(f, m.x, N_DOCS - 1);
            OK(coll_drop(m.x, &err));
            catalog_coll_unref(m.x);
            arena_reset(f->a);
        }
}

static void drop_it(struct meanwhile *m)
{
    struct slice name = SLICE_LIT("i");
    int n_before;

    OK(coll_drop_indexes(m->x, &name, 1, &n_before, &err));
    assert_int_equal(n_before, 2);
    insert(m->f, m->x, "{\"_id\": \"new\", \"u\": 1}"); /* nothing refuses it any more */
}

static void drop_all(struct meanwhile *m)
{
    int n_before;

    OK(coll_drop_indexes(m->x, NULL, -1, &n_before, &err));
    insert(m->f, m->x, "{\"_id\": \"new\", \"u\": 1}");
}

static void drop_collection(struct meanwhile *m)
{
    OK(coll_drop(m->x, &err));
}

static void test_what_is_dropped_is_given_up(void **state)
{
    struct fixture *f = *state;
    void (*const what[])(struct meanwhile *) = { drop_it, drop_all };

    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        struct meanwhile m = {
            .f = f, .x = filled(f, "db.what_is_dropped_is_given_up"), .at = 1, .what = what[i]
        };
        FAILS(ERR_INDEX_BUILD_ABORTED,
              build(&m, "{\"key\": {\"u\": 1}, \"name\": \"i\", \"unique\": true}"));
        assert_int_equal(n_indexes(m.x), 1);
        check_valid(f, m.x, N_DOCS + 1);
        create_index(f, m.x, "{\"key\": {\"u\": 1}, \"name\": \"i\"}", 0);
        check_valid(f, m.x, N_DOCS + 1);
        OK(coll_drop(m.x, &err));
        catalog_coll_unref(m.x);
    }
    struct meanwhile m = {
        .f = f, .x = filled(f, "db.what_is_dropped_is_given_up"), .at = 1, .what = drop_collection
    };
    FAILS(ERR_INDEX_BUILD_ABORTED, build(&m, "{\"key\": {\"u\": 1}, \"name\": \"i\"}"));
    catalog_coll_unref(m.x);
}

/* The list of indexes is changed by others too while one is built. */
static void hide_one_drop_another(struct meanwhile *m)
{
    struct slice hidden = SLICE_LIT("h"), gone = SLICE_LIT("g");
    struct bdoc spec;
    int n_before;

    OK(index_spec_check(m->f->a,
                        json(m->f, "{\"key\": {\"h\": 1}, \"name\": \"h\", \"hidden\": true}"),
                        &spec, &err));
    OK(coll_set_index_spec(m->x, hidden, spec, &err));
    OK(coll_drop_indexes(m->x, &gone, 1, &n_before, &err));
    insert(m->f, m->x, "{\"_id\": \"new\", \"a\": [1, 2], \"u\": 1}");
}

static void test_other_changes_of_the_list(void **state)
{
    struct fixture *f = *state;
    struct meanwhile m = { .f = f,
                           .x = filled(f, "db.other_changes_of_the_list"),
                           .at = 1,
                           .what = hide_one_drop_another };
    struct coll_indexes *l;

    create_index(f, m.x, "{\"key\": {\"g\": 1}, \"name\": \"g\"}", 0);
    create_index(f, m.x, "{\"key\": {\"h\": 1}, \"name\": \"h\"}", 0);
    OK(build(&m, "{\"key\": {\"a\": 1}, \"name\": \"i\"}"));
    OK(coll_ref_indexes(m.x, &l, &err));
    assert_int_equal(l->n, 3);
    assert_string_equal(l->v[1]->name, "h");
    assert_true(l->v[1]->hidden);
    assert_string_equal(l->v[2]->name, "i");
    coll_indexes_unref(l);
    check_valid(f, m.x, N_DOCS + 1);
    /* And the catalogue says the same. */
    catalog_coll_unref(m.x);
    close_fixture(f);
    open_fixture(f);
    m.x = coll_of(f, "db.other_changes_of_the_list");
    assert_int_equal(n_indexes(m.x), 3);
    check_valid(f, m.x, N_DOCS + 1);
    catalog_coll_unref(m.x);
}

/* A build is given up as a whole: who names a part of it, or more than it, gives up nothing. */
static void drop_in_part(struct meanwhile *m)
{
    struct slice one = SLICE_LIT("i"), more[] = { SLICE_LIT("i"), SLICE_LIT("k"), SLICE_LIT("g") };
    struct coll_indexes *l;
    int n_before;

    FAILS(ERR_INDEX_NOT_FOUND, coll_drop_indexes(m->x, &one, 1, &n_before, &err));
    FAILS(ERR_INDEX_NOT_FOUND, coll_drop_indexes(m->x, more, 3, &n_before, &err));
    OK(coll_ref_kept_indexes(m->x, &l, &err));
    assert_int_equal(l->n, 4);
    coll_indexes_unref(l);
    OK(coll_ref_indexes(m->x, &l, &err));
    assert_int_equal(l->n, 2);
    coll_indexes_unref(l);
    if (m->n_looks > 2)
        OK(coll_drop_indexes(m->x, more, 2, &n_before, &err));
}

static void test_dropped_in_part(void **state)
{
    struct fixture *f = *state;

    for (int at = 1; at < 3; at++) {
        struct meanwhile m = {
            .f = f, .x = filled(f, "db.dropped_in_part"), .at = at, .what = drop_in_part
        };
        struct bdoc specs[2];
        struct coll_build b = { .specs = specs, .n_specs = 2, .check = look, .check_arg = &m };
        create_index(f, m.x, "{\"key\": {\"g\": 1}, \"name\": \"g\"}", 0);
        OK(index_spec_check(f->a, json(f, "{\"key\": {\"a\": 1}, \"name\": \"i\"}"), &specs[0],
                            &err));
        OK(index_spec_check(f->a, json(f, "{\"key\": {\"b\": 1}, \"name\": \"k\"}"), &specs[1],
                            &err));
        if (at == 1)
            OK(coll_create_indexes(m.x, &b, &err));
        else
            FAILS(ERR_INDEX_BUILD_ABORTED, coll_create_indexes(m.x, &b, &err));
        assert_int_equal(m.n_done, 1);
        assert_int_equal(n_indexes(m.x), at == 1 ? 4 : 2);
        check_valid(f, m.x, N_DOCS);
        OK(coll_drop(m.x, &err));
        catalog_coll_unref(m.x);
    }
}

static const char unique_u[] = "{\"key\": {\"u\": 1}, \"name\": \"i\", \"unique\": true}";

/* Of documents that the build has seen and of such that it has not: writers go on. */
static void add_seen(struct meanwhile *m)
{
    insert(m->f, m->x, "{\"_id\": \"new\", \"u\": 3}");
}

static void add_unseen(struct meanwhile *m)
{
    insert(m->f, m->x, "{\"_id\": \"newer\", \"u\": 4999}");
}

static void add_by_update(struct meanwhile *m)
{
    change(m, 1, "{\"_id\": 0, \"u\": 4999}");
    insert(m->f, m->x, "{\"_id\": \"new\", \"u\": 0}"); /* free now */
}

static void test_duplicates_fail_the_build_at_its_end(void **state)
{
    struct fixture *f = *state;
    void (*const what[])(struct meanwhile *) = { add_seen, add_unseen, add_by_update };

    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        struct meanwhile m = { .f = f, .x = filled(f, "db.duplicates"), .at = 1, .what = what[i] };
        FAILS(ERR_DUPLICATE_KEY, build(&m, unique_u));
        assert_int_equal(m.n_done, 1);
        assert_true(m.n_looks > 3); /* and nothing before it */
        assert_int_equal(n_indexes(m.x), 1);
        check_valid(f, m.x, N_DOCS + 1);
        OK(coll_drop(m.x, &err));
        catalog_coll_unref(m.x);
    }
}

/* The newcomer goes, or the one that was first, or both change: with the entry as well as with those aside. */
static void newcomer_goes(struct meanwhile *m)
{
    add_seen(m);
    add_unseen(m);
    change(m, N_DOCS + 1, NULL);
    change(m, N_DOCS + 2, "{\"_id\": \"newer\", \"u\": -1}");
}

static void first_goes(struct meanwhile *m)
{
    add_seen(m);
    change(m, 4, NULL);
    insert(m->f, m->x, "{\"_id\": \"again\", \"u\": 3.0}");
    change(m, N_DOCS + 1, "{\"_id\": \"new\", \"u\": [3, 3.0, -5]}");
    change(m, N_DOCS + 2, NULL);
}

/* A document that the build has not come to yet has no entry that its removal could take with it. */
static void unseen_goes(struct meanwhile *m)
{
    add_unseen(m);
    change(m, N_DOCS, NULL);
}

static void tags_change(struct meanwhile *m)
{
    add_seen(m);
    change(m, N_DOCS + 1, "{\"_id\": \"new\", \"u\": 3.0}");
    change(m, 4, "{\"_id\": 3, \"u\": -1}");
    change(m, N_DOCS + 1, "{\"_id\": \"new\", \"u\": {\"$numberLong\": \"3\"}}");
    change(m, 4, "{\"_id\": 3, \"u\": 3}");
    change(m, N_DOCS + 1, "{\"_id\": \"new\", \"u\": -2}");
}

static void three_of_a_kind(struct meanwhile *m)
{
    insert(m->f, m->x, "{\"_id\": \"x\", \"u\": 3}");
    insert(m->f, m->x, "{\"_id\": \"y\", \"u\": 3}");
    insert(m->f, m->x, "{\"_id\": \"z\", \"u\": 3}");
    change(m, 4, NULL);
    change(m, N_DOCS + 2, NULL);
    insert(m->f, m->x, "{\"_id\": \"y\", \"u\": 3}");
    change(m, N_DOCS + 4, NULL);
    change(m, N_DOCS + 1, NULL);
}

static void test_what_is_no_duplicate_at_the_end(void **state)
{
    struct fixture *f = *state;
    static const struct {
        void (*what)(struct meanwhile *);
        int more; /* documents */
    } cases[] = { { newcomer_goes, 1 },
                  { first_goes, 0 },
                  { unseen_goes, 0 },
                  { tags_change, 1 },
                  { three_of_a_kind, 0 } };
    static const int looks[] = { 1, 3 }; /* of the last step there is nothing left to fill */

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < ARRAY_LEN(looks); k++) {
            struct meanwhile m = {
                .f = f, .x = filled(f, "db.duplicates"), .at = looks[k], .what = cases[i].what
            };
            OK(build(&m, unique_u));
            assert_int_equal(m.n_done, 1);
            check_valid(f, m.x, N_DOCS + cases[i].more);
            /* and now it refuses */
            struct coll_txn *w;
            OK(coll_begin(m.x, &w, &err));
            FAILS(ERR_DUPLICATE_KEY,
                  coll_insert(w, json(f, "{\"_id\": \"last\", \"u\": 7}"), f->a, &err));
            coll_abort(&w);
            OK(coll_drop(m.x, &err));
            catalog_coll_unref(m.x);
            arena_reset(f->a);
        }
}

enum { CROWD = 2500, CROWD_KEYS = 900 }; /* two steps */

/* Changes at random, of documents whose keys are few; at the look `at` all duplicates go, the survivor being any of them. */
struct crowd {
    struct fixture *f;
    struct catalog_coll *x;
    unsigned seed;
    int at, n_looks;
    int u[2 * CROWD]; /* by record id; -1: none */
    int n;            /* record ids given out */
};

static void crowd_set(struct crowd *c, int rid, int u)
{
    struct meanwhile m = { .f = c->f, .x = c->x };
    char text[64];

    snprintf(text, sizeof(text), "{\"_id\": %d, \"u\": %d}", rid, u);
    change(&m, (uint64_t)rid, u < 0 ? NULL : text);
    c->u[rid] = u;
}

static void crowd_add(struct crowd *c)
{
    int rid = ++c->n;
    char text[64];

    c->u[rid] = rand_r(&c->seed) % CROWD_KEYS;
    snprintf(text, sizeof(text), "{\"_id\": %d, \"u\": %d}", rid, c->u[rid]);
    insert(c->f, c->x, text);
}

static void crowd_mend(struct crowd *c)
{
    int owner[CROWD_KEYS] = { 0 };

    for (int rid = 1; rid <= c->n; rid++) {
        int *o = c->u[rid] < 0 ? NULL : &owner[c->u[rid]];
        if (!o)
            continue;
        int goes = *o && rand_r(&c->seed) % 2 ? *o : rid;
        if (*o)
            crowd_set(c, goes, -1);
        if (!*o || goes == *o)
            *o = rid;
    }
}

static RC crowd_look(void *arg, struct err *e)
{
    struct crowd *c = arg;

    (void)e;
    if (c->n_looks > c->at)
        return RC_OK;
    for (int i = 0; i < CROWD / 4; i++) {
        int rid = 1 + rand_r(&c->seed) % c->n, kind = rand_r(&c->seed) % 4;
        if (kind == 0)
            crowd_add(c);
        else if (c->u[rid] >= 0)
            crowd_set(c, rid, kind == 1 ? -1 : rand_r(&c->seed) % CROWD_KEYS);
    }
    if (c->n_looks++ == c->at)
        crowd_mend(c);
    return RC_OK;
}

static void test_a_crowd(void **state)
{
    struct fixture *f = *state;

    for (unsigned seed = 1; seed <= 5; seed++) {
        struct crowd c = { .f = f, .x = coll_of(f, "db.crowd"), .seed = seed, .at = seed % 5 };
        struct bdoc done;
        struct coll_build b = {
            .specs = &done, .n_specs = 1, .check = crowd_look, .check_arg = &c
        };
        int64_t n = 0;
        for (int i = 0; i < CROWD; i++)
            crowd_add(&c);
        OK(index_spec_check(f->a, json(f, unique_u), &done, &err));
        if (c.at < 3)
            OK(coll_create_indexes(c.x, &b, &err));
        else
            FAILS(ERR_DUPLICATE_KEY, coll_create_indexes(c.x, &b, &err));
        for (int rid = 1; rid <= c.n; rid++)
            n += c.u[rid] >= 0;
        assert_int_equal(n_indexes(c.x), c.at < 3 ? 2 : 1);
        check_valid(f, c.x, n);
        OK(coll_drop(c.x, &err));
        catalog_coll_unref(c.x);
        arena_reset(f->a);
    }
}

static void mend(struct meanwhile *m)
{
    change(m, N_DOCS, "{\"_id\": 4999, \"a\": [1, 2], \"b\": 1}");
    change(m, N_DOCS - 1, NULL);
}

/* Documents that the new index cannot take can be changed and removed before the build comes to them. */
static void test_parallel_arrays(void **state)
{
    struct fixture *f = *state;
    struct meanwhile m = { .f = f, .x = filled(f, "db.parallel"), .at = 10, .what = mend };
    const char *spec = "{\"key\": {\"a\": 1, \"b\": 1}, \"name\": \"i\"}";

    change(&m, N_DOCS, "{\"_id\": 4999, \"a\": [1, 2], \"b\": [3, 4]}");
    change(&m, N_DOCS - 1, "{\"_id\": 4998, \"a\": [1, 2], \"b\": [3, 4]}");
    FAILS(ERR_CANNOT_INDEX_PARALLEL_ARRAYS, build(&m, spec));
    assert_int_equal(m.n_done, 0);
    m.n_looks = 0;
    m.at = 1;
    OK(build(&m, spec));
    assert_int_equal(m.n_done, 1);
    check_valid(f, m.x, N_DOCS - 1);
    catalog_coll_unref(m.x);
}

static RC interrupted(void *arg, struct err *e)
{
    int *left = arg;

    if ((*left)-- > 0)
        return RC_OK;
    FAIL(e, ERR_INTERRUPTED, "interrupted");
}

/* Waits for a build of another thread until it is told not to. */
static void build_impatiently(struct meanwhile *m)
{
    struct bdoc spec;
    int left = 3;
    struct coll_build b = {
        .specs = &spec, .n_specs = 1, .check = interrupted, .check_arg = &left
    };

    OK(index_spec_check(m->f->a, json(m->f, "{\"key\": {\"b\": 1}, \"name\": \"b\"}"), &spec,
                        &err));
    FAILS(ERR_INTERRUPTED, coll_create_indexes(m->x, &b, &err));
    assert_true(left < 0);
}

static void test_interrupted(void **state)
{
    struct fixture *f = *state;
    struct meanwhile m = {
        .f = f, .x = filled(f, "db.interrupted"), .at = 1, .what = build_impatiently
    };
    struct bdoc spec;
    int left = 1;
    struct coll_build b = {
        .specs = &spec, .n_specs = 1, .check = interrupted, .check_arg = &left
    };

    OK(index_spec_check(f->a, json(f, "{\"key\": {\"a\": 1}, \"name\": \"i\"}"), &spec, &err));
    FAILS(ERR_INTERRUPTED, coll_create_indexes(m.x, &b, &err));
    assert_int_equal(n_indexes(m.x), 1);
    OK(build(&m, "{\"key\": {\"a\": 1}, \"name\": \"i\"}"));
    assert_int_equal(m.n_done, 1);
    assert_int_equal(n_indexes(m.x), 2);
    check_valid(f, m.x, N_DOCS);

    fault_arm("coll.build", "EIO", /* skip= */ 1, 1);
    create_index(f, m.x, "{\"key\": {\"b\": 1}, \"name\": \"b\"}", ERR_IO);
    fault_disarm_all();
    check_valid(f, m.x, N_DOCS);
    catalog_coll_unref(m.x);
}

struct load {
    struct catalog_coll *x;
    unsigned seed;
    atomic_bool *stop;
    int64_t n_inserted, n_deleted, n_changed;
};

static RC one_write(struct load *l, struct arena *a, struct err *e)
{
    unsigned r = (unsigned)rand_r(&l->seed), rid = 1 + r % (N_DOCS / 4), kind = r / 7 % 4;
    AUTO(coll_abort) struct coll_txn *w = NULL;
    char text[128];
    struct bdoc d, old;

    snprintf(text, sizeof(text), "{\"_id\": \"%u-%lld\", \"a\": [%u, %u], \"b\": \"%u\"}", l->seed,
             (long long)l->n_inserted, r % 50, r % 30, r);
    TRY(bdoc_from_json(a, text, &d, e));
    TRY(coll_begin(l->x, &w, e));
    if (kind == 0) {
        TRY(coll_insert(w, d, a, e));
        TRY(coll_commit(&w, STORE_NOSYNC, e));
        l->n_inserted++;
        return RC_OK;
    }
    TRY(coll_lock(w, rid, &old, e));
    old = bval_doc(bval_dup(a, bval_of_doc(old, BT_DOCUMENT)));
    if (kind == 1) {
        TRY(coll_delete(w, rid, old, a, e));
        TRY(coll_commit(&w, STORE_NOSYNC, e));
        l->n_deleted++;
        return RC_OK;
    }
    snprintf(text, sizeof(text), "{\"_id\": %lld, \"a\": [%u, %u], \"b\": \"%u\"}",
             (long long)rid - 1, r % 50, r % 30, r);
    TRY(bdoc_from_json(a, text, &d, e));
    TRY(coll_update(w, rid, old, d, a, e));
    TRY(coll_commit(&w, STORE_NOSYNC, e));
    l->n_changed++;
    return RC_OK;
}

static void *write_on(void *arg)
{
    struct load *l = arg;
    struct arena *a = arena_new(0);
    const char *why = NULL;

    while (!why && !atomic_load(l->stop)) {
        struct err e = { 0 };
        arena_reset(a);
        if (one_write(l, a, &e).failed && e.code != ERR_WRITE_CONFLICT && e.code != ERR_NOT_FOUND)
            why = "a write failed";
        err_reset(&e);
    }
    arena_free(a);
    return (void *)why;
}

/* Three builds in turn under writers that change, remove and add what is being indexed. */
static void test_under_load(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x = filled(f, "db.under_load");
    atomic_bool stop = false;
    struct load l[3];
    pthread_t t[3];
    int64_t n = N_DOCS;

    for (unsigned i = 0; i < 3; i++) {
        l[i] = (struct load){ .x = x, .seed = 17 + i, .stop = &stop };
        assert_int_equal(pthread_create(&t[i], NULL, write_on, &l[i]), 0);
    }
    fault_arm("coll.build", "delay20", 0, -1);
    create_index(f, x, "{\"key\": {\"a\": 1}, \"name\": \"a\"}", 0);
    create_index(f, x, "{\"key\": {\"b\": 1, \"a\": -1}, \"name\": \"ba\"}", 0);
    create_index(f, x, "{\"key\": {\"b\": -1}, \"name\": \"b\", \"sparse\": true}", 0);
    fault_disarm_all();
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++) {
        void *why;
        pthread_join(t[i], &why);
        if (why)
            fail_msg("%s", (const char *)why);
        assert_true(l[i].n_inserted && l[i].n_deleted && l[i].n_changed);
        n += l[i].n_inserted - l[i].n_deleted;
    }
    check_valid(f, x, n);
    catalog_coll_unref(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_go_on),
        cmocka_unit_test(test_what_is_dropped_is_given_up),
        cmocka_unit_test(test_other_changes_of_the_list),
        cmocka_unit_test(test_dropped_in_part),
        cmocka_unit_test(test_duplicates_fail_the_build_at_its_end),
        cmocka_unit_test(test_what_is_no_duplicate_at_the_end),
        cmocka_unit_test(test_a_crowd),
        cmocka_unit_test(test_parallel_arrays),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_under_load),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
