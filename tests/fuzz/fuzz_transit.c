/* fuzz: links kmsg crypto */
/* fuzz_transit - answers of HashiCorp Vault and OpenBao, as a hostile one would write them, and URLs of keys. The first byte picks the reader,
 * the second the status; what a reader accepts must be what was asked for. */
#include "fuzz_reply.h"
#include "kmsg/kmsg_token.h"
#include "kmsg/kmsg_transit.h"

static const int statuses[] = { 200, 400, 403, 404, 412, 429, 503 };

static void read_key(const struct kmsg_reply *r)
{
    struct kmsg_transit_key k;
    struct err e = { 0 };

    if (!kmsg_transit_read_key(r, "2", &k, &e).failed)
        check(strcmp(k.version, "2") == 0 && k.bits >= 256 && k.number == 2 && k.newest >= 2);
    else
        check(e.code == ERR_KEY_BAD_ANSWER || e.code == ERR_KEY_NOT_FOUND || e.code == ERR_CONFIG);
}

static void read_values(const struct kmsg_reply *r)
{
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    int64_t lifetime_s;

    check(kmsg_transit_read_plaintext(r, 32, &b, &e).failed == (b.len == 0) &&
          (b.len == 0 || b.len == 32));
    buf_wipe(&b);
    err_reset(&e);
    if (!kmsg_transit_read_ciphertext(r, "2", &b, &e).failed)
        check(kmsg_transit_is_ciphertext(buf_view(&b), "2"));
    buf_wipe(&b);
    err_reset(&e);
    if (!kmsg_transit_read_login(r, &b, &lifetime_s, &e).failed)
        check(b.len > 0 && b.len <= KMSG_TOKEN_MAX && lifetime_s > 0);
    buf_wipe(&b);
}

static void read_url(struct slice in)
{
    struct kmsg_transit_target t;
    struct err e = { 0 };
    char *text = mem_strndup((const char *)in.p, in.len);

    if (!kmsg_transit_target(text, &t, &e).failed)
        check(*t.host && *t.mount && *t.key && !strpbrk(t.key, "/?#@%") && !strstr(t.mount, ".."));
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kmsg_reply r;

    if (!fuzz_reply(data, len, statuses, ARRAY_LEN(statuses), &r))
        return 0;
    switch (data[0] % 5) {
    case 0: read_key(&r); break;
    case 1: read_values(&r); break;
    case 2: read_url(r.body); break;
    case 3: check_class(kmsg_transit_classify, &r); break;
    default: check_class(kmsg_transit_classify_login, &r); break;
    }
    return 0;
}
