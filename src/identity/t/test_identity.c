/* test_identity.c - SCRAM against published answers, users, roles, sessions, over a store in memory. */
#include "unit.h"

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "identity/identity.h"
#include "identity/roles.h"
#include "identity/scram.h"
#include "identity/users.h"

/* ---- a store in memory ---- */

struct mem_doc {
    struct buf b;
};

static struct map *docs;
static bool store_fails;

static RC s_load(void *ctx, struct slice id, struct arena *a, struct bdoc *out, struct err *e)
{
    struct mem_doc *d = map_get(docs, id);

    (void)ctx;
    if (store_fails)
        FAIL(e, ERR_IO, "disk");
    if (!d)
        FAIL(e, ERR_USER_NOT_FOUND, "no");
    *out = (struct bdoc){ .p = arena_dup(a, d->b.p, d->b.len), .len = (uint32_t)d->b.len };
    return RC_OK;
}

static RC s_replace(void *ctx, struct slice id, struct bdoc user, struct err *e)
{
    struct mem_doc *d = map_get(docs, id);

    (void)ctx;
    if (!d)
        FAIL(e, ERR_USER_NOT_FOUND, "no");
    buf_clear(&d->b);
    buf_push(&d->b, user.p, user.len);
    return RC_OK;
}

static RC s_insert(void *ctx, struct slice id, struct bdoc user, struct err *e)
{
    if (map_get(docs, id))
        FAIL(e, ERR_LOC(51003), "exists");
    map_put(docs, id, NEW(struct mem_doc));
    return s_replace(ctx, id, user, e);
}

static RC s_remove(void *ctx, struct slice id, struct err *e)
{
    struct mem_doc *d = map_del(docs, id);

    (void)ctx;
    if (!d)
        FAIL(e, ERR_USER_NOT_FOUND, "no");
    buf_fini(&d->b);
    mem_free(d);
    return RC_OK;
}

static RC s_each(void *ctx, RC (*fn)(void *arg, struct bdoc user, struct err *e), void *arg,
                 struct err *e)
{
    size_t it = 0;
    struct slice key;
    void *v;

    (void)ctx;
    if (store_fails)
        FAIL(e, ERR_IO, "disk");
    while (map_next(docs, &it, &key, &v)) {
        struct mem_doc *d = v;

        TRY(fn(arg, (struct bdoc){ .p = d->b.p, .len = (uint32_t)d->b.len }, e));
    }
    return RC_OK;
}

static const struct identity_store store = {
    .load = s_load, .insert = s_insert, .replace = s_replace, .remove = s_remove, .each = s_each
};

static struct identity *id;
static struct arena *a;
static struct secret *salt_key;
static uint64_t n_live; /* secrets that the library keeps for itself */
static struct err e;

static int setup(void **state)
{
    struct identity_config c = { .store = &store, .auth = true };

    (void)state;
    docs = map_new();
    a = arena_new(0);
    store_fails = false;
    if (secret_random(32, &salt_key, &e).failed)
        return -1;
    c.fake_salt_key = salt_key;
    id = identity_new(&c);
    return 0;
}

static int teardown(void **state)
{
    size_t it = 0;
    struct slice key;
    void *v;

    (void)state;
    while (map_next(docs, &it, &key, &v)) {
        buf_fini(&((struct mem_doc *)v)->b);
        mem_free(v);
    }
    map_free(docs);
    identity_free(id);
    secret_free(salt_key);
    arena_free(a);
    return secret_live_count() == n_live ? 0 : -1;
}

static struct slice lit(const char *s)
{
    return slice_str(s);
}

static RC make_user(const char *db, const char *user, const char *password, const char *role,
                    const char *role_db)
{
    struct users_role r = { .name = lit(role), .db = lit(role_db) };
    struct users_spec s = {
        .db = lit(db), .user = lit(user), .roles = &r, .n_roles = *role ? 1 : 0
    };
    struct secret *pw = NULL;
    rc_t rc = secret_from(password, strlen(password), &pw, &e);

    assert_false(rc.failed);
    s.password = pw;
    rc = users_create(id, &s, a, &e);
    secret_free(pw);
    return rc;
}

/* ---- SCRAM ---- */

static void put_known_user(const char *name, int iterations)
{
    struct buf b = BUF_INIT;
    struct bw w;
    struct slice key = lit(arena_printf(a, "admin.%s", name));

    bw_init(&w, &b);
    bw_str_slice(&w, "_id", key);
    bw_str(&w, "user", name);
    bw_str(&w, "db", "admin");
    bw_doc_begin(&w, "credentials");
    bw_doc_begin(&w, "SCRAM-SHA-256");
    bw_i32(&w, "iterationCount", iterations);
    bw_str(&w, "salt", "W22ZaJ0SNY7soEsUEjb6gQ==");
    bw_str(&w, "storedKey", "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
    bw_str(&w, "serverKey", "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    bw_doc_end(&w);
    bw_doc_end(&w);
    CHECK_RC_OK(s_insert(NULL, key, bw_finish(&w), &e), &e);
    buf_fini(&b);
}

#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define FINAL                                                                                      \
    "c=biws,r=rOprNGfwEbeRWgbNEkqO" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

/* RFC 7677 3 */
static void test_known_answers(void **state)
{
    (void)state;
    put_known_user("user", 4096);
    for (int skip = 0; skip < 2; skip++) {
        struct buf reply = BUF_INIT;
        struct scram *s;
        bool done;

        CHECK_RC_OK(scram_begin_with_nonce(id, lit("admin"), lit(FIRST), skip, lit(NONCE), a, &s,
                                           &reply, &e),
                    &e);
        assert_string_equal(buf_cstr(&reply),
                            "r=rOprNGfwEbeRWgbNEkqO" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        buf_clear(&reply);
        CHECK_RC_OK(scram_continue(s, lit(FINAL), &reply, &done, &e), &e);
        assert_string_equal(buf_cstr(&reply), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_int_equal(done, skip);
        buf_clear(&reply);
        if (!skip) {
            CHECK_RC_OK(scram_continue(s, SLICE_EMPTY, &reply, &done, &e), &e);
            assert_true(done);
            assert_int_equal(reply.len, 0);
        }
        CHECK_RC_FAILS(scram_continue(s, SLICE_EMPTY, &reply, &done, &e), &e, ERR_PROTOCOL_ERROR);
        assert_false(done);
        assert_true(slice_eq_str(scram_user(s), "user"));
        scram_free(s);
        buf_fini(&reply);
    }
}

static void test_first_messages_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "n",
        "n,",
        "n,,",
        "p=tls-unique,,n=user,r=abc",
        "x,,n=user,r=abc",
        "n,,n=,r=abc",
        "n,,r=abc,n=user",
        "n,,n=user",
        "n,,n=user,r=",
        "n,,n=us=er,r=abc",
        "n,,n=us=2,r=abc",
        "n,a=other,n=user,r=abc",
        "n,,m=x,n=user,r=abc",
        "n,,n=user,r=a\001b",
        "n,,n=\xff\xfe,r=abc",
    };

    (void)state;
    put_known_user("user", 4096);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf reply = BUF_INIT;
        struct scram *s;

        CHECK_RC_FAILS(scram_begin(id, lit("admin"), lit(bad[i]), true, a, &s, &reply, &e), &e,
                       ERR_AUTHENTICATION_FAILED);
        assert_null(s);
        buf_fini(&reply);
    }
}

static void test_final_messages_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "c=biws",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO" NONCE,
        "c=eSws,r=rOprNGfwEbeRWgbNEkqO" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO" NONCE ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO" NONCE ",p=",
        FINAL ",x=1",
        "r=rOprNGfwEbeRWgbNEkqO" NONCE ",c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    };

    (void)state;
    put_known_user("user", 4096);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf reply = BUF_INIT;
        struct scram *s;
        bool done;

        CHECK_RC_OK(scram_begin_with_nonce(id, lit("admin"), lit(FIRST), true, lit(NONCE), a, &s,
                                           &reply, &e),
                    &e);
        CHECK_RC_FAILS(scram_continue(s, lit(bad[i]), &reply, &done, &e), &e,
                       ERR_AUTHENTICATION_FAILED);
        /* no second try */
        CHECK_RC_FAILS(scram_continue(s, lit(FINAL), &reply, &done, &e), &e, ERR_PROTOCOL_ERROR);
        assert_false(done);
        scram_free(s);
        buf_fini(&reply);
    }
}

/* What an unknown name is told looks like what a known one is told, and the same twice. */
static void test_unknown_user(void **state)
{
    struct buf first = BUF_INIT, second = BUF_INIT, other = BUF_INIT;
    struct scram *s;
    bool done;

    (void)state;
    CHECK_RC_OK(make_user("admin", "real", "pw", "read", "admin"), &e);
    CHECK_RC_OK(scram_begin_with_nonce(id, lit("admin"), lit(FIRST), true, lit(NONCE), a, &s,
                                       &first, &e),
                &e);
    CHECK_RC_FAILS(scram_continue(s, lit(FINAL), &second, &done, &e), &e,
                   ERR_AUTHENTICATION_FAILED);
    scram_free(s);
    buf_clear(&second);
    CHECK_RC_OK(scram_begin_with_nonce(id, lit("admin"), lit(FIRST), true, lit(NONCE), a, &s,
                                       &second, &e),
                &e);
    scram_free(s);
    assert_true(slice_eq(buf_view(&first), buf_view(&second)));
    CHECK_RC_OK(scram_begin_with_nonce(id, lit("test"), lit(FIRST), true, lit(NONCE), a, &s, &other,
                                       &e),
                &e);
    scram_free(s);
    assert_false(slice_eq(buf_view(&first), buf_view(&other)));
    buf_clear(&other);
    CHECK_RC_OK(scram_begin_with_nonce(id, lit("admin"), lit("n,,n=real,r=rOprNGfwEbeRWgbNEkqO"),
                                       true, lit(NONCE), a, &s, &other, &e),
                &e);
    scram_free(s);
    assert_int_equal(first.len, other.len); /* the same salt length and count as a new user's */
    /* A count below the minimum counts as no credentials; a store that fails is not an unknown user. */
    put_known_user("user", 4095);
    buf_clear(&other);
    CHECK_RC_OK(scram_begin_with_nonce(id, lit("admin"), lit(FIRST), true, lit(NONCE), a, &s,
                                       &other, &e),
                &e);
    assert_true(slice_eq(buf_view(&first), buf_view(&other)));
    scram_free(s);
    store_fails = true;
    CHECK_RC_FAILS(scram_begin(id, lit("admin"), lit(FIRST), true, a, &s, &other, &e), &e, ERR_IO);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&other);
}

/* A client of our own, for passwords that this module stored. */
static rc_t log_in(const char *user, const char *prepared, const char *db)
{
    struct buf reply = BUF_INIT, proof = BUF_INIT, final = BUF_INIT, salt = BUF_INIT;
    struct secret *pw = NULL, *salted = NULL, *client_key = NULL, *stored = NULL;
    uint8_t u[32], t[32], sig[32], h[32];
    char bare[256], nonce[128], salt64[128];
    int count;
    struct scram *s;
    bool done = false;
    rc_t rc;

    snprintf(bare, sizeof(bare), "n=%s,r=abcdefgh", user);
    rc = scram_begin(id, lit(db), lit(arena_printf(a, "n,,%s", bare)), true, a, &s, &reply, &e);
    if (rc.failed)
        return rc;
    assert_int_equal(sscanf(buf_cstr(&reply), "r=%127[^,],s=%127[^,],i=%d", nonce, salt64, &count),
                     3);
    assert_true(strlen(nonce) >= 8 + SCRAM_NONCE_MIN);
    assert_true(base64_decode(lit(salt64), &salt));
    buf_push(&salt, "\0\0\0\1", 4);
    CHECK_RC_OK(secret_from(prepared, strlen(prepared), &pw, &e), &e);
    {
        struct slice p = buf_view(&salt);

        CHECK_RC_OK(hmac_sha256(pw, &p, 1, u, &e), &e);
        memcpy(t, u, 32);
        for (int i = 1; i < count; i++) {
            p = SLICE(u, 32);
            CHECK_RC_OK(hmac_sha256(pw, &p, 1, h, &e), &e);
            memcpy(u, h, 32);
            for (int k = 0; k < 32; k++)
                t[k] ^= u[k];
        }
    }
    CHECK_RC_OK(secret_from(t, 32, &salted, &e), &e);
    {
        struct slice p = SLICE_LIT("Client Key");
        struct slice msg[] = { lit(bare), SLICE_LIT(","), buf_view(&reply), SLICE_LIT(",c=biws,r="),
                               lit(nonce) };

        CHECK_RC_OK(hmac_sha256(salted, &p, 1, u, &e), &e);
        CHECK_RC_OK(secret_from(u, 32, &client_key, &e), &e);
        p = SLICE(u, 32);
        CHECK_RC_OK(sha256(&p, 1, h, &e), &e);
        CHECK_RC_OK(secret_from(h, 32, &stored, &e), &e);
        CHECK_RC_OK(hmac_sha256(stored, msg, ARRAY_LEN(msg), sig, &e), &e);
    }
    for (int i = 0; i < 32; i++)
        u[i] ^= sig[i];
    buf_printf(&final, "c=biws,r=%s,p=", nonce);
    base64_encode(SLICE(u, 32), &final);
    buf_clear(&reply);
    rc = scram_continue(s, buf_view(&final), &reply, &done, &e);
    assert_int_equal(done, !rc.failed);
    scram_free(s);
    secret_free(pw);
    secret_free(salted);
    secret_free(client_key);
    secret_free(stored);
    buf_fini(&reply);
    buf_fini(&proof);
    buf_fini(&final);
    buf_fini(&salt);
    return rc;
}

static void test_passwords(void **state)
{
    (void)state;
    CHECK_RC_OK(make_user("admin", "a,b=c", "secret", "root", "admin"), &e);
    CHECK_RC_OK(log_in("a=2Cb=3Dc", "secret", "admin"), &e);
    CHECK_RC_FAILS(log_in("a=2Cb=3Dc", "Secret", "admin"), &e, ERR_AUTHENTICATION_FAILED);
    CHECK_RC_FAILS(log_in("a=2Cb=3Dc", "secret", "test"), &e, ERR_AUTHENTICATION_FAILED);
    /* RFC 4013 3: a soft hyphen is mapped to nothing, a Roman numeral to letters; controls are prohibited. */
    CHECK_RC_OK(make_user("test", "prep", "I\xc2\xadX", "read", "test"), &e);
    CHECK_RC_OK(log_in("prep", "IX", "test"), &e);
    CHECK_RC_OK(make_user("test", "roman", "\xe2\x85\xa8", "read", "test"), &e);
    CHECK_RC_OK(log_in("roman", "IX", "test"), &e);
    CHECK_RC_FAILS(make_user("test", "ctl", "a\x07", "read", "test"), &e, ERR_BAD_VALUE);
    CHECK_RC_FAILS(make_user("test", "soft", "\xc2\xad", "read", "test"), &e, 50687);
    CHECK_RC_FAILS(make_user("test", "raw", "\xff", "read", "test"), &e, ERR_BAD_VALUE);
}

/* ---- users and sessions ---- */

static void test_users(void **state)
{
    struct users_spec s = { .db = lit("test"), .user = lit("u"), .n_roles = -1 };
    struct users_role more[] = { { .name = lit("dbAdmin"), .db = lit("test") },
                                 { .name = lit("read"), .db = lit("other") } };
    struct identity_session *ses = identity_session_new(id, false);
    struct slice db, user;
    struct buf b = BUF_INIT;
    struct bw w;
    struct bdoc doc, shown;
    int n;

    (void)state;
    CHECK_RC_OK(make_user("test", "u", "pw", "readWrite", "test"), &e);
    CHECK_RC_FAILS(make_user("test", "u", "pw", "read", "test"), &e, 51003);
    CHECK_RC_FAILS(make_user("test", "", "pw", "read", "test"), &e, ERR_BAD_VALUE);
    CHECK_RC_FAILS(make_user("local", "x", "pw", "read", "local"), &e, ERR_BAD_VALUE);
    CHECK_RC_OK(identity_login(ses, lit("test"), lit("u"), &e), &e);
    assert_true(identity_is_authenticated(ses));
    assert_true(identity_current(ses, 0, &db, &user) && slice_eq_str(user, "u"));
    assert_true(identity_allows(ses, RES_COLL(lit("test"), lit("c")), ACT_INSERT));
    assert_false(identity_allows(ses, RES_COLL(lit("other"), lit("c")), ACT_FIND));
    assert_false(identity_allows(ses, RES_DB(lit("test")), ACT_DROP_DATABASE));
    CHECK_RC_FAILS(identity_require(ses, RES_DB(lit("test")), ACT_DROP_DATABASE, "dropDatabase",
                                    &e),
                   &e, ERR_UNAUTHORIZED);
    /* Changes reach sessions that are open. */
    CHECK_RC_OK(users_grant(id, lit("test"), lit("u"), more, 2, a, &e), &e);
    assert_true(identity_allows(ses, RES_DB(lit("test")), ACT_DROP_DATABASE));
    assert_true(identity_allows(ses, RES_COLL(lit("other"), lit("c")), ACT_FIND));
    CHECK_RC_OK(users_revoke(id, lit("test"), lit("u"), more, 1, a, &e), &e);
    assert_false(identity_allows(ses, RES_DB(lit("test")), ACT_DROP_DATABASE));
    assert_true(identity_allows(ses, RES_COLL(lit("other"), lit("c")), ACT_FIND));
    s.n_roles = 0;
    CHECK_RC_OK(users_update(id, &s, a, &e), &e);
    assert_false(identity_allows(ses, RES_COLL(lit("test"), lit("c")), ACT_INSERT));
    assert_true(identity_is_authenticated(ses));
    CHECK_RC_OK(log_in("u", "pw", "test"), &e); /* the password was left alone */
    CHECK_RC_OK(users_get(id, lit("test"), lit("u"), a, &doc, &e), &e);
    bw_init(&w, &b);
    users_write(doc, USERS_SHOW_PRIVILEGES, &w);
    shown = bw_finish(&w);
    assert_int_equal(bdoc_get(shown, "credentials").type, BT_MISSING);
    assert_int_equal(bdoc_get(shown, "userId").type, BT_BINARY);
    assert_int_equal(bdoc_get(shown, "mechanisms").type, BT_ARRAY);
    buf_fini(&b);
    CHECK_RC_OK(users_drop(id, lit("test"), lit("u"), a, &e), &e);
    assert_false(identity_allows(ses, RES_COLL(lit("test"), lit("c")), ACT_FIND));
    assert_false(identity_is_authenticated(ses));
    CHECK_RC_FAILS(users_drop(id, lit("test"), lit("u"), a, &e), &e, ERR_USER_NOT_FOUND);
    CHECK_RC_FAILS(users_update(id, &s, a, &e), &e, ERR_USER_NOT_FOUND);
    CHECK_RC_OK(make_user("test", "v", "pw", "read", "test"), &e);
    CHECK_RC_OK(make_user("test", "w", "pw", "read", "test"), &e);
    CHECK_RC_OK(make_user("other", "v", "pw", "read", "test"), &e);
    CHECK_RC_OK(users_drop_all(id, lit("test"), a, &n, &e), &e);
    assert_int_equal(n, 2);
    CHECK_RC_OK(users_get(id, lit("other"), lit("v"), a, &doc, &e), &e);
    identity_session_free(ses);
}

static void test_parse_roles(void **state)
{
    static const struct {
        const char *json;
        int code, n;
    } cases[] = {
        { "{\"r\": [\"read\", {\"role\": \"readWrite\", \"db\": \"x\"}]}", 0, 2 },
        { "{\"r\": []}", 0, 0 },
        { "{\"r\": \"read\"}", ERR_TYPE_MISMATCH, 0 },
        { "{\"r\": [1]}", ERR_TYPE_MISMATCH, 0 },
        { "{\"r\": [\"nothing\"]}", ERR_ROLE_NOT_FOUND, 0 },
        { "{\"r\": [\"root\"]}", ERR_ROLE_NOT_FOUND, 0 }, /* of admin only */
        { "{\"r\": [{\"role\": \"root\", \"db\": \"admin\"}]}", 0, 1 },
        { "{\"r\": [{\"role\": \"read\"}]}", ERR_BAD_VALUE, 0 },
        { "{\"r\": [{\"role\": \"read\", \"db\": \"x\", \"y\": 1}]}", ERR_BAD_VALUE, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct users_role *roles;
        struct bdoc d;
        int n;

        CHECK_RC_OK(bdoc_from_json(a, cases[i].json, &d, &e), &e);
        if (cases[i].code) {
            CHECK_RC_FAILS(users_parse_roles(bdoc_get(d, "r"), lit("test"), a, &roles, &n, &e), &e,
                           cases[i].code);
            continue;
        }
        CHECK_RC_OK(users_parse_roles(bdoc_get(d, "r"), lit("test"), a, &roles, &n, &e), &e);
        assert_int_equal(n, cases[i].n);
    }
}

static void test_localhost_exception(void **state)
{
    struct identity_session *near = identity_session_new(id, true),
                            *far = identity_session_new(id, false);

    (void)state;
    store_fails = true;
    assert_false(identity_localhost_exception(near)); /* "cannot tell" is not "none" */
    store_fails = false;
    assert_true(identity_localhost_exception(near));
    assert_false(identity_localhost_exception(far));
    assert_true(identity_allows(near, RES_DB(lit("admin")), ACT_CREATE_USER));
    assert_false(identity_allows(near, RES_DB(lit("test")), ACT_CREATE_USER));
    assert_false(identity_allows(near, RES_COLL(lit("admin"), lit("c")), ACT_FIND));
    assert_false(identity_allows(far, RES_DB(lit("admin")), ACT_CREATE_USER));
    CHECK_RC_OK(make_user("admin", "first", "pw", "root", "admin"), &e);
    assert_false(identity_localhost_exception(near));
    assert_false(identity_allows(near, RES_DB(lit("admin")), ACT_CREATE_USER));
    CHECK_RC_OK(users_drop(id, lit("admin"), lit("first"), a, &e), &e);
    assert_false(identity_localhost_exception(near)); /* gone for good */
    identity_session_free(near);
    identity_session_free(far);
}

/* ---- roles ---- */

static void test_roles(void **state)
{
    static const struct {
        const char *role, *role_db, *db, *coll;
        enum action a;
        bool want;
    } cases[] = {
        { "read", "x", "x", "c", ACT_FIND, true },
        { "read", "x", "y", "c", ACT_FIND, false },
        { "read", "x", "x", "c", ACT_INSERT, false },
        { "read", "x", "x", "", ACT_LIST_COLLECTIONS, true },
        { "read", "x", "x", "system.js", ACT_FIND, true },
        { "read", "x", "x", "system.profile", ACT_FIND, false },
        { "read", "admin", "admin", "system.users", ACT_FIND, false },
        { "readWrite", "x", "x", "c", ACT_REMOVE, true },
        { "readWrite", "x", "x", "c", ACT_CREATE_INDEX, true },
        { "readWrite", "x", "x", "c", ACT_COLL_MOD, false },
        { "readWrite", "x", "x", "", ACT_DROP_DATABASE, false },
        { "dbAdmin", "x", "x", "c", ACT_COLL_MOD, true },
        { "dbAdmin", "x", "x", "c", ACT_FIND, false },
        { "dbAdmin", "x", "x", "system.profile", ACT_FIND, true },
        { "dbAdmin", "x", "x", "", ACT_DROP_DATABASE, true },
        { "userAdmin", "x", "x", "", ACT_CREATE_USER, true },
        { "userAdmin", "x", "y", "", ACT_CREATE_USER, false },
        { "userAdmin", "x", "x", "c", ACT_FIND, false },
        { "dbOwner", "x", "x", "c", ACT_INSERT, true },
        { "dbOwner", "x", "x", "", ACT_GRANT_ROLE, true },
        { "readAnyDatabase", "admin", "y", "c", ACT_FIND, true },
        { "readAnyDatabase", "admin", "config", "c", ACT_FIND, false },
        { "readAnyDatabase", "admin", "local", "c", ACT_FIND, false },
        { "readAnyDatabase", "admin", "admin", "system.users", ACT_FIND, false },
        { "readWriteAnyDatabase", "admin", "y", "c", ACT_UPDATE, true },
        { "userAdminAnyDatabase", "admin", "y", "", ACT_CREATE_USER, true },
        { "userAdminAnyDatabase", "admin", "admin", "system.users", ACT_FIND, true },
        { "userAdminAnyDatabase", "admin", "admin", "system.users", ACT_UPDATE, false },
        { "dbAdminAnyDatabase", "admin", "y", "c", ACT_VALIDATE, true },
        { "clusterMonitor", "admin", "y", "c", ACT_COLL_STATS, true },
        { "clusterMonitor", "admin", "y", "c", ACT_FIND, false },
        { "clusterAdmin", "admin", "y", "", ACT_DROP_DATABASE, true },
        { "clusterAdmin", "admin", "y", "c", ACT_INSERT, false },
        { "backup", "admin", "y", "c", ACT_FIND, true },
        { "backup", "admin", "y", "c", ACT_INSERT, false },
        { "restore", "admin", "y", "c", ACT_INSERT, true },
        { "root", "admin", "y", "c", ACT_INSERT, true },
        { "root", "admin", "admin", "system.users", ACT_FIND, true },
        { "__system", "admin", "admin", "system.users", ACT_UPDATE, true },
    };
    static const struct {
        const char *role;
        enum action a;
        bool want;
    } cluster[] = {
        { "clusterMonitor", ACT_SERVER_STATUS, true },
        { "clusterMonitor", ACT_SHUTDOWN, false },
        { "hostManager", ACT_SHUTDOWN, true },
        { "clusterAdmin", ACT_SERVER_STATUS, true },
        { "readAnyDatabase", ACT_LIST_DATABASES, true },
        { "root", ACT_SET_PARAMETER, true },
        { "root", ACT_IMPERSONATE, false },
        { "__system", ACT_IMPERSONATE, true },
        { "userAdminAnyDatabase", ACT_SHUTDOWN, false },
    };
    enum role r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(roles_find(lit(cases[i].role), lit(cases[i].role_db), &r));
        if (roles_grant(r, lit(cases[i].role_db), RES_COLL(lit(cases[i].db), lit(cases[i].coll)),
                        cases[i].a) != cases[i].want)
            fail_msg("%s@%s %s on %s.%s", cases[i].role, cases[i].role_db, action_name(cases[i].a),
                     cases[i].db, cases[i].coll);
    }
    for (size_t i = 0; i < ARRAY_LEN(cluster); i++) {
        assert_true(roles_find(lit(cluster[i].role), lit("admin"), &r));
        if (roles_grant(r, lit("admin"), RES_CLUSTER, cluster[i].a) != cluster[i].want)
            fail_msg("%s %s on the cluster", cluster[i].role, action_name(cluster[i].a));
    }
    /* Nothing that is granted on collections is granted on the cluster by the way. */
    for (int i = 0; i < ROLE_SYSTEM; i++)
        assert_false(roles_grant((enum role)i, lit("admin"), RES_CLUSTER, ACT_FIND));
    assert_true(roles_includes(ROLE_ROOT, ROLE_READ_ANY_DATABASE));
    assert_false(roles_includes(ROLE_READ, ROLE_READ_WRITE));
    assert_true(roles_grant_any(ROLE_READ, lit("x"), lit("x"), ACT_FIND));
    assert_false(roles_grant_any(ROLE_READ, lit("x"), lit("y"), ACT_FIND));
    assert_false(roles_find(lit("read "), lit("x"), &r));
    assert_false(roles_find(lit("root"), lit("x"), &r));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    T(test_known_answers),
    T(test_first_messages_refused),
    T(test_final_messages_refused),
    T(test_unknown_user),
    T(test_passwords),
    T(test_users),
    T(test_parse_roles),
    T(test_localhost_exception),
    T(test_roles),
};

int main(void)
{
    if (secret_arena_init(1 << 18, &e).failed || crypto_init(&e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    n_live = secret_live_count();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
