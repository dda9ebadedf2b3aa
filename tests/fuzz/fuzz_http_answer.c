/* fuzz: links kmsg crypto */
/* fuzz_http_answer - answers of token endpoints and key vaults, as a hostile one would write them. The first byte picks the reader, the
 * second the status; what a reader accepts must be what was asked for. */
#include "fuzz_reply.h"
#include "kmsg/kmsg_kv.h"
#include "kmsg/kmsg_token.h"

#define VERSION "0123456789abcdef0123456789abcdef"

static const struct kmsg_kv_target target = { .host = "v.example", .key = "data" };
static const int statuses[] = { 200, 400, 401, 403, 404, 409, 429, 500 };

static void read_key(const struct kmsg_reply *r)
{
    struct kmsg_kv_key k;
    struct err e = { 0 };

    if (kmsg_kv_read_key(r, &target, "", &k, &e).failed) {
        check(e.code == ERR_KEY_BAD_ANSWER);
        return;
    }
    check(strlen(k.version) == 32 && k.not_before_s >= 0 && k.expires_s >= 0);
    if (k.is_rsa)
        check((k.n_len == 256 || k.n_len == 384 || k.n_len == 512) && k.e_len >= 1 && k.e_len <= 8);
    else
        check(k.n_len == 0 && k.e_len == 0 && !k.can_wrap && !k.can_unwrap);
}

/* What is sent back says of the tag what was asked for, and can be read again. */
static void read_tags(const struct kmsg_reply *r)
{
    AUTO(buf_fini) struct buf body = BUF_INIT;
    AUTO(buf_fini) struct buf again = BUF_INIT;
    char version[KMSG_VERSION_MAX], value[8];
    struct err e = { 0 };

    if (kmsg_kv_read_tag(r, &target, "", "mine", version, value, sizeof value, &e).failed) {
        check(e.code == ERR_KEY_BAD_ANSWER);
        return;
    }
    check(strlen(version) == 32 && strlen(value) < sizeof value);
    check(!kmsg_kv_tags_body(r, "mine", "7", &body, &e).failed);
    struct kmsg_reply sent = *r;
    sent.body = buf_view(&body);
    check(!kmsg_kv_tags_body(&sent, "mine", "7", &again, &e).failed);
    check(again.len == body.len && memcmp(again.p, body.p, body.len) == 0);
}

static void read_value(const struct kmsg_reply *r, bool unwrapped)
{
    struct buf value = BUF_INIT;
    struct err e = { 0 };
    rc_t rc = unwrapped ? kmsg_kv_read_unwrapped(r, &target, VERSION, 32, &value, &e)
                        : kmsg_kv_read_wrapped(r, &target, VERSION, 256, &value, &e);

    check(rc.failed ? value.len == 0 && e.code == ERR_KEY_BAD_ANSWER
                    : value.len == (unwrapped ? 32 : 256));
    buf_wipe(&value);
}

static void read_token(const struct kmsg_reply *r)
{
    struct buf token = BUF_INIT;
    struct err e = { 0 };
    int64_t lifetime_s;

    if (!kmsg_token_read(r, "https://vault.azure.net", 1000, &token, &lifetime_s, &e).failed) {
        check(token.len > 0 && token.len <= KMSG_TOKEN_MAX && lifetime_s > 0);
        for (size_t i = 0; i < token.len; i++)
            check(token.p[i] > ' ' && token.p[i] < 0x7f);
    }
    buf_wipe(&token);
}

/* A challenge names a file directly in the directory, or nothing. */
static void read_challenge(struct slice in)
{
    struct buf path = BUF_INIT;
    char *text = mem_strndup((const char *)in.p, in.len);

    if (kmsg_token_arc_file(text, "/d", &path))
        check(path.len > 7 && memcmp(path.p, "/d/", 3) == 0 &&
              !memchr(path.p + 3, '/', path.len - 3) &&
              memcmp(buf_cstr(&path) + path.len - 4, ".key", 4) == 0);
    else
        check(path.len == 0);
    buf_fini(&path);
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kmsg_reply r;

    if (!fuzz_reply(data, len, statuses, ARRAY_LEN(statuses), &r))
        return 0;
    r.date_s = 1000;
    switch (data[0] % 7) {
    case 0:
        read_key(&r);
        read_tags(&r);
        break;
    case 1: read_value(&r, true); break;
    case 2: read_value(&r, false); break;
    case 3: read_token(&r); break;
    case 6: read_challenge(r.body); break;
    case 4: check_class(kmsg_kv_classify, &r); break;
    default: check_class(kmsg_token_classify, &r); break;
    }
    return 0;
}
