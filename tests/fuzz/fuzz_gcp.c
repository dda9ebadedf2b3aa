/* fuzz: links kmsg crypto */
/* fuzz_gcp - answers of Google Cloud KMS and its token endpoints, as a hostile one would write them, files of identities and URLs of keys. The first byte
 * picks the reader, the second the status; what a reader accepts must be what was asked for. */
#include "fuzz_reply.h"
#include "kmsg/kmsg_gcp.h"
#include "kmsg/kmsg_token.h"

#define URL "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k"

static const int statuses[] = { 200, 400, 401, 403, 404, 429, 503 };

static struct kmsg_gcp_target target(void)
{
    struct kmsg_gcp_target t;
    struct err e = { 0 };

    check(!kmsg_gcp_target(URL, &t, &e).failed);
    return t;
}

static void read_key(const struct kmsg_reply *r)
{
    struct kmsg_gcp_target t = target();
    struct kmsg_gcp_key k;
    struct err e = { 0 };
    bool enabled;

    if (!kmsg_gcp_read_key(r, &t, &k, &e).failed)
        check((!*k.version || kmsg_gcp_is_version(k.version)) && (*k.version || !k.enabled));
    else
        check(e.code == ERR_KEY_BAD_ANSWER || e.code == ERR_CONFIG);
    err_reset(&e);
    if (kmsg_gcp_read_version(r, &t, "3", &enabled, &e).failed)
        check(!enabled && (e.code == ERR_KEY_BAD_ANSWER || e.code == ERR_KEY_DENIED ||
                           e.code == ERR_KEY_NOT_FOUND || e.code == ERR_KEY_UNREACHABLE));
}

static void read_values(const struct kmsg_reply *r)
{
    struct kmsg_gcp_target t = target();
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    check(kmsg_gcp_read_plaintext(r, 32, &b, &e).failed ? b.len == 0 : b.len == 32);
    buf_wipe(&b);
    err_reset(&e);
    check(kmsg_gcp_read_ciphertext(r, &t, "3", &b, &e).failed
              ? b.len == 0
              : b.len > 0 && b.len <= KMSG_GCP_CIPHER_MAX);
    buf_wipe(&b);
}

static void check_word(bool failed, struct buf *b)
{
    check(failed == (b->len == 0) && b->len <= KMSG_TOKEN_MAX);
    for (size_t i = 0; i < b->len; i++)
        check(b->p[i] > ' ' && b->p[i] < 0x7f);
    buf_wipe(b);
}

static void read_files(const struct kmsg_reply *r)
{
    struct kmsg_gcp_account a;
    struct kmsg_gcp_federation f;
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    int64_t lifetime_s;

    check(kmsg_gcp_read_account(r->body, &a, &b, &e).failed == (b.len == 0));
    check((b.len == 0) == !*a.email);
    buf_wipe(&b);
    err_reset(&e);
    if (!kmsg_gcp_read_federation(r->body, &f, &e).failed)
        check(*f.token_file && strncmp(f.token_url, "https://", 8) == 0 &&
              (!*f.impersonation_url || strncmp(f.impersonation_url, "https://", 8) == 0));
    err_reset(&e);
    f = (struct kmsg_gcp_federation){ .token_field = "t" };
    check_word(kmsg_gcp_read_subject(&f, r->body, &b, &e).failed, &b);
    err_reset(&e);
    bool failed = kmsg_gcp_read_impersonated(r, 1767225600, &b, &lifetime_s, &e).failed;
    check(failed || lifetime_s > 0);
    check_word(failed, &b);
}

static void read_url(struct slice in)
{
    struct kmsg_gcp_target t;
    struct err e = { 0 };
    char *text = mem_strndup((const char *)in.p, in.len);

    if (!kmsg_gcp_target(text, &t, &e).failed)
        check(*t.host && *t.location && !strpbrk(t.host, "/?#@%") &&
              !strpbrk(t.name, "\"\\?#@% ") && !strstr(t.name, "/cryptoKeyVersions/"));
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kmsg_reply r;

    if (!fuzz_reply(data, len, statuses, ARRAY_LEN(statuses), &r))
        return 0;
    switch (data[0] % 6) {
    case 0: read_key(&r); break;
    case 1: read_values(&r); break;
    case 2: read_url(r.body); break;
    case 3: read_files(&r); break;
    case 4: check_class(kmsg_gcp_classify, &r); break;
    default: check_class(kmsg_gcp_classify_token, &r); break;
    }
    return 0;
}
