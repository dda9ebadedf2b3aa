/* test_hostile.c - the provider against a vault and a token endpoint that lie, refuse, drag and storm. Each is a real HTTPS server whose
 * next answers are written down by the test. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/thread.h"
#include "crypto/aead.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "crypto/x509.h"
#include "http/http_server.h"
#include "kms/kms.h"
#include "unit.h"

#define VERSION "0123456789abcdef0123456789abcdef"
#define GOOD_VALUE "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA"
#define SOON (clock_mono_us() + 3000000)

/* What the vault answers next; body NULL: the right answer. */
struct script {
    int status;
    const char *type, *body, *header, *value;
    unsigned delay_ms;
    unsigned once; /* answers of this kind before the right one comes */
};

struct stage {
    struct mutex lock; /* of the scripts */
    char dir[64];
    char *ca_file, *key_url, *endpoint;
    struct http_server *vault, *tokens;
    struct http_site vault_site, token_site;
    struct script script, token_script; /* written by the test between calls */
    atomic_uint calls, token_calls, token_lifetime_s;
    atomic_int expected_token; /* the vault takes only this one, 0: any */
    struct rsa_public pub;
    struct secret *private_der;
    struct key_provider *provider;
};

static struct secret *shared_der; /* made once: a test needs a key, not a new one */

#define SAY(g, which, ...)                                                                         \
    do {                                                                                           \
        mutex_lock(&(g)->lock);                                                                    \
        (g)->which = __VA_ARGS__;                                                                  \
        mutex_unlock(&(g)->lock);                                                                  \
    } while (0)

static bool scripted(struct stage *g, struct script *from, struct http_reply *r)
{
    mutex_lock(&g->lock);
    struct script now = *from, *s = &now;
    if (from->once > 0) {
        from->once--;
        from->status = from->once ? from->status : 0;
    }
    mutex_unlock(&g->lock);
    if (s->delay_ms)
        clock_sleep_us(s->delay_ms * 1000ull);
    if (!s->status)
        return false;
    http_reply_status(r, s->status);
    if (s->header)
        http_reply_header(r, s->header, s->value);
    if (s->body)
        http_reply_body(r, s->type ? s->type : "application/json", slice_str(s->body));
    return true;
}

static void answer_vault(struct http_request *q, struct http_reply *r)
{
    struct stage *g = http_ctx(q);
    struct buf body = BUF_INIT, n = BUF_INIT;

    atomic_fetch_add(&g->calls, 1);
    if (g->expected_token) {
        char want[32];
        snprintf(want, sizeof want, "token%d", g->expected_token);
        if (!slice_eq_str(http_bearer(q), want)) {
            http_reply_header(
                r, "WWW-Authenticate",
                "Bearer authorization=\"https://evil.example/t\", resource=\"https://evil.example\"");
            http_reply_status(r, 401);
            return;
        }
    }
    if (scripted(g, &g->script, r))
        return;
    if (http_method(q) == HTTP_GET) {
        base64url_encode(SLICE(g->pub.n, g->pub.n_len), &n);
        buf_printf(
            &body,
            "{\"key\":{\"kid\":\"%s/" VERSION
            "\",\"kty\":\"RSA\",\"key_ops\":[\"wrapKey\",\"unwrapKey\"],\"n\":\"%s\",\"e\":\"AQAB\"},\"attributes\":{\"enabled\":true}}",
            g->key_url, buf_cstr(&n));
    } else {
        buf_printf(&body, "{\"kid\":\"%s/" VERSION "\",\"value\":\"" GOOD_VALUE "\"}", g->key_url);
    }
    http_reply_status(r, 200);
    http_reply_body(r, "application/json", buf_view(&body));
    buf_fini(&body);
    buf_fini(&n);
}

static void answer_token(struct http_request *q, struct http_reply *r)
{
    struct stage *g = http_ctx(q);
    char body[256];
    unsigned n = atomic_fetch_add(&g->token_calls, 1) + 1;

    if (!http_header(q, "Metadata") || scripted(g, &g->token_script, r))
        return;
    snprintf(body, sizeof body,
             "{\"access_token\":\"token%u\",\"expires_in\":%u,\"token_type\":\"Bearer\"}", n,
             g->token_lifetime_s);
    http_reply_status(r, 200);
    http_reply_body(r, "application/json", slice_str(body));
}

static const struct http_route vault_routes[] = {
    { HTTP_GET, "/keys/{}/{}", answer_vault, NULL },
    { HTTP_POST, "/keys/{}/{}/wrapkey", answer_vault, NULL },
    { HTTP_POST, "/keys/{}/{}/unwrapkey", answer_vault, NULL },
};
static const struct http_route token_routes[] = { { HTTP_GET, "/t", answer_token, NULL } };

static void start_servers(struct stage *g, const char *name)
{
    struct err e = { 0 };
    struct secret *ca_key;
    struct buf ca = BUF_INIT, cert = BUF_INIT, key = BUF_INIT;
    const char *dns[] = { name };
    struct x509_leaf leaf = { .common_name = name, .dns = dns, .n_dns = 1, .days = 2 };

    CHECK_RC_OK(x509_make_ca("test", 2, &ca_key, &ca, &e), &e);
    CHECK_RC_OK(x509_make_leaf(ca_key, buf_view(&ca), &leaf, &cert, &key, &e), &e);
    CHECK_RC_OK(file_write_atomic(g->ca_file, 0644, buf_view(&ca), &e), &e);
    g->vault_site =
        (struct http_site){ .host = "*", .routes = vault_routes, .n_routes = 3, .ctx = g };
    g->token_site =
        (struct http_site){ .host = "*", .routes = token_routes, .n_routes = 1, .ctx = g };
    struct http_server_config v = {
        .address = "127.0.0.1",
        .cert_pem = buf_cstr(&cert),
        .key_pem = buf_cstr(&key),
        .sites = &g->vault_site,
        .n_sites = 1,
    };
    struct http_server_config t = { .address = "127.0.0.1", .sites = &g->token_site, .n_sites = 1 };
    CHECK_RC_OK(http_server_start(&v, &g->vault, &e), &e);
    CHECK_RC_OK(http_server_start(&t, &g->tokens, &e), &e);
    secret_free(ca_key);
    buf_fini(&ca);
    buf_fini(&cert);
    buf_wipe(&key);
}

static struct stage *stage_with_name(const char *name)
{
    struct stage *g = NEW(struct stage);
    struct err e = { 0 };

    mutex_init(&g->lock);
    (void)snprintf(g->dir, sizeof g->dir, "/tmp/coffer-kms-XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    g->ca_file = mem_printf("%s/ca.pem", g->dir);
    g->token_lifetime_s = 3600;
    if (!shared_der)
        CHECK_RC_OK(rsa_generate(2048, &shared_der, &e), &e);
    CHECK_RC_OK(rsa_public_of(shared_der, &g->pub, &e), &e);
    start_servers(g, name);
    g->key_url = mem_printf("https://v.localhost:%u/keys/data", http_server_port(g->vault));
    g->endpoint = mem_printf("http://127.0.0.1:%u/t", http_server_port(g->tokens));
    struct kms_azure_config c = {
        .key_url = g->key_url,
        .ca_file = g->ca_file,
        .audience = "https://r",
        .token_source = KMS_TOKEN_IMDS,
        .token_endpoint = g->endpoint,
        .client_id = "",
    };
    CHECK_RC_OK(kms_azure_new(&c, &g->provider, &e), &e);
    return g;
}

static int setup(void **state)
{
    *state = stage_with_name("v.localhost");
    return 0;
}

static int teardown(void **state)
{
    struct stage *g = *state;

    g->provider->free(g->provider);
    http_server_stop(g->vault, 100);
    http_server_stop(g->tokens, 100);
    unlink(g->ca_file);
    rmdir(g->dir);
    mem_free(g->ca_file);
    mem_free(g->key_url);
    mem_free(g->endpoint);
    mem_free(g);
    return 0;
}

static enum err_code unwrap_until(struct stage *g, uint64_t deadline_us)
{
    struct wrapped_key w = { .version = VERSION, .alg = "RSA-OAEP-256", .len = 256 };
    struct secret *s;
    struct err e = { 0 };

    rc_t rc = g->provider->unwrap(g->provider, &w, false, deadline_us, &s, &e);
    assert_true((s == NULL) == rc.failed);
    if (s)
        assert_int_equal(secret_view(s)[31], 32);
    secret_free(s);
    return e.code;
}

static enum err_code unwrap(struct stage *g)
{
    return unwrap_until(g, SOON);
}

static void right_answers_are_taken(void **state)
{
    struct stage *g = *state;

    for (int i = 0; i < 3; i++)
        assert_int_equal(unwrap(g), ERR_NONE);
    assert_int_equal(g->token_calls, 1); /* kept */
}

static void lies_are_bad_answers(void **state)
{
    struct stage *g = *state;
    char *big = mem_alloc(200001), *kid = mem_printf("%s/" VERSION, g->key_url);
    memset(big, ' ', 200000);
    big[200000] = 0;
    char *other_version =
        mem_printf("{\"kid\":\"%s/ffffffffffffffffffffffffffffffff\",\"value\":\"" GOOD_VALUE "\"}",
                   g->key_url);
    char *other_host = mem_printf("{\"kid\":\"https://other.localhost/keys/data/" VERSION
                                  "\",\"value\":\"" GOOD_VALUE "\"}");
    char *short_value =
        mem_printf("{\"kid\":\"%s\",\"value\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw\"}",
                   kid);
    char *long_value =
        mem_printf("{\"kid\":\"%s\",\"value\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh\"}",
                   kid);
    char *zeros =
        mem_printf("{\"kid\":\"%s\",\"value\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
                   kid);
    char *good = mem_printf("{\"kid\":\"%s\",\"value\":\"" GOOD_VALUE "\"}", kid);
    const struct script cases[] = {
        { .status = 200, .body = other_version },
        { .status = 200, .body = other_host },
        { .status = 200, .body = short_value },
        { .status = 200, .body = long_value },
        { .status = 200, .body = zeros },
        { .status = 200, .body = good, .type = "text/plain" },
        { .status = 200, .body = good, .type = "text/html; application/json" },
        { .status = 201, .body = good },
        { .status = 200, .body = "" },
        { .status = 200, .body = "{" },
        { .status = 200, .body = "{\"kid\":\"\xff\xfe\"}" },
        { .status = 200, .body = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[" },
        { .status = 200, .body = big },
        { .status = 302, .body = "{}", .header = "Location", .value = g->key_url },
        { .status = 403, .body = "<html>captive portal</html>", .type = "text/html" },
        { .status = 404, .body = "nothing here", .type = "text/plain" },
        { .status = 418, .body = "{\"error\":{\"code\":\"Forbidden\"}}" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SAY(g, script, cases[i]);
        enum err_code got = unwrap(g);
        if (got != ERR_KEY_BAD_ANSWER)
            fail_msg("case %zu: code %d", i, (int)got);
        SAY(g, script, (struct script){ 0 });
        assert_int_equal(unwrap(g), ERR_NONE); /* and nothing sticks */
    }
    mem_free(big);
    mem_free(kid);
    mem_free(other_version);
    mem_free(other_host);
    mem_free(short_value);
    mem_free(long_value);
    mem_free(zeros);
    mem_free(good);
}

static void wrapped_length_is_the_modulus(void **state)
{
    struct stage *g = *state;
    struct wrapped_key w;
    struct secret *plain;
    struct err e = { 0 };

    CHECK_RC_OK(secret_random(32, &plain, &e), &e);
    /* the scripted vault answers 32 bytes to a wrap: an echo of what it was sent */
    CHECK_RC_FAILS(g->provider->wrap(g->provider, NULL, plain, SOON, &w, &e), &e,
                   ERR_KEY_BAD_ANSWER);
    assert_int_equal(w.len, 0);
    secret_free(plain);
    CHECK_RC_OK(secret_random(16, &plain, &e), &e);
    CHECK_RC_FAILS(g->provider->wrap(g->provider, NULL, plain, SOON, &w, &e), &e, ERR_BAD_VALUE);
    secret_free(plain);
}

static void denial_needs_the_vaults_own_words(void **state)
{
    struct stage *g = *state;

    SAY(g, script,
        (struct script){
            .status = 403,
            .body =
                "{\"error\":{\"code\":\"Forbidden\",\"message\":\"no\",\"innererror\":{\"code\":\"KeyDisabled\"}}}" });
    assert_int_equal(unwrap(g), ERR_KEY_DENIED);
    SAY(g, script,
        (struct script){ .status = 404,
                         .body = "{\"error\":{\"code\":\"KeyNotFound\",\"message\":\"no\"}}" });
    assert_int_equal(unwrap(g), ERR_KEY_NOT_FOUND);
    SAY(g, script,
        (struct script){ .status = 503,
                         .body = "{\"error\":{\"code\":\"Forbidden\",\"message\":\"no\"}}" });
    assert_int_equal(unwrap(g), ERR_KEY_UNREACHABLE);
}

static void a_401_buys_one_new_token(void **state)
{
    struct stage *g = *state;

    assert_int_equal(unwrap(g), ERR_NONE);
    g->expected_token = 2;
    assert_int_equal(unwrap(g), ERR_NONE);
    assert_int_equal(g->token_calls, 2);
    /* whatever comes, it is not taken: no loop, no denial, and the challenge leads nowhere */
    g->expected_token = 999;
    unsigned before = g->calls;
    assert_int_equal(unwrap(g), ERR_KEY_TOKEN_REFUSED);
    assert_int_equal(g->calls - before, 2);
    assert_int_equal(g->token_calls, 3);
}

static void retry_after_is_held(void **state)
{
    struct stage *g = *state;

    SAY(g, script,
        (struct script){
            .status = 429, .body = "{}", .header = "Retry-After", .value = "1", .once = 1 });
    assert_int_equal(unwrap(g), ERR_KEY_THROTTLED);
    unsigned before = g->calls;
    assert_int_equal(unwrap(g), ERR_KEY_THROTTLED);
    assert_int_equal(g->calls, before); /* it was not even called */
    clock_sleep_us(1350000);            /* and a quarter of it */
    assert_int_equal(unwrap(g), ERR_NONE);
}

static void deadlines_hold(void **state)
{
    struct stage *g = *state;
    uint64_t from;

    assert_int_equal(unwrap(g), ERR_NONE);
    SAY(g, script, (struct script){ .delay_ms = 1500 });
    from = clock_mono_us();
    assert_int_equal(unwrap_until(g, from + 300000), ERR_KEY_UNREACHABLE);
    assert_true(clock_mono_us() - from < 1000000);
    clock_sleep_us(1500000);
    SAY(g, script, (struct script){ 0 });
    assert_int_equal(unwrap(g), ERR_NONE);
}

static void token_endpoint_tells_no_answer_from_refusal(void **state)
{
    struct stage *g = *state;

    SAY(g, token_script, (struct script){ .status = 503, .body = "{}" });
    assert_int_equal(unwrap(g), ERR_KEY_UNREACHABLE);
    SAY(g, token_script,
        (struct script){
            .status = 400,
            .body =
                "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}" });
    assert_int_equal(unwrap(g), ERR_KEY_DENIED);
    SAY(g, token_script, (struct script){ .status = 200, .body = "{\"access_token\":\"x\"}" });
    assert_int_equal(unwrap(g), ERR_KEY_BAD_ANSWER);

    /* a token that is due is renewed; the old one serves while there is no answer, not once the answer is a refusal */
    SAY(g, token_script, (struct script){ 0 });
    g->token_lifetime_s = 2;
    assert_int_equal(unwrap(g), ERR_NONE);
    clock_sleep_us(1100000);
    SAY(g, token_script, (struct script){ .status = 500, .body = "{}" });
    assert_int_equal(unwrap(g), ERR_NONE);
    clock_sleep_us(1000000);
    assert_int_equal(unwrap(g), ERR_KEY_UNREACHABLE); /* it has expired */
    SAY(g, token_script, (struct script){ 0 });
    assert_int_equal(unwrap(g), ERR_NONE);
    clock_sleep_us(1100000);
    SAY(g, token_script,
        (struct script){
            .status = 400,
            .body =
                "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}" });
    assert_int_equal(unwrap(g), ERR_KEY_DENIED);
}

static void a_certificate_of_another_name_is_unreachable(void **state)
{
    (void)state;
    struct stage *g = stage_with_name("other.localhost");
    void *p = g;

    assert_int_equal(unwrap(g), ERR_KEY_UNREACHABLE);
    assert_int_equal(g->calls, 0);
    teardown(&p);
}

/* A port that takes connections and says nothing: TLS never comes to be. */
static void silence_is_unreachable(void **state)
{
    struct sockaddr_in sa = { .sin_family = AF_INET };
    socklen_t len = sizeof sa;
    struct stage *g = *state;
    struct err e = { 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    char *url = mem_printf("https://v.localhost:%u/keys/data", ntohs(sa.sin_port));
    struct kms_azure_config c = {
        .key_url = url,
        .ca_file = g->ca_file,
        .audience = "https://r",
        .token_source = KMS_TOKEN_IMDS,
        .token_endpoint = g->endpoint,
        .client_id = "",
    };
    struct key_provider *p;
    struct key_info info;
    CHECK_RC_OK(kms_azure_new(&c, &p, &e), &e);
    uint64_t from = clock_mono_us();
    CHECK_RC_FAILS(p->get_key(p, NULL, from + 400000, &info, &e), &e, ERR_KEY_UNREACHABLE);
    assert_true(clock_mono_us() - from < 1500000);
    p->free(p);
    mem_free(url);
    close(fd);
}

static int free_shared(void **state)
{
    (void)state;
    secret_free(shared_der);
    return 0;
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    struct err e = { 0 };
    const struct CMUnitTest tests[] = {
        CASE(right_answers_are_taken),
        CASE(lies_are_bad_answers),
        CASE(wrapped_length_is_the_modulus),
        CASE(denial_needs_the_vaults_own_words),
        CASE(a_401_buys_one_new_token),
        CASE(retry_after_is_held),
        CASE(deadlines_hold),
        CASE(token_endpoint_tells_no_answer_from_refusal),
        CASE(silence_is_unreachable),
        cmocka_unit_test(a_certificate_of_another_name_is_unreachable),
    };

    if (secret_arena_init(1 << 20, &e).failed || crypto_init(&e).failed ||
        kms_init(true, &e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return cmocka_run_group_tests_name("hostile", tests, NULL, free_shared);
}
