/* fixture.h - what the tests of coll share: a store with an empty catalogue, and short words for what they do with it. */
#ifndef COLL_T_FIXTURE_H
#define COLL_T_FIXTURE_H

#include "open_store.h"

#include "coll_priv.h"

struct fixture {
    struct store *s;
    struct catalog *cat;
    struct arena *a;
};

static inline void open_fixture(struct fixture *f)
{
    f->s = open_store();
    OK(catalog_open(f->s, &f->cat, &err));
    f->a = arena_new(0);
}

static inline void close_fixture(struct fixture *f)
{
    arena_free(f->a);
    catalog_close(f->cat);
    OK(store_close(f->s, &err));
}

static inline int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);

    open_store_init();
    open_fixture(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    close_fixture(f);
    open_store_fini();
    mem_free(f);
    return 0;
}

static inline struct bdoc json(struct fixture *f, const char *text)
{
    struct bdoc d;

    OK(bdoc_from_json(f->a, text, &d, &err));
    return d;
}

static inline struct catalog_coll *coll_of(struct fixture *f, const char *ns)
{
    struct catalog_coll *x;

    OK(coll_open(f->cat, slice_str(ns), true, &x, &err));
    return x;
}

static inline void insert(struct fixture *f, struct catalog_coll *x, const char *text)
{
    struct coll_txn *w;

    OK(coll_begin(x, &w, &err));
    OK(coll_insert(w, json(f, text), f->a, &err));
    OK(coll_commit(&w, STORE_NOSYNC, &err));
}

static inline void create_index(struct fixture *f, struct catalog_coll *x, const char *spec,
                                int want)
{
    struct bdoc done;
    struct coll_build b = { .specs = &done, .n_specs = 1 };

    OK(index_spec_check(f->a, json(f, spec), &done, &err));
    if (want)
        FAILS(want, coll_create_indexes(x, &b, &err));
    else
        OK(coll_create_indexes(x, &b, &err));
}

static inline void check_valid(struct fixture *f, struct catalog_coll *x, int64_t n_records)
{
    struct coll_validation v;

    OK(coll_validate(x, f->a, NULL, NULL, &v, &err));
    if (!v.valid) {
        struct buf b = BUF_INIT;
        bval_to_json(bval_of_doc(v.errors, BT_ARRAY), &b);
        fail_msg("%s", buf_cstr(&b));
    }
    assert_int_equal(v.n_records, n_records);
}

#endif
