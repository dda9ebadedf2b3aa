/* fuzz: links kmsg crypto */
/* fuzz_aws - answers of AWS KMS, STS and metadata services, as a hostile one would write them, credentials files and URLs of keys. The first byte
 * picks the reader, the second the status; what a reader accepts must be what was asked for. */
#include "fuzz_reply.h"
#include "kmsg/kmsg_aws.h"

#define URL "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/k"

static const int statuses[] = { 200, 400, 403, 404, 429, 500, 503 };

static struct kmsg_aws_target target(void)
{
    struct kmsg_aws_target t;
    struct err e = { 0 };

    check(!kmsg_aws_target(URL, &t, &e).failed);
    return t;
}

static void read_key(const struct kmsg_reply *r)
{
    struct kmsg_aws_target t = target();
    struct kmsg_aws_key k;
    struct err e = { 0 };

    if (!kmsg_aws_read_key(r, &t, &k, &e).failed)
        check(kmsg_aws_is_version(k.version) && k.expires_s >= 0);
    else
        check(e.code == ERR_KEY_BAD_ANSWER || e.code == ERR_KEY_DENIED ||
              e.code == ERR_KEY_UNREACHABLE || e.code == ERR_CONFIG);
}

static void read_tags(const struct kmsg_reply *r)
{
    struct kmsg_aws_tags t;
    struct err e = { 0 };

    if (!kmsg_aws_read_tags(r, &t, &e).failed)
        check(!(t.has_grace && t.grace_malformed) && t.grace_ms >= 0 &&
              memchr(t.marker, 0, sizeof t.marker) && !strpbrk(t.marker, "\"\\\n"));
    else
        check(e.code == ERR_KEY_BAD_ANSWER && !t.has_grace && !*t.marker);
}

static void read_done(const struct kmsg_reply *r)
{
    struct err e = { 0 };

    if (!kmsg_aws_read_done(r, &e).failed)
        check(r->status == 200 && (r->body.len == 0 || (r->is_json && r->body.len >= 2)));
    else
        check(e.code == ERR_KEY_BAD_ANSWER);
}

static void read_values(const struct kmsg_reply *r)
{
    struct kmsg_aws_target t = target();
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    char version[KMSG_AWS_VERSION_MAX];

    bool failed = kmsg_aws_read_plaintext(r, &t, 32, &b, version, &e).failed;
    check(failed ? b.len == 0 : b.len == 32 && kmsg_aws_is_version(version));
    buf_wipe(&b);
    err_reset(&e);
    if (!kmsg_aws_read_ciphertext(r, &t, &b, &e).failed)
        check(b.len > 0 && b.len <= KMSG_AWS_CIPHER_MAX);
    else
        check(b.len == 0);
    buf_wipe(&b);
}

static void check_credential(bool failed, struct buf *b, int64_t lifetime_s)
{
    if (failed) {
        check(b->len == 0);
        return;
    }
    struct kmsg_aws_credential c = kmsg_aws_credential_of(b);
    check(*c.access_key && *c.secret_key && lifetime_s > 0 &&
          c.token + strlen(c.token) + 1 == (const char *)b->p + b->len);
    for (size_t i = 0; i < b->len; i++)
        check(b->p[i] == 0 || (b->p[i] > ' ' && b->p[i] < 0x7f));
    buf_wipe(b);
}

static void read_credentials(const struct kmsg_reply *r)
{
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    int64_t lifetime_s;

    bool failed = kmsg_aws_read_credential(r, 1767225600, &b, &lifetime_s, &e).failed;
    check_credential(failed, &b, lifetime_s);
    err_reset(&e);
    failed = kmsg_aws_read_sts(r, 1767225600, &b, &lifetime_s, &e).failed;
    check_credential(failed, &b, lifetime_s);
    err_reset(&e);
    failed = kmsg_aws_read_profile(r->body, "p", &b, &e).failed;
    check_credential(failed, &b, 1);
}

static void read_url(struct slice in)
{
    struct kmsg_aws_target t;
    struct err e = { 0 };
    char *text = mem_strndup((const char *)in.p, in.len);

    if (!kmsg_aws_target(text, &t, &e).failed)
        check(*t.host && *t.region && strlen(t.account) == 12 && *t.id && t.partition &&
              !strpbrk(t.host, "/?#@%") && !strpbrk(t.arn, "\"\\?#@% "));
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char cause[KMSG_CAUSE_MAX];
    struct kmsg_reply r;

    if (!fuzz_reply(data, len, statuses, ARRAY_LEN(statuses), &r))
        return 0;
    switch (data[0] % 7) {
    case 6: read_tags(&r); break;
    case 0: read_key(&r); break;
    case 1: read_values(&r); break;
    case 2: read_url(r.body); break;
    case 3: read_credentials(&r); break;
    case 4:
        check_class(kmsg_aws_classify, &r);
        read_done(&r);
        break;
    default:
        check_class(kmsg_aws_classify_sts, &r);
        (void)kmsg_aws_classify_metadata(&r, "place", cause);
        check(memchr(cause, 0, sizeof cause) != NULL);
        break;
    }
    return 0;
}
