/* test_root_wrapped.c - a vault whose root key a token's key wraps. The token is the service root's provider, whose wrapping is real, with faults in front
 * of it; what a token of PKCS #11 does is in tests/security/test_vault_root_token.py. */
#include <sys/stat.h>

#include "crypto/kdf.h"
#include "keys/provider.h"
#include "keys/service_root.h"
#include "vaultfix.h"

struct token {
    struct key_provider table, *inner;
    const char *newest;  /* the version that it says; "" = the inner one's own */
    enum err_code fails; /* each call; ERR_NONE: none */
    bool lies, cuts;     /* unwraps to something else, or to less */
    int n_wraps, n_unwraps;
};

struct fix {
    struct vaultfix *v;
    struct token token;
    char *file; /* root.wrapped */
};

static struct token *token_of(struct key_provider *p)
{
    return CONTAINER_OF(p, struct token, table);
}

static RC broken(const struct token *t, struct err *e)
{
    if (t->fails)
        FAIL(e, t->fails, "the token was told to fail");
    return RC_OK;
}

static RC token_get_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                        struct key_info *out, struct err *e)
{
    struct token *t = token_of(p);

    TRY(broken(t, e));
    TRY(t->inner->get_key(t->inner, version, deadline_us, out, e));
    if (*t->newest)
        (void)snprintf(out->version, sizeof out->version, "%s", t->newest);
    return RC_OK;
}

static RC token_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                     uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct token *t = token_of(p);

    TRY(broken(t, e));
    t->n_wraps++;
    TRY(t->inner->wrap(t->inner, version, plain, deadline_us, out, e));
    if (*t->newest)
        (void)snprintf(out->version, sizeof out->version, "%s", t->newest);
    return RC_OK;
}

static RC token_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                       uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct token *t = token_of(p);
    struct wrapped_key theirs = *w;
    struct key_info info;

    *out = NULL;
    TRY(broken(t, e));
    t->n_unwraps++;
    TRY(t->inner->get_key(t->inner, NULL, deadline_us, &info, e));
    if (*t->newest && strcmp(w->version, t->newest) == 0)
        (void)snprintf(theirs.version, sizeof theirs.version, "%s", info.version);
    TRY(t->inner->unwrap(t->inner, &theirs, fresh, deadline_us, out, e));
    if (t->lies)
        secret_bytes(*out)[0] ^= 1;
    if (!t->cuts)
        return RC_OK;
    AUTO(secret_freep) struct secret *whole = TAKE(*out);
    return secret_from(secret_view(whole), secret_len(whole) - 1, out, e);
}

static void token_init(struct fix *f, const char *name)
{
    struct service_root_info info;
    struct err e = { 0 };
    bool made;
    char *path = mem_printf("%s/%s", f->v->dir, name);

    f->token = (struct token){
        .table = { .name = "token",
                   .get_key = token_get_key,
                   .wrap = token_wrap,
                   .unwrap = token_unwrap },
        .newest = "",
    };
    CHECK_RC_OK(service_root_ensure(path, &made, &e), &e);
    CHECK_RC_OK(service_root_open(path, f->v->state_dir, &f->token.inner, &info, &e), &e);
    mem_free(path);
}

static enum err_code open_it(struct fix *f)
{
    struct err e = { 0 };

    rc_t rc = vault_open(&f->v->config, &f->v->vault, &e);
    assert_true((f->v->vault == NULL) == rc.failed);
    return e.code;
}

static void close_it(struct fix *f)
{
    vault_close(f->v->vault);
    f->v->vault = NULL;
}

static int setup(void **state)
{
    struct fix *f = NEW(struct fix);

    f->v = NEW(struct vaultfix);
    vaultfix_dirs(f->v);
    token_init(f, "token.key");
    f->v->config.root_provider = &f->token.table;
    f->v->config.root_timeout_us = 1000000;
    f->file = mem_printf("%s/root.wrapped", f->v->state_dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    fault_disarm_all();
    f->token.inner->free(f->token.inner);
    vaultfix_stop(f->v);
    mem_free(f->file);
    mem_free(f);
    return 0;
}

static void slurp(const char *path, struct buf *out)
{
    struct err e = { 0 };

    buf_clear(out);
    CHECK_RC_OK(file_read(path, 1 << 24, out, &e), &e);
}

static void spill(const char *path, struct slice content)
{
    struct err e = { 0 };

    CHECK_RC_OK(file_write_atomic(path, 0600, content, &e), &e);
}

static void it_opens_with_its_token_alone(void **state)
{
    struct fix *f = *state;
    struct stat st;

    assert_int_equal(open_it(f), ERR_NONE);
    char *tenant = mem_strdup(vault_tenant(f->v->vault));
    close_it(f);
    assert_int_equal(f->token.n_wraps, 1);
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(path_exists(f->v->root_key));
    assert_int_equal(open_it(f), ERR_NONE);
    assert_string_equal(vault_tenant(f->v->vault), tenant);
    close_it(f);
    assert_int_equal(f->token.n_wraps, 1);
    /* the token's verdicts come out as they are, and change nothing */
    static const enum err_code verdicts[] = { ERR_KEY_UNREACHABLE, ERR_KEY_DENIED,
                                              ERR_KEY_NOT_FOUND, ERR_KEY_THROTTLED,
                                              ERR_KEY_CREDENTIAL };
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        f->token.fails = verdicts[i];
        assert_int_equal(open_it(f), verdicts[i]);
    }
    f->token.fails = ERR_NONE;
    /* another token, and one that gives back something else */
    struct token was = f->token;
    token_init(f, "other.key");
    assert_int_equal(open_it(f), ERR_WRONG_KEY);
    f->token.inner->free(f->token.inner);
    f->token = was;
    f->token.lies = true;
    assert_int_equal(open_it(f), ERR_CORRUPT);
    f->token.lies = false;
    f->token.cuts = true;
    assert_int_equal(open_it(f), ERR_KEY_BAD_ANSWER);
    f->token.cuts = false;
    assert_int_equal(open_it(f), ERR_NONE);
    assert_string_equal(vault_tenant(f->v->vault), tenant);
    close_it(f);
    mem_free(tenant);
}

static void what_the_token_cannot_give_back_is_not_written(void **state)
{
    struct fix *f = *state;

    f->token.lies = true;
    assert_int_equal(open_it(f), ERR_KEY_BAD_ANSWER);
    assert_false(path_exists(f->file));
    f->token.lies = false;
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
}

/* Who writes the file can write a checksum that fits. */
static void refit(struct buf *b)
{
    uint8_t sum[SHA256_LEN];
    struct slice body = SLICE(b->p, b->len - 48);
    struct err e = { 0 };

    CHECK_RC_OK(sha256(&body, 1, sum, &e), &e);
    memcpy(b->p + b->len - 48, sum, 16);
}

static void every_flipped_byte_is_refused(void **state)
{
    struct fix *f = *state;
    struct buf b = BUF_INIT, changed = BUF_INIT;

    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    slurp(f->file, &b);
    for (size_t i = 0; i < b.len; i++)
        for (int fits = 0; fits < 2; fits++) {
            buf_clear(&changed);
            buf_push(&changed, b.p, b.len);
            changed.p[i] ^= 0x01;
            if (fits)
                refit(&changed);
            if (memcmp(changed.p, b.p, b.len) == 0) /* it was the checksum's */
                continue;
            spill(f->file, buf_view(&changed));
            f->token.n_unwraps = 0;
            enum err_code got = open_it(f);
            if (got == ERR_NONE || (!fits && f->token.n_unwraps > 0 && i < b.len - 32))
                fail_msg("byte %zu flipped: code %d, %d asked", i, (int)got, f->token.n_unwraps);
        }
    for (size_t len = 0; len < b.len; len++) {
        spill(f->file, SLICE(b.p, len));
        assert_int_equal(open_it(f), ERR_CORRUPT);
    }
    buf_push_u8(&b, 0);
    spill(f->file, buf_view(&b));
    assert_int_equal(open_it(f), ERR_CORRUPT);
    spill(f->file, SLICE(b.p, b.len - 1));
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    buf_fini(&b);
    buf_fini(&changed);
}

static void what_stands_alone_is_not_taken(void **state)
{
    struct fix *f = *state;
    char *pin = mem_printf("%s.pin", f->v->root_key), *audit = mem_printf("%s.audit", pin),
         *vault = mem_printf("%s/vault.state", f->v->state_dir),
         *segment = mem_printf("%s/audit/00000001.log", f->v->state_dir);
    struct buf other = BUF_INIT;

    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    slurp(f->file, &other);
    assert_int_equal(unlink(vault), 0);
    assert_int_equal(unlink(segment), 0);
    assert_int_equal(unlink(audit), 0);
    /* the pin remembers a state */
    assert_int_equal(open_it(f), ERR_STALE);
    assert_int_equal(unlink(pin), 0);
    assert_int_equal(open_it(f), ERR_PIN_MISSING);
    f->v->config.adopt = true;
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    f->v->config.adopt = false;
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    /* gone */
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(open_it(f), ERR_NOT_FOUND);
    assert_false(path_exists(f->file));
    /* another vault's, of the same token: it holds, and opens nothing here */
    struct fix *g;
    assert_int_equal(setup((void **)&g), 0);
    struct key_provider *mine = g->token.inner;
    g->token.inner = f->token.inner;
    assert_int_equal(open_it(g), ERR_NONE);
    close_it(g);
    buf_clear(&other);
    slurp(g->file, &other);
    spill(f->file, buf_view(&other));
    assert_int_equal(open_it(f), ERR_WRONG_KEY);
    g->token.inner = mine;
    assert_int_equal(teardown((void **)&g), 0);
    buf_fini(&other);
    mem_free(pin);
    mem_free(audit);
    mem_free(vault);
    mem_free(segment);
}

static void a_key_moves_from_its_file(void **state)
{
    struct fix *f = *state;
    char *wrong = mem_printf("%s/wrong.key", f->v->dir);
    uint8_t zeroes[32] = { 0 };

    f->v->config.root_provider = NULL;
    assert_int_equal(open_it(f), ERR_NONE);
    char *tenant = mem_strdup(vault_tenant(f->v->vault));
    close_it(f);
    f->v->config.root_provider = &f->token.table;
    assert_int_equal(open_it(f), ERR_NOT_FOUND);
    /* what does not open the state is not wrapped */
    spill(wrong, SLICE(zeroes, sizeof zeroes));
    f->v->config.root_move_from = wrong;
    assert_int_equal(open_it(f), ERR_WRONG_KEY);
    assert_false(path_exists(f->file));
    f->v->config.root_move_from = f->v->root_key;
    /* nor is it half done when the token fails */
    f->token.fails = ERR_KEY_UNREACHABLE;
    assert_int_equal(open_it(f), ERR_KEY_UNREACHABLE);
    assert_false(path_exists(f->file));
    f->token.fails = ERR_NONE;
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    assert_true(path_exists(f->file));
    assert_int_equal(open_it(f), ERR_NONE); /* asked again, it changes nothing */
    close_it(f);
    assert_int_equal(f->token.n_wraps, 1);
    assert_int_equal(unlink(f->v->root_key), 0);
    f->v->config.root_move_from = NULL;
    assert_int_equal(open_it(f), ERR_NONE);
    assert_string_equal(vault_tenant(f->v->vault), tenant);
    close_it(f);
    mem_free(tenant);
    mem_free(wrong);
}

static void a_newer_key_of_the_token_takes_over(void **state)
{
    struct fix *f = *state;
    struct buf before = BUF_INIT, after = BUF_INIT;

    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    slurp(f->file, &before);
    f->token.newest = "02";
    /* the new form cannot be written: the old one stands, and the vault is open */
    fault_arm("file.rename", "EIO", 0, 1);
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    fault_disarm_all();
    slurp(f->file, &after);
    assert_true(slice_eq(buf_view(&before), buf_view(&after)));
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    slurp(f->file, &after);
    assert_false(slice_eq(buf_view(&before), buf_view(&after)));
    assert_non_null(memmem(after.p, after.len, "02", 2));
    int n = f->token.n_wraps;
    assert_int_equal(open_it(f), ERR_NONE);
    close_it(f);
    assert_int_equal(f->token.n_wraps, n);
    buf_fini(&before);
    buf_fini(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_opens_with_its_token_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_token_cannot_give_back_is_not_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_flipped_byte_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_stands_alone_is_not_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_moves_from_its_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_key_of_the_token_takes_over, setup, teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests_name("root_wrapped", tests, NULL, NULL);
}
