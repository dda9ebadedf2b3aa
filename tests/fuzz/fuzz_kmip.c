/* fuzz: links kmsg crypto */
/* fuzz_kmip - answers of a KMIP server, as a hostile one would write them, wrapped keys and URLs. The first byte picks the reader; what a reader accepts
 * must be what was asked for. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kmsg/kmsg_kmip.h"
#include "kmsg/kmsg_ttlv.h"

#define ID "key-1"

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Items lie within what they were taken from, in order, and there is an end to them. */
static void walk(struct slice in, int depth)
{
    struct kmsg_ttlv t;

    while (in.len > 0) {
        struct slice before = in;
        if (!kmsg_ttlv_next(&in, &t)) {
            check(in.p == before.p && in.len == before.len);
            return;
        }
        check(in.len < before.len && t.value.len <= before.len - KMSG_TTLV_HEAD_LEN);
        check(t.value.p == before.p + KMSG_TTLV_HEAD_LEN && in.p + in.len == before.p + before.len);
        if (t.type == KMSG_TTLV_STRUCTURE && depth < 64)
            walk(t.value, depth + 1);
    }
}

static void read_payload(enum kmsg_kmip_mode m, struct slice payload)
{
    struct kmsg_kmip_key k;
    struct buf b = BUF_INIT, request = BUF_INIT;
    struct slice plain;
    struct err e = { 0 };

    if (!kmsg_kmip_read_key(payload, ID, &k, &e).failed)
        check(k.bits == 256 && (!*k.replacement || kmsg_kmip_is_id(k.replacement)));
    else
        check(e.code == ERR_KEY_BAD_ANSWER || e.code == ERR_CONFIG);
    err_reset(&e);
    if (!kmsg_kmip_read_wrapped(m, payload, ID, 32, &b, &e).failed)
        check(b.len <= KMSG_KMIP_WRAP_MAX &&
              !kmsg_kmip_decrypt(m, ID, buf_view(&b), &request, &e).failed);
    else
        check(b.len == 0);
    err_reset(&e);
    check(kmsg_kmip_read_plain(payload, ID, 32, &plain, &e).failed == (plain.len != 32));
    buf_fini(&b);
    buf_fini(&request);
}

static void read_message(enum kmsg_kmip_mode m, struct slice in)
{
    struct kmsg_kmip_answer a;
    char cause[KMSG_CAUSE_MAX];
    size_t len = kmsg_kmip_frame(in);

    check(len == 0 || len == SIZE_MAX ||
          (len >= KMSG_KMIP_HEAD_LEN && len <= KMSG_KMIP_ANSWER_MAX));
    if (kmsg_kmip_open(m, KMSG_KMIP_OP_DECRYPT, in, &a, cause) == KMSG_OK) {
        check(len == in.len || in.len > KMSG_KMIP_ANSWER_MAX);
        read_payload(m, a.payload);
    } else {
        check(a.payload.len == 0 && memchr(cause, 0, sizeof cause) && *cause);
    }
}

static void read_url(struct slice in)
{
    struct kmsg_kmip_target t;
    struct err e = { 0 };
    char *text = mem_strndup((const char *)in.p, in.len);

    if (!kmsg_kmip_target(text, &t, &e).failed)
        check(strchr(t.host, ':') && !strpbrk(t.host, "/?#@%") && kmsg_kmip_is_id(t.id));
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf request = BUF_INIT;
    struct err e = { 0 };

    if (len < 1)
        return 0;
    struct slice in = SLICE(data + 1, len - 1);
    enum kmsg_kmip_mode m = data[0] & 1 ? KMSG_KMIP_CBC : KMSG_KMIP_GCM;
    switch ((data[0] >> 1) % 4) {
    case 0:
        read_message(m, in);
        walk(in, 0);
        break;
    case 1: read_payload(m, in); break;
    case 2: read_url(in); break;
    default: check(kmsg_kmip_decrypt(m, ID, in, &request, &e).failed == (request.len == 0)); break;
    }
    buf_fini(&request);
    return 0;
}
