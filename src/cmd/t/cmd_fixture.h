/* cmd_fixture.h - a node over a sealed store in a temporary directory, and commands run on it from JSON. One a process: fixture_setup() and
 * fixture_teardown() belong to the group. */
#ifndef CMD_T_FIXTURE_H
#define CMD_T_FIXTURE_H

#include "open_store.h"

#include "cmd_priv.h"

struct fixture {
    struct node *node;
    struct identity *identity;
    struct cmd_client *client;
    struct arena *a; /* of requests and replies: the test's */
};

static inline int fixture_setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    struct identity_config ic = { 0 };

    open_store_init();
    f->node = NEW(struct node);
    node_init(f->node);
    f->node->store = open_store();
    OK(node_open(f->node, &err));
    f->identity = identity_new(&ic);
    struct cmd_client_config cc = { .identity = f->identity, .id = 1, .peer = "127.0.0.1:1" };
    f->client = cmd_client_new(&cc);
    f->a = arena_new(0);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    cmd_client_free(f->client);
    identity_free(f->identity);
    node_close(f->node);
    OK(store_close(f->node->store, &err));
    arena_free(f->a);
    mem_free(f->node);
    mem_free(f);
    open_store_fini();
    return 0;
}

/* run_doc(): the reply, in f->a. */
static inline struct bdoc run_doc(struct fixture *f, const char *db, struct bdoc body)
{
    AUTO(buf_fini) struct buf out = BUF_INIT;
    struct arena *scratch = arena_new(0);
    struct cmd_req r = { .node = f->node,
                         .client = f->client,
                         .arena = f->a,
                         .scratch = scratch,
                         .body = body,
                         .db = slice_str(db),
                         .wire = CMD_OP_MSG };

    cmd_run(&r, &out);
    arena_free(scratch);
    return (struct bdoc){ .p = arena_dup(f->a, out.p, out.len), .len = (uint32_t)out.len };
}

static inline struct bdoc run_json(struct fixture *f, const char *db, const char *text)
{
    struct bdoc d = BDOC_EMPTY;

    OK(bdoc_from_json(f->a, text, &d, &err));
    return run_doc(f, db, d);
}

/* fixture_clean(): before each test of a group that shares one node: the database "t" is gone. */
static inline int fixture_clean(void **state)
{
    struct bdoc reply = run_json(*state, "t", "{\"dropDatabase\": 1}");

    return bval_to_double(bdoc_get(reply, "ok")) == 1 ? 0 : -1;
}

/* The value at a dotted path of names and array positions. */
static inline struct bval at(struct bdoc d, const char *path)
{
    char name[64];

    for (;;) {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        struct bval v = bdoc_get(d, name);
        path += n;
        if (!*path++ || (v.type != BT_DOCUMENT && v.type != BT_ARRAY))
            return v;
        d = bval_doc(v);
    }
}

static inline int64_t at_i64(struct bdoc d, const char *path)
{
    struct bval v = at(d, path);

    if (!bval_is_number(v))
        fail_msg("%s is no number", path);
    return cmd_i64(v);
}

/* The error's code, 0 for {ok: 1}. */
static inline int code_of(struct bdoc reply)
{
    return at_i64(reply, "ok") == 1 ? 0 : (int)at_i64(reply, "code");
}

#define CHECK_I64(doc, path, want) assert_int_equal(at_i64((doc), (path)), (want))
#define CHECK_CODE(reply, want)                                                                    \
    do {                                                                                           \
        struct bdoc reply_ = (reply);                                                              \
        if (code_of(reply_) != (want))                                                             \
            fail_msg("code %d instead of %d: %s", code_of(reply_), (want),                         \
                     code_of(reply_) ? (const char *)bval_str(at(reply_, "errmsg")).p : "");       \
    } while (0)

#endif
