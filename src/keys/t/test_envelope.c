/* test_envelope.c - an envelope that is cut, damaged, forged, foreign or old is told apart and never used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "scene.h"

static struct scene s;

static int setup(void **state)
{
    (void)state;
    scene_init(&s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_disarm_all();
    scene_fini(&s);
    assert_int_equal(secret_live_count(), 0);
    return 0;
}

/* enrich(): two generations, several versions, one of them retired: every kind of field has content. */
static void enrich(void)
{
    struct err e = { 0 };

    scene_create(&s);
    fake_add_version(&s.vault);
    scene_must(custody_rewrap(s.k, NULL, &e), &e);
    scene_must(custody_new_generation(s.k, &e), &e);
    scene_must(custody_new_generation(s.k, &e), &e);
    scene_must(custody_retire(s.k, 2, NULL, 0, &e), &e);
}

static void survives_reopening(void **state)
{
    uint8_t before[2][32], after[32];
    struct custody_status st;

    (void)state;
    enrich();
    scene_fingerprint(&s, 1, before[0]);
    scene_fingerprint(&s, 3, before[1]);
    scene_open(&s);
    assert_false(s.r.repaired || s.r.degraded || s.r.pin_moved || s.r.adopted || s.r.resumed ||
                 s.r.pending);
    scene_fingerprint(&s, 1, after);
    assert_memory_equal(before[0], after, 32);
    scene_fingerprint(&s, 3, after);
    assert_memory_equal(before[1], after, 32);
    assert_false(keyring_has(custody_keyring(s.k), 2));
    assert_int_equal(keyring_current(custody_keyring(s.k)), 3);
    custody_status(s.k, &st);
    assert_int_equal(st.n, 3);
    assert_int_equal(st.row[0].n_versions, 4);
    assert_int_equal(st.row[1].state, GEN_RETIRED);
    assert_string_equal(st.version, "v2");
}

static void cut_at_every_length(void **state)
{
    struct buf whole;
    uint8_t fp[32], now[32];

    (void)state;
    enrich();
    scene_fingerprint(&s, 3, fp);
    whole = scene_read(&s, "envelope.1");
    for (size_t len = 0; len < whole.len; len++) {
        scene_write_both(&s, SLICE(whole.p, len));
        assert_int_equal(scene_refused(&s), ERR_ENVELOPE_CORRUPT);
        if (len % 16 && len + 8 < whole.len)
            continue;
        /* one copy: the other counts, and repairs it */
        scene_write(&s, len / 16 % 2 ? "envelope.1" : "envelope.2", buf_view(&whole));
        scene_open(&s);
        assert_true(s.r.repaired);
        scene_fingerprint(&s, 3, now);
        assert_memory_equal(fp, now, 32);
        scene_open(&s);
        assert_false(s.r.repaired);
    }
    /* and one byte too many */
    buf_push_u8(&whole, 0);
    scene_write_both(&s, buf_view(&whole));
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_CORRUPT);
    buf_fini(&whole);
}

static void every_bit_flipped(void **state)
{
    struct buf whole;

    (void)state;
    enrich();
    scene_close(&s);
    whole = scene_read(&s, "envelope.1");
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        struct envelope *env = NULL;
        struct err e = { 0 };

        whole.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_true(envelope_decode(buf_view(&whole), &env, &e).failed);
        assert_null(env);
        assert_int_equal(e.code, ERR_ENVELOPE_CORRUPT);
        if (bit % 97 == 0) { /* the whole way through files for a sample */
            scene_write_both(&s, buf_view(&whole));
            assert_int_equal(scene_refused(&s), ERR_ENVELOPE_CORRUPT);
        }
        whole.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    scene_write_both(&s, buf_view(&whole));
    scene_open(&s);
    buf_fini(&whole);
}

/* The attacker knows the format and makes the digest right: no byte can be changed all the same. */
static void every_byte_changed_knowingly(void **state)
{
    size_t seen[4] = { 0 };
    struct buf whole;

    (void)state;
    enrich();
    scene_close(&s);
    whole = scene_read(&s, "envelope.1");
    for (size_t at = 0; at < whole.len - ENV_DIGEST_LEN; at++) {
        for (int bit = 0; bit < 8; bit += at < 200 ? 1 : 3) {
            struct buf b = BUF_INIT;
            enum err_code code;

            buf_push(&b, whole.p, whole.len);
            b.p[at] ^= (uint8_t)(1 << bit);
            scene_redigest(&b);
            scene_write_both(&s, buf_view(&b));
            code = scene_refused(&s);
            assert_true(code == ERR_ENVELOPE_FORGED || code == ERR_ENVELOPE_CORRUPT ||
                        code == ERR_ENVELOPE_FOREIGN || code == ERR_ENVELOPE_STALE ||
                        code == ERR_UNKNOWN_FORMAT || code == ERR_KEY_BAD_ANSWER ||
                        code == ERR_KEY_NOT_FOUND || code == ERR_CONFIG);
            seen[0] += code == ERR_ENVELOPE_FORGED;
            seen[1] += code == ERR_ENVELOPE_FOREIGN;
            seen[2] += code == ERR_ENVELOPE_STALE;
            seen[3] += code == ERR_KEY_BAD_ANSWER;
            buf_fini(&b);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_true(seen[i] > 0);
    buf_fini(&whole);
}

/* Wrapping needs only the public key. The attacker takes the envelope as it is, and puts keys of his own in it. */
static void forge(bool keep_old, struct buf *out)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };
    struct keyring *ring = keyring_new();
    struct secret *smk = NULL;
    struct envelope *env;
    struct env_gen *g;
    struct err e = { 0 };

    scene_must(env_files_load(s.dir, &l, &e), &e);
    env = l.env;
    scene_must(secret_random(SMK_LEN, &smk, &e), &e);
    if (keep_old) { /* a further generation, made current */
        g = envelope_add_gen(env);
        g->state = GEN_LIVE;
        env->current = g->gen;
    } else { /* another key behind the same names and the same first commitment */
        while (env->n_gens > 1)
            envelope_drop_gen(env, env->gens[env->n_gens - 1].gen);
        g = &env->gens[0];
        g->gen = env->next_gen++;
        env->current = g->gen;
    }
    scene_must(env_commitment(smk, env->lineage, g->gen, g->commitment, &e), &e);
    scene_must(s.vault.p.wrap(&s.vault.p, env->canary.version, smk, 0, &g->wrap, &e), &e);
    envelope_note_version(g, g->wrap.version, 1);
    scene_must(keyring_add(ring, g->gen, smk, &e), &e);
    for (size_t i = 0; i < env->n_gens; i++) /* he knows no other SMK: some bytes must do */
        if (env->gens[i].state == GEN_LIVE && !keyring_has(ring, env->gens[i].gen)) {
            struct secret *guess = NULL;
            scene_must(secret_random(SMK_LEN, &guess, &e), &e);
            scene_must(keyring_add(ring, env->gens[i].gen, guess, &e), &e);
        }
    env->sequence += 1;
    scene_must(envelope_encode(env, ring, out, &e), &e);
    keyring_unref(ring);
}

static void forged_with_the_public_key(void **state)
{
    (void)state;
    for (int keep_old = 0; keep_old <= 1; keep_old++) {
        struct buf whole = BUF_INIT, forged = BUF_INIT;

        scene_wipe(&s);
        enrich();
        scene_close(&s);
        whole = scene_read(&s, "envelope.1");
        forge(keep_old, &forged);
        scene_write_both(&s, buf_view(&forged));
        assert_int_equal(scene_refused(&s), ERR_ENVELOPE_FORGED);
        /* in one copy only: not passed over, or the attacker could choose the older state */
        scene_write(&s, "envelope.2", buf_view(&whole));
        assert_int_equal(scene_refused(&s), ERR_ENVELOPE_FORGED);
        /* and nothing was repaired with it, nor the pin moved */
        scene_write(&s, "envelope.1", buf_view(&whole));
        scene_open(&s);
        assert_false(s.r.repaired || s.r.pin_moved);
        buf_fini(&whole);
        buf_fini(&forged);
    }
}

/* He puts keys of his own in the place of all of them, under their numbers, so that every live generation confirms the envelope: only the pin can tell. */
static void forge_all(struct buf *out)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };
    struct keyring *ring = keyring_new();
    struct envelope *env;
    struct err e = { 0 };

    scene_must(env_files_load(s.dir, &l, &e), &e);
    env = l.env;
    for (size_t i = 0; i < env->n_gens; i++) {
        struct env_gen *g = &env->gens[i];
        struct secret *smk = NULL;

        if (g->state != GEN_LIVE)
            continue;
        scene_must(secret_random(SMK_LEN, &smk, &e), &e);
        scene_must(env_commitment(smk, env->lineage, g->gen, g->commitment, &e), &e);
        scene_must(s.vault.p.wrap(&s.vault.p, env->canary.version, smk, 0, &g->wrap, &e), &e);
        scene_must(keyring_add(ring, g->gen, smk, &e), &e);
        if (g->gen == 1)
            memcpy(env->first_commitment, g->commitment, COMMITMENT_LEN);
    }
    env->sequence += 1;
    scene_must(envelope_encode(env, ring, out, &e), &e);
    keyring_unref(ring);
}

static void forged_in_every_generation(void **state)
{
    (void)state;
    for (int first_gone = 0; first_gone <= 1; first_gone++) {
        struct buf forged = BUF_INIT;
        struct err e = { 0 };

        scene_wipe(&s);
        scene_create(&s);
        if (first_gone) { /* what is current must be the pin's */
            scene_must(custody_new_generation(s.k, &e), &e);
            scene_must(custody_retire(s.k, 1, NULL, 0, &e), &e);
            scene_must(custody_destroy(s.k, 1, &e), &e);
        }
        scene_close(&s);
        forge_all(&forged);
        scene_write_both(&s, buf_view(&forged));
        assert_int_equal(scene_refused(&s), ERR_ENVELOPE_FORGED);
        buf_fini(&forged);
    }
}

static void another_clusters_envelope(void **state)
{
    struct scene other;
    struct buf theirs;

    (void)state;
    enrich();
    scene_init(&other);
    memcpy(other.vault.v, s.vault.v, sizeof(other.vault.v)); /* the same key in the same vault */
    other.vault.n = s.vault.n;
    scene_create(&other);
    scene_close(&other);
    theirs = scene_read(&other, "envelope.1");
    scene_write_both(&s, buf_view(&theirs));
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_FOREIGN);
    buf_fini(&theirs);
    scene_fini(&other);
}

static void rolled_back(void **state)
{
    struct buf old;
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    old = scene_read(&s, "envelope.1");
    fake_add_version(&s.vault);
    scene_must(custody_rewrap(s.k, NULL, &e), &e);
    scene_write_both(&s, buf_view(&old));
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_STALE);
    buf_fini(&old);
}

/* By one step only: the wrapped form of a key that was destroyed would be back. */
static void rolled_back_by_one(void **state)
{
    struct err e = { 0 };

    (void)state;
    for (int step = 0; step < 2; step++) {
        scene_wipe(&s);
        scene_create(&s);
        scene_must(custody_new_generation(s.k, &e), &e);
        struct buf old = scene_read(&s, "envelope.1");
        scene_must(custody_retire(s.k, 1, NULL, 0, &e), &e);
        if (step == 1) {
            buf_fini(&old);
            old = scene_read(&s, "envelope.1");
            scene_must(custody_destroy(s.k, 1, &e), &e);
        }
        scene_write_both(&s, buf_view(&old));
        assert_int_equal(scene_refused(&s), ERR_ENVELOPE_STALE);
        buf_fini(&old);
    }
}

static void pin_lost(void **state)
{
    struct buf pin;
    uint8_t fp[32], now[32];

    (void)state;
    enrich();
    scene_fingerprint(&s, 1, fp);
    pin = scene_read_pin(&s);
    assert_int_equal(unlink(s.pin), 0);
    assert_int_equal(scene_refused(&s), ERR_PIN_MISSING);
    assert_false(path_exists(s.pin)); /* not made again by itself */
    for (size_t len = 0; len < pin.len; len++) {
        scene_write_path(s.pin, SLICE(pin.p, len));
        assert_int_equal(scene_refused(&s), ERR_PIN_MISSING);
    }
    for (size_t bit = 0; bit < pin.len * 8; bit++) {
        pin.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        scene_write_path(s.pin, buf_view(&pin));
        assert_int_equal(scene_refused(&s), ERR_PIN_MISSING);
        pin.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    unlink(s.pin);
    s.cfg.adopt = true;
    scene_open(&s);
    assert_true(s.r.adopted);
    scene_fingerprint(&s, 1, now);
    assert_memory_equal(fp, now, 32);
    s.cfg.adopt = false;
    scene_open(&s); /* there is a pin again */
    assert_false(s.r.adopted);
    buf_fini(&pin);
}

/* adopt is for a lost pin: one that is there and disagrees stays in the way. */
static void adopt_does_not_overrule_a_pin(void **state)
{
    struct buf old;
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    old = scene_read(&s, "envelope.1");
    scene_must(custody_new_generation(s.k, &e), &e);
    scene_write_both(&s, buf_view(&old));
    s.cfg.adopt = true;
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_STALE);
    buf_fini(&old);
}

static void envelope_gone(void **state)
{
    struct err e = { 0 };

    (void)state;
    assert_int_equal(scene_refused(&s), ERR_NOT_FOUND); /* nothing was ever here */
    scene_create(&s);
    scene_close(&s);
    scene_empty_dir(s.dir);
    /* an empty mount point is not a fresh start */
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_CORRUPT);
    assert_true(custody_create(&s.cfg, &s.k, &e).failed);
    assert_int_equal(e.code, ERR_ENVELOPE_CORRUPT);
    assert_false(custody_exists(s.dir));
}

static void odd_files(void **state)
{
    AUTO(mem_freep) char *one = mem_printf("%s/envelope.1", s.dir);
    AUTO(mem_freep) char *two = mem_printf("%s/envelope.2", s.dir);
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    scene_close(&s);
    assert_int_equal(unlink(one) + unlink(two), 0);
    assert_int_equal(symlink("/dev/zero", one), 0);
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_CORRUPT);
    assert_true(custody_create(&s.cfg, &s.k, &e).failed);
    unlink(one);
    assert_int_equal(mkdir(one, 0700), 0);
    assert_int_equal(scene_refused(&s), ERR_ENVELOPE_CORRUPT);
    rmdir(one);
}

/* What the system does not let be read is not called damaged: nobody is to restore a cluster over a file mode. */
static void what_cannot_be_read_is_not_damaged(void **state)
{
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    scene_close(&s);
    fault_arm("file.read", "EACCES", 0, 2); /* both copies, before the pin */
    assert_int_equal(scene_refused(&s), ERR_IO);
    fault_disarm_all();
    fault_arm("file.read", "EACCES", 0, 2);
    assert_true(custody_open(&s.cfg, &s.k, &s.r, &e).failed);
    fault_disarm_all();
    assert_non_null(strstr(e.msg, "envelope.1"));
    assert_non_null(strstr(e.msg, "ermission"));
    /* the other may be whole for all that is known */
    scene_write(&s, "envelope.2", SLICE_LIT("damaged"));
    fault_arm("file.read", "EACCES", 0, 1);
    assert_int_equal(scene_refused(&s), ERR_IO);
    fault_disarm_all();
    fault_arm("file.read", "EACCES", 1, 1); /* one copy is enough */
    scene_open(&s);
    assert_true(s.r.repaired);
    fault_disarm_all();
    scene_open(&s);
    assert_false(s.r.repaired);
    s.cfg.adopt = true; /* is for a pin that is lost */
    fault_arm("file.read", "EIO", 2, 1);
    assert_int_equal(scene_refused(&s), ERR_IO);
    fault_disarm_all();
    scene_open(&s);
    assert_false(s.r.adopted);
}

static void unknown_format(void **state)
{
    struct buf b;

    (void)state;
    scene_create(&s);
    scene_close(&s);
    b = scene_read(&s, "envelope.1");
    put_be16(b.p + 8, 2);
    scene_redigest(&b);
    scene_write_both(&s, buf_view(&b));
    assert_int_equal(scene_refused(&s), ERR_UNKNOWN_FORMAT);
    buf_fini(&b);
    b = scene_read(&s, "envelope.1"); /* and nothing was rewritten */
    assert_int_equal(get_be16(b.p + 8), 2);
    buf_fini(&b);
}

static void leftovers_are_cleaned(void **state)
{
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    scene_write(&s, "envelope.1.writing-abc123", SLICE_LIT("half"));
    scene_write(&s, "envelope.2.writing-XyZ789", SLICE_EMPTY);
    scene_write(&s, "envelope.1.backup", SLICE_LIT("not ours to judge"));
    fake_add_version(&s.vault);
    scene_must(custody_rewrap(s.k, NULL, &e), &e); /* they do not stand in the way of a rotation */
    scene_open(&s);
    assert_int_equal(s.r.n_leftovers, 2);
    AUTO(mem_freep) char *kept = mem_printf("%s/envelope.1.backup", s.dir);
    assert_true(path_exists(kept));
}

static void the_mode_must_agree(void **state)
{
    (void)state;
    scene_create(&s);
    s.cfg.mode = KEY_MODE_SMK;
    assert_int_equal(scene_refused(&s), ERR_CONFIG);
}

/* Decoding what was encoded and encoding it again yields the same bytes. */
static void encoding_is_canonical(void **state)
{
    struct envelope *env = NULL;
    struct buf whole, again = BUF_INIT;
    struct err e = { 0 };

    (void)state;
    enrich();
    whole = scene_read(&s, "envelope.1");
    scene_must(envelope_decode(buf_view(&whole), &env, &e), &e);
    scene_must(envelope_encode(env, custody_keyring(s.k), &again, &e), &e);
    assert_true(slice_eq(buf_view(&whole), buf_view(&again)));
    envelope_free(env);
    buf_fini(&whole);
    buf_fini(&again);
}

static int group_setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 20, &e).failed;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(survives_reopening),
        T(cut_at_every_length),
        T(every_bit_flipped),
        T(every_byte_changed_knowingly),
        T(forged_with_the_public_key),
        T(forged_in_every_generation),
        T(another_clusters_envelope),
        T(rolled_back),
        T(rolled_back_by_one),
        T(pin_lost),
        T(adopt_does_not_overrule_a_pin),
        T(envelope_gone),
        T(odd_files),
        T(what_cannot_be_read_is_not_damaged),
        T(unknown_format),
        T(leftovers_are_cleaned),
        T(the_mode_must_agree),
        T(encoding_is_canonical),
    };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
